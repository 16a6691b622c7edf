"""One OpenAI-compatible server: where it may be, how long it may take, how much it may say.

Private by default: an address is refused unless it is this machine or a private network written as numbers, so that no
name is looked up and no image leaves. Keys come from the environment only.
"""

import ipaddress
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from masklet.errors import InputError
from masklet.llm.pace import Pace

KEY_VARIABLE = "MASKLET_LLM_KEY"
MOST_BYTES = 4 * 2**20  # of one reply
RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0
SHOWN = 200  # characters of a server's own words


class ServerProblem(Exception):
    """Why a server gave no answer, in one sentence. `status` is that of HTTP, 0 where there was none."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


def checked_address(url: str, *, allow_remote: bool = False) -> str:
    """The address without a closing slash. Raises: InputError when it is no http address, or public without leave."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url!r} is no address of a server; expected something like http://127.0.0.1:8080/v1")
    if not allow_remote and not is_private(parts.hostname):
        raise InputError(
            f"{parts.hostname} is not this machine nor a private address, and images would be sent there; "
            "allow it with --allow-remote"
        )
    return url.rstrip("/")


def is_private(host: str) -> bool:
    """Whether a host is this machine or of a private network. Names other than localhost are not looked up."""
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.is_loopback or (address.is_private and not address.is_unspecified)


@dataclass(frozen=True, kw_only=True)
class ChatServer:
    """A server and one of its models. Times are in seconds; several threads may ask at once, as many as `pace` lets."""

    url: str
    model: str
    timeout: float = 60.0
    retries: int = 3
    wait: Callable[[float], None] = time.sleep
    pace: Pace = field(default_factory=Pace, compare=False)

    def complete(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """The server's answer to a chat request; what may pass is tried again. Raises: ServerProblem."""
        for attempt in range(self.retries + 1):
            try:
                with self.pace.turn():
                    document = self._post({"model": self.model, **request})
            except ServerProblem as problem:
                if problem.status in RETRIED:
                    self.pace.was_too_much()
                if attempt == self.retries or (problem.status and problem.status not in RETRIED):
                    raise
                self.wait(min(LONGEST_WAIT, FIRST_WAIT * 2**attempt) * random.uniform(0.75, 1.25))
            else:
                self.pace.went_well()
                return document
        raise AssertionError("unreachable")

    def _post(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        import httpx

        key = os.environ.get(KEY_VARIABLE)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        began = time.monotonic()
        try:
            with (
                httpx.Client(timeout=self.timeout, follow_redirects=False, trust_env=False) as client,
                client.stream("POST", f"{self.url}/chat/completions", json=payload, headers=headers) as response,
            ):
                body = bytearray()
                for chunk in response.iter_bytes():
                    body += chunk
                    if len(body) > MOST_BYTES:
                        raise ServerProblem(f"{self.url} said more than {MOST_BYTES // 2**20} MB", 413)
                    if time.monotonic() - began > self.timeout:
                        raise ServerProblem(f"{self.url} took longer than {self.timeout:g} s", 504)
        except httpx.TimeoutException as error:
            raise ServerProblem(f"{self.url} did not answer within {self.timeout:g} s", 504) from error
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            raise ServerProblem(f"{self.url} cannot be reached: {error}", 503) from error
        if response.status_code != 200:
            said = bytes(body[:SHOWN]).decode("utf-8", "replace").strip()
            raise ServerProblem(f"{self.url} answered {response.status_code}: {said}", response.status_code)
        return _document(bytes(body), self.url)


def _document(body: bytes, url: str) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
        first = document["choices"][0]["message"]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
        raise ServerProblem(f"{url} did not answer like a chat server: no choices[0].message", 422) from error
    if not isinstance(first, dict):
        raise ServerProblem(f"{url} did not answer like a chat server: its message is no object", 422)
    return document
