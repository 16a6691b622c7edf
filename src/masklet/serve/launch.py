"""Starts the server: prints where it is, and stops so that sessions are saved."""

import json
import logging
import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from masklet.errors import InputError
from masklet.serve.settings import Person, ServeSettings
from masklet.serve.telemetry import LOG

Token = Annotated[str, Field(min_length=16, max_length=200)]
_PEOPLE = TypeAdapter(dict[Token, Person])
STOP_SECONDS = 30


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
        import uvicorn

        from masklet.serve.app import create_app
    except ImportError as error:
        raise ImportError(f'the server needs packages: pip install "masklet[serve]" ({error})') from error
    settings = with_token(settings)
    app = create_app(settings)
    if log:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(message)s"))
        LOG.addHandler(handler)
        LOG.propagate = False
    LOG.setLevel(logging.INFO if log else logging.WARNING)
    tell(address_of(settings))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_SECONDS,
        timeout_keep_alive=20,
        limit_concurrency=1000,
        h11_max_incomplete_event_size=2**16,
    )
    uvicorn.Server(config).run()


def to_line(address: str) -> str:
    """The address for programs."""
    return json.dumps({"address": address})
