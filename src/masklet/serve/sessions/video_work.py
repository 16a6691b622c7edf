"""A video that somebody works on: prompts on any frame, tracking jobs, results of every frame, and earlier versions.

The folder of a session holds the video as it came, the state of the tracker, and a journal of results. Results that a
run replaces are kept as versions, the last ten of them.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.inference.output.registry import VIDEO_FORMATS, export
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.video_session import VideoSession
from masklet.media.video_source import open_frames
from masklet.ops.masks import rle_decode
from masklet.serve.lane import LATER, NOW
from masklet.serve.model_host import ModelHost
from masklet.serve.problems import HttpProblem
from masklet.serve.schemas import (
    FrameObjects,
    TrackBody,
    VideoClickBody,
    VideoConceptBody,
    VideoMark,
    VideoMaskBody,
    VideoView,
)
from masklet.serve.sessions.about import About
from masklet.serve.sessions.photo_view import zipped
from masklet.serve.sessions.track_run import TrackingJob, until_stable

TRACKER, JOURNAL, STATE, VERSIONS = "tracker.safetensors", "journal.jsonl", "state.json", "versions"
MOST_VERSIONS = 10
SAVE_EVERY = 50  # frames of a run
FRAME_BYTES = 25 * 2**20  # of the features of a frame at hand


@dataclass(frozen=True, kw_only=True)
class VideoState:
    """Prompts in the order given, the objects followed, frames that a correction made stale, and a count of changes."""

    marks: tuple[VideoMark, ...] = ()
    objects: tuple[int, ...] = ()
    stale: tuple[int, ...] = ()
    version: int = 0


_ADAPTER = TypeAdapter(VideoState)


class VideoWork:
    """One video session. Its methods may be called by any thread; one at a time does its work."""

    kind = "video"

    def __init__(self, folder: Path, about: About, host: ModelHost, grace: float | int) -> None:
        self.folder, self.name, self.size, self.host, self.grace = folder, about.name, about.size, host, grace
        self.lock = threading.RLock()
        self.used = time.time()
        self.job: TrackingJob | None = None
        self.state = VideoState()
        self.results: dict[int, FrameResult] = {}
        self._session: VideoSession | None = None
        self._reader_lock = threading.Lock()
        self._reader: Any = None
        self._since_save = 0
        if (folder / STATE).is_file():
            self.state = _ADAPTER.validate_json((folder / STATE).read_bytes())
        self._read_journal()

    # --- the video ------------------------------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The video as it came."""
        return next(each for each in self.folder.iterdir() if each.stem == "video")

    @property
    def session(self) -> VideoSession:
        """The tracker, taken up again where it was let go."""
        if self._session is None:
            model, saved = self.host.get(), self.folder / TRACKER
            options: dict[str, Any] = {"history_frames": None}
            self._session = (
                model.resume_video(saved, self.path) if saved.is_file() else model.open_video(self.path, **options)
            )
        return self._session

    @property
    def num_bytes(self) -> int:
        """Bytes in memory: features of the frames at hand, memories and results."""
        results = sum(len(rle) for each in list(self.results.values()) for rle in each.rles)
        if self._session is None:
            return results
        cached = len(self._session.cache.held) * (FRAME_BYTES + 3 * self.size[0] * self.size[1])
        return results + cached

    @property
    def is_busy(self) -> bool:
        """Whether a job runs."""
        return self.job is not None and self.job.is_running

    def release(self) -> None:
        """Saves and frees the tracker; the video stays."""
        with self.lock:
            if self._session is not None:
                self.save()
                self._session.close()
            self._session = None
        with self._reader_lock:
            if self._reader is not None:
                self._reader.close()
            self._reader = None

    def save(self) -> None:
        """Writes the tracker and the state."""
        if self._session is not None:
            self._session.save(self.folder / TRACKER)
        write_atomically(self.folder / STATE, _ADAPTER.dump_json(self.state))
        self._since_save = 0

    def pixels(self, index: int) -> np.ndarray:
        """A frame, read beside whatever is computed. Raises: InputError when there is none."""
        with self._reader_lock:
            if self._reader is None:
                self._reader = open_frames(self.path)
            return self._reader.read(index).pixels

    # --- prompts --------------------------------------------------------------------------------------------------

    def add_concept(self, body: VideoConceptBody) -> FrameObjects:
        """Follows a phrase. Raises: InputError, HttpProblem (409) while a job runs."""
        mark = VideoMark(frame=body.frame, kind="concept", phrase=body.phrase)
        options = {"boxes": body.boxes or (), "not_boxes": body.not_boxes or (), "frame": body.frame}
        return self._prompt(mark, lambda session: session.add_concept(body.phrase or None, **options))

    def click(self, body: VideoClickBody) -> FrameObjects:
        """Corrects or begins an object. Raises: InputError, HttpProblem (409) while a job runs."""
        mark = VideoMark(frame=body.frame, kind="click", object=body.object, points=body.points, labels=body.labels)
        is_known = any(each.object == body.object and each.frame == body.frame for each in self.state.marks)
        add = body.add and body.object is not None and is_known
        return self._prompt(
            mark,
            lambda session: session.click(body.object, body.frame, body.points, body.labels, box=body.box, add=add),
        )

    def add_mask(self, body: VideoMaskBody) -> FrameObjects:
        """Takes a mask drawn by hand. Raises: InputError, HttpProblem (409) while a job runs."""
        if body.mask.size != self.size:
            given, own = body.mask.size, self.size
            raise InputError(f"the mask is of {given[0]} x {given[1]}, the video {own[0]} x {own[1]}")
        try:
            mask = rle_decode(body.mask.counts, *body.mask.size)
        except ValueError as error:
            raise InputError(f"the mask cannot be read: {error}") from error
        mark = VideoMark(frame=body.frame, kind="mask", object=body.object)
        return self._prompt(mark, lambda session: session.add_mask(body.object, body.frame, mask))

    def remove_object(self, number: int) -> VideoView:
        """Ends an object. Raises: InputError when there is none of that id."""
        with self._computing(NOW):
            self.session.remove(number)
            marks = tuple(each for each in self.state.marks if each.object != number)
            self.results = {index: each[each.ids != number] for index, each in self.results.items()}
            self._changed(marks=marks)
            self._rewrite_journal()
        return self.view()

    def remove_concept(self, phrase: str) -> VideoView:
        """Ends a concept and its objects. Raises: InputError when it is not tracked."""
        with self._computing(NOW):
            before = set(self.session.object_ids)
            self.session.remove_concept(phrase)
            gone = before - set(self.session.object_ids)
            marks = tuple(each for each in self.state.marks if each.phrase != phrase)
            keep = {i: np.array([n not in gone for n in each.ids.tolist()], bool) for i, each in self.results.items()}
            self.results = {index: each[keep[index]] for index, each in self.results.items()}
            self._changed(marks=marks)
            self._rewrite_journal()
        return self.view()

    def _prompt(self, mark: VideoMark, ask: Callable[[VideoSession], FrameResult]) -> FrameObjects:
        with self._computing(NOW):
            before = set(self.session.object_ids)
            result = ask(self.session)
            begun = sorted(set(self.session.object_ids) - before)
            if mark.kind != "concept" and mark.object is None and begun:
                mark = mark.model_copy(update={"object": begun[0]})
            self._store(result)
            stale = tuple(sorted({*self.results} - {result.index}))
            self._changed(marks=(*self.state.marks, mark), stale=stale)
        return _frame_view(result)

    # --- tracking -------------------------------------------------------------------------------------------------

    def track(self, body: TrackBody) -> TrackingJob:
        """Begins a job. Results that it replaces become a version. Raises: HttpProblem (409) while one runs."""
        with self._computing(NOW):
            self._keep_version()
            if body.until_stable:
                frames = self._track_around(body, dict(self.results))
            else:
                frames = self.session.track(body.direction, start=body.start, stop=body.stop)
            job = TrackingJob(self.folder.name, frames, self._job_turn, self._store_tracked, self.grace)
            self.job = job.start(self._job_ended)
        return job

    def _track_around(self, body: TrackBody, before: dict[int, FrameResult]) -> Iterator[FrameResult]:
        """Frames each way, until they come out as before; what lies beyond is as it was, so it is stale no more."""
        session = self.session
        start = session.schedule.first_changed() if body.start is None else body.start

        def one_way(direction: Literal["forward", "backward"], start: int, stop: int | None) -> Iterator[FrameResult]:
            frames = session.track(direction, start=start, stop=stop)
            return until_stable(frames, before, lambda index: self._settle(index, direction))

        if body.direction != "both":
            return one_way(body.direction, start, body.stop)
        back = (one_way("backward", start - 1, None) for _ in range(start > 0))  # begun when the other way has ended
        return chain(one_way("forward", start, body.stop), chain.from_iterable(back))

    def _settle(self, index: int, direction: Literal["forward", "backward"]) -> None:
        kept = [each for each in self.state.stale if (each < index if direction == "forward" else each > index)]
        self.state = replace(self.state, stale=tuple(kept))

    def view(self) -> VideoView:
        """The session as it stands."""
        state = self.state
        with self._reader_lock:
            if self._reader is None:
                self._reader = open_frames(self.path)
            total, fps = self._reader.num_frames, self._reader.fps
        seen = {number for each in list(self.results.values()) for number in each.ids.tolist()}
        concepts = dict.fromkeys(each.phrase or "visual" for each in state.marks if each.kind == "concept")
        return VideoView(
            id=self.folder.name,
            name=self.name,
            version=state.version,
            width=self.size[1],
            height=self.size[0],
            frames_total=total,
            fps=fps,
            objects=sorted({*seen, *state.objects}),
            concepts=list(concepts),
            marks=list(state.marks),
            frames=sorted(self.results),
            stale=list(state.stale),
            versions=len(self.version_files()),
            job=self.job.key if self.job is not None and self.is_busy else None,
        )

    def frame_views(self, start: int, count: int) -> list[FrameObjects]:
        """Results of frames from `start` on."""
        chosen = [self.results.get(index) for index in range(start, start + count)]
        return [_frame_view(each) for each in chosen if each is not None]

    def version_files(self) -> list[Path]:
        """Earlier results, the oldest first."""
        return sorted((self.folder / VERSIONS).glob("*.jsonl"))

    def restore_version(self, place: int) -> VideoView:
        """Brings earlier results back; those of now become a version. `place` counts back from 1, the latest."""
        with self._computing(NOW):
            files = self.version_files()
            if not 1 <= place <= len(files):
                raise HttpProblem(404, f"there are {len(files)} earlier versions, and none of number {place}")
            lines = files[-place].read_text(encoding="utf-8")
            self._keep_version()
            write_atomically(self.folder / JOURNAL, lines)
            self.results = {}
            self._read_journal()
            self._changed(stale=())
        return self.view()

    def export(self, formats: list[str]) -> bytes:
        """A zip of the results in formats of the command line. Raises: InputError for one that it has not."""
        unknown = [each for each in formats if each not in VIDEO_FORMATS]
        if unknown or not formats:
            raise InputError(f"unknown format {', '.join(unknown) or 'none'}: choose from {', '.join(VIDEO_FORMATS)}")
        with TemporaryDirectory(prefix="masklet-export-") as place:
            folder = Path(place)
            journal = folder / "results.jsonl"
            rows = [self.results[index] for index in sorted(self.results)]
            write_atomically(journal, "".join(json.dumps(each.to_json()) + "\n" for each in rows))
            source = open_frames(self.path)
            try:
                export(journal, folder, formats, source)
            finally:
                source.close()
            return zipped(folder)

    # --- inside ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _computing(self, urgency: int) -> Iterator[None]:
        with self.lock:
            if self.is_busy:
                raise HttpProblem(409, "a tracking job runs on this video: cancel it first, its frames are kept")
            self.host.get()
            with self.host.lane.turn(urgency):
                yield

    @contextmanager
    def _job_turn(self) -> Iterator[None]:
        with self.lock, self.host.lane.turn(LATER):
            yield

    def _changed(self, **changes: Any) -> None:
        objects = self.session.object_ids
        self.state = replace(self.state, **changes, objects=objects, version=self.state.version + 1)
        self.save()

    def _store(self, result: FrameResult) -> None:
        """Into the journal first, then into memory; images are not kept."""
        with (self.folder / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(json.dumps(result.to_json()) + "\n")
        self.results[result.index] = replace(result, image=None)

    def _store_tracked(self, result: FrameResult) -> None:
        self._store(result)
        self.used = time.time()
        if result.index in self.state.stale:
            self.state = replace(self.state, stale=tuple(each for each in self.state.stale if each != result.index))
        self._since_save += 1
        if self._since_save >= SAVE_EVERY:
            self.save()

    def _job_ended(self) -> None:
        with self.lock:
            self._changed()
            self._rewrite_journal()

    def _keep_version(self) -> None:
        if not set(self.results) - {each.frame for each in self.state.marks}:
            return  # nothing was tracked yet
        number = max((int(each.stem) for each in self.version_files()), default=0) + 1
        lines = "".join(json.dumps(self.results[index].to_json()) + "\n" for index in sorted(self.results))
        write_atomically(self.folder / VERSIONS / f"{number:08d}.jsonl", lines)
        for each in self.version_files()[:-MOST_VERSIONS]:
            each.unlink(missing_ok=True)

    def _rewrite_journal(self) -> None:
        """Each frame once, in order."""
        lines = "".join(json.dumps(self.results[index].to_json()) + "\n" for index in sorted(self.results))
        write_atomically(self.folder / JOURNAL, lines)

    def _read_journal(self) -> None:
        """The last line of a frame holds; one that was cut by a crash is passed over."""
        path = self.folder / JOURNAL
        if not path.is_file():
            return
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                result = FrameResult.from_json(json.loads(line))
            except ValueError:
                continue
            self.results[result.index] = result


def _frame_view(result: FrameResult) -> FrameObjects:
    return FrameObjects.model_validate(result.to_json())
