"""Images from addresses: of hosts that the operator has named, and of no others, whatever the address looks like.

A name is resolved once and that address is connected to; redirects are not followed; a token goes to nobody else.
"""

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from masklet.errors import InputError
from masklet.serve.settings import ServeSettings

SECONDS = 15


class RefusedError(InputError):
    """A host that answered, with a status that is no success."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def fetch(address: str, settings: ServeSettings, headers: Mapping[str, str] | None = None) -> bytes:
    """The bytes behind an http or https address. Raises: InputError for one that is not allowed, or does not answer."""
    parts = check_address(address, settings)
    place = resolve(parts, settings)
    try:
        return _read(parts, place, settings.limits.image_bytes, dict(headers or {}))
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise (
            error if isinstance(error, InputError) else InputError(f"{_shown(parts)} does not answer: {error}")
        ) from error


def check_address(address: str, settings: ServeSettings) -> SplitResult:
    """An address in its parts. Raises: InputError when it is none, or its host was not named by the operator."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise InputError("the address of the image is not one of http or https") from error
    if parts.scheme not in ("http", "https") or not host or parts.username is not None or not address.isprintable():
        raise InputError("the address of the image is not one of http or https")
    if not {host, f"{host}:{port}"} & set(settings.hosts):
        raise InputError(f"images are not fetched from {host}: the operator may allow it with --allow-host {host}")
    return parts


def resolve(parts: SplitResult, settings: ServeSettings) -> tuple[str, int]:
    """The address and port to connect to. Raises: InputError when a public name leads to a private place."""
    host = str(parts.hostname)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise InputError(f"there is no host {host}") from error
    places = [str(entry[4][0]) for entry in found]
    if not {host, f"{host}:{parts.port}"} & set(settings.private_hosts):
        for place in places:
            if not ipaddress.ip_address(place.partition("%")[0]).is_global:
                raise InputError(
                    f"{host} leads to a private address: the operator may allow it with --private-host {host}"
                )
    return places[0], port


def _read(parts: SplitResult, place: tuple[str, int], limit: int, headers: dict[str, str]) -> bytes:
    connection = http.client.HTTPConnection(*place, timeout=SECONDS)
    try:
        connection.connect()
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=parts.hostname)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"Host": parts.netloc, "Accept": "*/*", **headers})
        answer = connection.getresponse()
        if answer.status != 200:
            told = "; redirects are not followed" if 300 <= answer.status < 400 else ""
            raise RefusedError(f"{_shown(parts)} answers {answer.status}{told}", answer.status)
        data = answer.read(limit + 1)
        if len(data) > limit:
            raise InputError(f"{_shown(parts)} is longer than the {limit} bytes that are read")
        return data
    finally:
        connection.close()


def _shown(parts: SplitResult) -> str:
    """Without the query, which may hold a secret."""
    return f"{parts.scheme}://{parts.netloc}{parts.path}"[:200]
