"""Live streams: frames are pushed as they come, prompts go to the last of them, and nothing is kept on disk."""

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.video_session import VideoSession
from masklet.serve.lane import NOW
from masklet.serve.model_host import ModelHost
from masklet.serve.problems import HttpProblem, not_found
from masklet.serve.schemas import FrameObjects
from masklet.serve.settings import Limits, Person
from masklet.serve.uploads import ImageDecoder

MOST_LIVE = 8
HISTORY = 100  # frames whose results a live session remembers


@dataclass(eq=False)
class _Live:
    session: VideoSession
    owner: str
    lock: AbstractContextManager[bool] = field(default_factory=threading.Lock)
    used: float = field(default_factory=time.time)


class LiveStreams:
    """The live sessions of a server; one that gets no frames for a while is closed."""

    def __init__(self, host: ModelHost, decoder: ImageDecoder, limits: Limits) -> None:
        self.host, self.decoder, self.limits = host, decoder, limits
        self._streams: dict[str, _Live] = {}
        self._lock = threading.Lock()

    def open(self, person: Person) -> str:
        """The id of a new stream. Raises: HttpProblem (503) when there are too many."""
        session = self.host.get().open_video(delay=0, history_frames=HISTORY)
        self.relieve()
        with self._lock:
            if len(self._streams) >= MOST_LIVE:
                raise HttpProblem(503, f"{MOST_LIVE} live streams are open: close one first", retry_after=30)
            key = secrets.token_urlsafe(16)
            self._streams[key] = _Live(session, person.name)
        return key

    def push(self, key: str, data: bytes, person: Person) -> FrameObjects | None:
        """The next frame, an image file; its objects, if any result is due. Raises: InputError, HttpProblem."""
        pixels = self.decoder.read(data)
        return self._use(key, person, lambda session: session.push(pixels))

    def prompt(self, key: str, person: Person, ask: Callable[[VideoSession], FrameResult]) -> FrameObjects | None:
        """A prompt on one of the last frames. Raises: InputError, HttpProblem."""
        return self._use(key, person, ask)

    def close(self, key: str, person: Person) -> None:
        """Ends a stream. Raises: HttpProblem (404)."""
        self._find(key, person).session.close()
        self._streams.pop(key, None)

    def relieve(self) -> None:
        """Closes what is idle."""
        for key, live in list(self._streams.items()):
            if time.time() - live.used > self.limits.idle_seconds:
                self._streams.pop(key, None)
                live.session.close()

    def _use(self, key: str, person: Person, work: Callable[[VideoSession], FrameResult | None]) -> FrameObjects | None:
        live = self._find(key, person)
        with live.lock, self.host.lane.turn(NOW):
            live.used = time.time()
            result = work(live.session)
        return None if result is None else FrameObjects.model_validate(result.to_json())

    def _find(self, key: str, person: Person) -> _Live:
        live = self._streams.get(key)
        if live is None or (live.owner != person.name and person.role != "lead"):
            raise not_found("live stream")
        return live
