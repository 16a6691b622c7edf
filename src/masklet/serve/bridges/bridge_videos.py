"""Videos that other programs work on: files in a folder that goes with them, a tracker each, one job at a time."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from masklet.inference.video.video_session import VideoSession
from masklet.serve.lane import LATER, NOW
from masklet.serve.model_host import ModelHost
from masklet.serve.problems import HttpProblem, not_found
from masklet.serve.schemas import FrameObjects
from masklet.serve.sessions.track_run import TrackingJob
from masklet.serve.settings import Limits, Person
from masklet.serve.uploads import check_frame

MOST_VIDEOS = 8
Source = Path | list[Path]


@dataclass(eq=False)
class BridgeVideo:
    """A video, its tracker, and the job that runs or ran last. Its methods wait for one another."""

    source: Source
    host: ModelHost
    owner: str
    grace: float | int
    folder: "TemporaryDirectory[str]"
    session: VideoSession
    job: TrackingJob | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)
    used: float = field(default_factory=time.time)

    def prompt(self, ask: Callable[[VideoSession], object]) -> FrameObjects:
        """A prompt, at once. Raises: InputError, HttpProblem (409) while a job runs."""
        with self.lock, self._idle(), self.host.lane.turn(NOW):
            result = ask(self.session)
        return FrameObjects.model_validate(result.to_json())  # type: ignore[attr-defined] - a FrameResult

    def begin_anew(self) -> None:
        """Forgets all prompts. Raises: HttpProblem (409) while a job runs."""
        with self.lock, self._idle():
            self.session.close()
            self.session = self.host.get().open_video(self.source, history_frames=None)

    def track(self, direction: str, start: int, stop: int | None) -> TrackingJob:
        """Begins a job; `stop` is the first frame that is not visited. Raises: InputError, HttpProblem (409)."""
        with self.lock, self._idle():
            frames = self.session.track(direction, start=start, stop=stop)  # type: ignore[arg-type] - checked there
            job = TrackingJob("", frames, self._turn, lambda _: None, self.grace)
            self.job = job.start(lambda: None)
            return self.job

    def close(self) -> None:
        """Cancels the job, and deletes the files."""
        if self.job is not None:
            self.job.cancel()
            self.job.join(30)
        self.session.close()
        self.folder.cleanup()

    @contextmanager
    def _idle(self) -> Iterator[None]:
        self.used = time.time()
        if self.job is not None and self.job.is_running:
            raise HttpProblem(409, "a tracking job runs on this video: cancel it first")
        yield

    @contextmanager
    def _turn(self) -> Iterator[None]:
        self.used = time.time()
        with self.lock, self.host.lane.turn(LATER):
            yield


class BridgeVideos:
    """The videos of a server by key; one that nobody uses for a while is deleted."""

    def __init__(self, host: ModelHost, limits: Limits) -> None:
        self.host, self.limits = host, limits
        self._videos: dict[str, BridgeVideo] = {}
        self._lock = threading.Lock()

    def add(self, fill: Callable[[Path], Source], person: Person, key: str | None = None) -> tuple[str, BridgeVideo]:
        """A video whose files `fill` puts into a folder. Raises: InputError, HttpProblem (503) when many are open."""
        self.relieve()
        if len(self._videos) >= MOST_VIDEOS:
            raise HttpProblem(503, f"{MOST_VIDEOS} videos of other programs are open: close one first", retry_after=30)
        folder = TemporaryDirectory(prefix="masklet-video-", ignore_cleanup_errors=True)
        try:
            source = fill(Path(folder.name))
            session = self.host.get().open_video(source, history_frames=None)
            check_frame(session.size, self.limits)
        except BaseException:
            folder.cleanup()
            raise
        video = BridgeVideo(source, self.host, person.name, self.limits.grace_seconds, folder, session)
        key = key or secrets.token_urlsafe(16)
        with self._lock:
            before, self._videos[key] = self._videos.get(key), video
        if before is not None:
            before.close()
        return key, video

    def get(self, key: str, person: Person) -> BridgeVideo:
        """A video. Raises: HttpProblem (404) when it is not there, or somebody else's."""
        video = self._videos.get(key)
        if video is None or (video.owner != person.name and person.role != "lead"):
            raise not_found("video session")
        video.used = time.time()
        return video

    def job(self, key: str, person: Person) -> TrackingJob:
        """A job by its key. Raises: HttpProblem (404)."""
        for name, video in list(self._videos.items()):
            if video.job is not None and video.job.key == key:
                self.get(name, person)
                return video.job
        raise not_found("task")

    def remove(self, key: str, person: Person) -> None:
        """Ends a video. Raises: HttpProblem (404)."""
        self.get(key, person)
        with self._lock:
            video = self._videos.pop(key, None)
        if video is not None:
            video.close()

    def cancel_jobs(self) -> None:
        """Ends all jobs after the frames that they are at."""
        for video in list(self._videos.values()):
            if video.job is not None:
                video.job.cancel()

    def relieve(self, *, everything: bool = False) -> None:
        """Deletes what is idle."""
        for key, video in list(self._videos.items()):
            is_busy = video.job is not None and video.job.is_running
            if everything or (not is_busy and time.time() - video.used > self.limits.idle_seconds):
                with self._lock:
                    self._videos.pop(key, None)
                video.close()
