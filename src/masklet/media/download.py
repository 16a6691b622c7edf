"""The one way to an image on the web, taken only when asked for: `masklet.fetch`.

Addresses may come from strangers. So only https is spoken, to public addresses alone, and no more is read than allowed.
The address is checked on the open connection, before anything is sent: a name that changes its mind gains nothing.
"""

import http.client
import ipaddress
import socket
import ssl
import time
import urllib.error
import urllib.request
from io import BufferedIOBase
from urllib.parse import urlsplit

from masklet.errors import InputError

SECONDS = 30
_CHUNK = 1 << 16


def fetch(url: str, *, max_bytes: int = 50_000_000) -> bytes:
    """The bytes of a file on the web, for `model.segment(masklet.fetch(url), ...)`: https alone, at most 30 seconds.

    Raises: InputError when the address is no https address, or that of a machine that is not public; when the file is
    larger than `max_bytes`; when the server cannot be reached or refuses.
    """
    _check_scheme(url)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _PublicHandler(), _HttpsRedirects())
    request = urllib.request.Request(url, headers={"User-Agent": "masklet"})
    try:
        with opener.open(request, timeout=SECONDS) as response:
            return _read_bounded(response, url, max_bytes)
    except (OSError, http.client.HTTPException, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, InputError):
            raise reason from error
        raise InputError(f"cannot fetch {url}: {reason}") from error


def _check_scheme(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise InputError(f"{url!r} is not an address: {error}") from error
    if parts.scheme != "https" or not parts.hostname:
        raise InputError(f"{url!r} is not an https address: only those are fetched")
    if parts.username is not None:
        raise InputError("an address with a user name in it is not fetched")


def check_public(address: str) -> None:
    """Raises: InputError unless an IP address is a public one."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or found
    if not inner.is_global or inner.is_multicast:
        raise InputError(f"{address} is not a public address: nothing is fetched from private networks")


def _read_bounded(response: BufferedIOBase, url: str, max_bytes: int) -> bytes:
    ends, content = time.monotonic() + SECONDS, bytearray()
    while chunk := response.read(_CHUNK):
        content += chunk
        if len(content) > max_bytes:
            raise InputError(f"{url} is larger than {max_bytes} bytes, which max_bytes allows")
        if time.monotonic() > ends:
            raise InputError(f"{url} was not read within {SECONDS} seconds")
    return bytes(content)


class _PublicConnection(http.client.HTTPSConnection):
    def connect(self) -> None:
        self.sock = socket.create_connection((self.host, self.port), self.timeout)
        try:
            check_public(self.sock.getpeername()[0])
            self.sock = ssl.create_default_context().wrap_socket(self.sock, server_hostname=self.host)
        except BaseException:
            self.sock.close()
            raise


class _PublicHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_PublicConnection, req)


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        _check_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
