"""Starts the server: listens, and prints where."""

import errno
import json
import logging
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from masklet.errors import InputError
from masklet.serve.sessions.allocator import share_memory_among_threads
from masklet.serve.settings import Person, ServeSettings
from masklet.serve.telemetry import LOG

Token = Annotated[str, Field(min_length=16, max_length=200)]
_PEOPLE = TypeAdapter(dict[Token, Person])


def read_people(path: Path) -> dict[str, Person]:
    """People by token, from JSON such as {"TOKEN": {"name": "Ann", "role": "reviewer"}}. Raises: InputError."""
    try:
        return _PEOPLE.validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise InputError(f"{path} is no list of people by token: {first['msg']}") from error


def with_token(settings: ServeSettings) -> ServeSettings:
    """The same, with a token where others can reach the server and none was given."""
    if settings.is_local or settings.people:
        return settings
    return replace(settings, people={secrets.token_urlsafe(24): Person(name="owner")})


def address_of(settings: ServeSettings) -> str:
    """What to open in a browser; the token goes behind #, which no browser sends to a server."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    shown = {"0.0.0.0": "localhost", "[::]": "localhost"}.get(host, host)
    token = f"#token={next(iter(settings.people))}" if len(settings.people) == 1 else ""
    return f"http://{shown}:{settings.port}/{token}"


def run_server(settings: ServeSettings, tell: Callable[[str], object], *, log: bool = False) -> None:
    """Serves until it is stopped. Raises: InputError, ImportError without the extra."""
    try:
        from masklet.serve.app import create_app
        from masklet.serve.stopping import StoppableServer, config_of
    except ImportError as error:
        raise ImportError(f'the server needs packages: pip install "masklet[serve]" ({error})') from error
    share_memory_among_threads()
    settings = with_token(settings)
    app = create_app(settings)
    sockets = listen(settings.host, settings.port)  # before the address is told
    if log:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        LOG.addHandler(handler)
        LOG.propagate = False
    LOG.setLevel(logging.INFO if log else logging.WARNING)
    tell(address_of(settings))
    StoppableServer(config_of(app), app.state.server.stop).run(sockets=sockets)


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets on all addresses of a host of this machine. Raises: InputError when there is none to listen on."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(f"cannot listen on {host}: there is no host of that name") from error
    sockets: list[socket.socket] = []
    problem: OSError | None = None
    for family, _, _, _, place in dict.fromkeys(found):
        try:
            sockets.append(_named_tcp(socket.create_server(place, family=family)))
        except OSError as error:  # a machine without IPv6 names its address of it all the same
            problem = error
    in_use = problem is not None and problem.errno == errno.EADDRINUSE
    if in_use or not sockets:
        for each in sockets:
            each.close()
        reason = "another program listens there" if in_use else problem and os.strerror(problem.errno or 0)
        raise InputError(f"cannot listen on port {port} of {host}: {reason}; choose another --port or --host")
    return sockets


def _named_tcp(listening: socket.socket) -> socket.socket:
    """The same socket, saying that it is TCP.

    asyncio sends small answers at once (TCP_NODELAY) where connections say so, and the second packet of an answer
    would wait 40 ms for the first to be acknowledged.
    """
    return socket.socket(listening.family, listening.type, socket.IPPROTO_TCP, fileno=listening.detach())


def to_line(address: str) -> str:
    """The address for programs."""
    return json.dumps({"address": address})
