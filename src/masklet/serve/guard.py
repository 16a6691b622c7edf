"""The gate of the server: who is it, from where, how often, and how much. Nothing passes that is not let through here.

A pure ASGI layer, so that a stream is not held up and a body is counted while it comes.
"""

import asyncio
import base64
import binascii
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from masklet.serve.lane import CALLER, Caller
from masklet.serve.problems import HttpProblem
from masklet.serve.settings import LOOPBACK, Limits, Person, ServeSettings
from masklet.serve.telemetry import LOG, Telemetry

OPEN_PATHS = ("/", "/health", "/assets/", "/favicon.ico", "/sw.js")
LOCAL_PERSON = Person(name="local", role="lead")
POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}
MOST_CLIENTS = 4096


class RateLimit:
    """Requests a second for each client, with some in advance; only the last few thousand clients are known."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, client: str, now: float) -> bool:
        """Whether one more request passes, which is counted then."""
        left, before = self._buckets.pop(client, (float(self.limits.burst), now))
        left = min(float(self.limits.burst), left + (now - before) * self.limits.rate)
        passes = left >= 1
        self._buckets[client] = (left - passes, now)
        while len(self._buckets) > MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return passes


class Guard:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, settings: ServeSettings, telemetry: Telemetry) -> None:
        self.app, self.settings, self.telemetry = app, settings, telemetry
        self.rate = RateLimit(settings.limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] == "websocket":  # nothing here speaks it: it passes no gate, so it is shut
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self)
        CALLER.set(exchange.caller)
        try:
            self._admit(scope, exchange)
            await exchange.look_ahead()
            await self.app(scope, exchange.receive, exchange.send)
        except HttpProblem as problem:
            await exchange.refuse(problem)
        except ClientDisconnect:  # nobody is there to be told
            return
        except Exception as error:  # a fault of ours: counted and answered as all else is, and raised for its traceback
            LOG.error(json.dumps({"id": exchange.request_id, "fault": f"{type(error).__name__}: {error}"[:500]}))
            await exchange.refuse(HttpProblem(500, "the server has a fault here; its log tells more under this id"))
            raise
        finally:
            exchange.end()

    def _admit(self, scope: Scope, exchange: "_Exchange") -> None:
        """Raises: HttpProblem when the request may not pass."""
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
        client = (scope.get("client") or ("unknown",))[0]
        if not self.rate.allows(client, time.monotonic()):
            raise HttpProblem(429, "too many requests: slow down", retry_after=1)
        check_host(headers.get("host", ""), self.settings)
        check_origin(headers)
        limit = body_limit(scope["path"], self.settings.limits)
        declared = headers.get("content-length", "0")
        if not declared.isdecimal() or int(declared) > limit:
            raise HttpProblem(413, f"the body has {declared[:20]} bytes, at most {limit} are taken here")
        exchange.limit = limit
        is_open = scope["path"] in OPEN_PATHS or scope["path"].startswith("/assets/")
        person = identify(headers, self.settings.people)
        if person is None and not is_open:
            raise HttpProblem(401, "a token is needed: send it as `Authorization: Bearer TOKEN`")
        scope.setdefault("state", {})["person"] = person or LOCAL_PERSON


class _Exchange:
    """One request and its answer on their way through the gate."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, guard: Guard) -> None:
        self.scope, self.guard = scope, guard
        self.limit, self._taken = 0, 0
        self._receive, self._send = receive, send
        self._began, self._has_begun = time.perf_counter(), False
        self.request_id = secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = self.request_id
        self.caller = Caller()
        self._leaving: asyncio.Task[Message] | None = None
        self._ahead: Message | None = None

    async def look_ahead(self) -> None:
        """Takes the end of a request without a body, for which routes do not ask: its client is watched from there."""
        names = {name.lower() for name, value in self.scope["headers"] if value != b"0"}
        if not names & {b"content-length", b"transfer-encoding"}:
            self._ahead = await self.receive()

    async def receive(self) -> Message:
        """A part of the body; after the last one, that the client has gone.

        Raises: HTTPException (413) when the body is too long: FastAPI hides all others.
        """
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return ahead
        if self._leaving is not None:
            return await asyncio.shield(self._leaving)
        message = await self._receive()
        self._taken += len(message.get("body", b""))
        if self._taken > self.limit:
            raise HTTPException(413, f"the body is longer than the {self.limit} bytes that are taken here")
        if not message.get("more_body", False):
            self._leaving = asyncio.create_task(self._wait_until_gone())
        return message

    async def _wait_until_gone(self) -> Message:
        message = await self._receive()
        self.caller.is_gone = message["type"] == "http.disconnect"
        return message

    def end(self) -> None:
        """Nobody needs to know any more whether the client is there."""
        if self._leaving is not None:
            self._leaving.cancel()

    async def send(self, message: Message) -> None:
        """A part of the answer; its head gets the headers of the house."""
        if message["type"] == "http.response.start":
            self._has_begun = True
            extra = SECURITY | {b"x-request-id": self.request_id.encode()}
            names = {name.lower() for name, _ in message["headers"]}
            added = [(key, value) for key, value in extra.items() if key not in names]
            if b"cache-control" not in names:
                added.append((b"cache-control", b"no-store"))
            if message["status"] == 413:  # what is still coming is not read
                added.append((b"connection", b"close"))
            message = {**message, "headers": [*message["headers"], *added]}
            route = self.scope.get("route")
            self.guard.telemetry.answered(
                route=getattr(route, "path", "other"),
                method=self.scope["method"] if self.scope["method"] in _METHODS else "other",
                status=message["status"],
                seconds=time.perf_counter() - self._began,
                request_id=self.request_id,
            )
        await self._send(message)

    async def refuse(self, problem: HttpProblem) -> None:
        """Answers with an error, unless the answer has begun."""
        if self._has_begun:
            return
        body = json.dumps({"error": problem.message, "request_id": self.request_id}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if problem.retry_after is not None:
            headers.append((b"retry-after", str(problem.retry_after).encode()))
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})


_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


def body_limit(path: str, limits: Limits) -> int:
    """How long a body may be on a path."""
    if path == "/v1/videos":
        return limits.video_bytes
    return max(limits.json_bytes, limits.image_bytes)


def check_host(host: str, settings: ServeSettings) -> None:
    """A page on a name that its owner pointed at this machine must not reach a server that needs no token.

    Raises: HttpProblem (421).
    """
    if not settings.is_local:
        return
    name = urlsplit(f"//{host}").hostname if host.isprintable() and "@" not in host else None
    if name not in (*LOOPBACK, settings.host):
        raise HttpProblem(421, f"this server is not {host[:80]!r}: use the address that it printed")


def check_origin(headers: Mapping[str, str]) -> None:
    """Pages of other sites get no answer. Raises: HttpProblem (403)."""
    origin = headers.get("origin")
    if origin is None:
        return
    try:
        parts = urlsplit(origin)
        own = parts.netloc != "" and parts.netloc == headers.get("host", "")
    except ValueError:
        own = False
    if not own:
        raise HttpProblem(403, f"pages of {origin[:80]!r} may not use this server: open its own page")


def identify(headers: Mapping[str, str], people: Mapping[str, Person]) -> Person | None:
    """Whose token a request carries; anybody where no tokens were given out. All tokens are compared, each in full."""
    if not people:
        return LOCAL_PERSON
    given = token_of(headers).encode()
    found: Person | None = None
    for token, person in people.items():
        if hmac.compare_digest(given, token.encode()):
            found = person
    return found


def token_of(headers: Mapping[str, str]) -> str:
    """The token of a request: a bearer's, the password of basic authentication, or the header of X-AnyLabeling."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if scheme.lower() in ("bearer", "token"):
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return ""
    return headers.get("token", "")
