"""Tracking of one video: results go to the journal and to the chosen formats, and a stopped run can be resumed."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from masklet.errors import InputError
from masklet.inference.output.registry import open_writers
from masklet.inference.output.video_export import Journal, read_journal, with_images
from masklet.inference.output.video_writer import Writer
from masklet.inference.video.frame_result import FrameResult
from masklet.media.frames import FrameSource, check_kept
from masklet.media.video_source import open_frames
from masklet.query.text import from_text
from masklet.workflows.observer import SILENT, JobObserver, stage
from masklet.workflows.track_folder import RunFolder, RunState
from masklet.workflows.track_job import TrackJob

if TYPE_CHECKING:
    from masklet.inference.video.video_session import VideoSession
    from masklet.inference.video.views import ShownFrames

SAVE_SECONDS = 60.0  # of work that a crash may cost


@dataclass(frozen=True, kw_only=True)
class TrackedVideo:
    """What came of a job: the number of objects of each category, the last frame done, and the files written.

    `notes` are about the video and the files; `failures` name each format that could not be written.
    """

    name: str
    counts: Counter[str]
    last_frame: int | None
    complete: bool
    resumable: bool
    files: tuple[Path, ...]
    notes: tuple[str, ...]
    failures: tuple[str, ...]


def track_video(job: TrackJob, observer: JobObserver = SILENT) -> TrackedVideo:
    """Tracks to the end of the job, or until the observer stops it; every `FrameResult` is produced to the observer.

    A KeyboardInterrupt ends the job, too: the files of the frames done are finished, and the result is not complete.

    Raises: InputError when the video, a prompt or the folder cannot be used.
    """
    with TrackRun(job) as run:
        try:
            with stage(observer, run.total, "frames") as advance:
                for result in run:
                    observer.produced(result)
                    advance()
                    run.stopping = run.stopping or observer.should_stop()
        except KeyboardInterrupt:
            run.stopping = True
        finally:
            files = run.close()
        return TrackedVideo(
            name=run.source.name,
            counts=Counter(run.objects.values()),
            last_frame=None if run.last is None else run.last.index,
            complete=run.complete,
            resumable=run.resumable,
            files=tuple(files),
            notes=(*run.source.warnings, *run.writer_notes),
            failures=tuple(run.failures),
        )


class TrackRun(AbstractContextManager):
    """One run of a job: iterating gives the result of each frame, already written; `close` then finishes the files.

    The model is loaded when there is something left to track. `stopping` may be set at any time: the frame at hand is
    then the last one. `objects` are the categories by object id; `failures` name each format that was given up.
    """

    def __init__(self, job: TrackJob) -> None:
        self.job = job
        self.stopping = False
        self.failures: list[str] = []
        self.save_failure: str | None = None
        self.objects: dict[int, str] = {}
        self.last: FrameResult | None = None
        self.source = open_track_source(job.video)
        last = max(job.start, job.prompts.last_frame)
        if self.source.num_frames is not None and last >= self.source.num_frames:
            raise InputError(f"{self.source.name} has {self.source.num_frames} frames, and none of number {last}")
        self._folder = None if job.folder is None else RunFolder(job.folder)
        self._writers: dict[str, Writer] = {}
        self._journal: Journal | None = None
        self._state = RunState()
        self.view = view_of(job)
        if self._folder is not None:
            if job.resume and not self.source.seekable:
                raise InputError(f"{self.source.name} cannot be gone on with: it gives each frame once")
            if job.resume:
                self._state = self._folder.find(job, self.source)
            else:
                self._folder.check_free()
                check_kept(self.source, self._folder.own_files)
            self._writers = open_writers(job.formats, self._folder.path, self._folder.journal, self.source)
            self._replay(self._folder.journal)
        self.complete = self._state.complete

    @property
    def total(self) -> int | None:
        """Number of frames left to do, where it is known."""
        if self.complete:
            return 0
        end = self.source.num_frames if self.job.stop is None else self.job.stop
        if end is None:
            return None
        if self.source.num_frames is not None:
            end = min(end, self.source.num_frames)
        return len(range(self._next, end, self.job.step))

    @property
    def _next(self) -> int:
        return self.job.start if self.last is None else self.last.index + self.job.step

    def __iter__(self) -> Iterator[FrameResult]:
        if self.complete or self.total == 0:
            self.complete = True
            return
        session = self._open_session()
        saved_at = time.monotonic()
        try:
            if self._folder is not None:
                self._journal = self._folder.begin(self.job, self.source, self._state.lines)
            for tracked in session.track(start=self._next, stop=self.job.stop, step=self.job.step):
                result = tracked if self.view is None else self.view(tracked)
                self._take(result)
                if self._journal is not None:
                    self._journal.append(result)
                yield result
                if self.stopping or time.monotonic() - saved_at > SAVE_SECONDS:
                    self._save(session)
                    saved_at = time.monotonic()
                if self.stopping:
                    return
            self._save(session)
            self.complete = True
        finally:
            session.close()

    def _open_session(self) -> "VideoSession":
        model = self.job.model.load()
        if self._state.session is not None:
            if self.view is not None and self._state.view:
                self.view.restore(self._state.view)
            return model.resume_video(self._state.session, self.source)
        session = model.open_video(self.source, delay=self.job.delay, calibration=self.job.calibration)
        try:
            prompt(session, self.job)
        except BaseException:
            session.close()
            raise
        return session

    @property
    def resumable(self) -> bool:
        """Whether the run can be resumed when it is stopped."""
        return self._folder is not None and self.source.seekable

    def _save(self, session: "VideoSession") -> None:
        if self.resumable and self._folder is not None and self._journal is not None:
            try:
                self._journal.sync()
                self._folder.save(session, self._journal.lines, self.view)
            except (InputError, OSError, MemoryError) as error:
                self.save_failure = f"the session could not be saved, so the run can go on from less: {error}"

    def _replay(self, journal: Path) -> None:
        if self._state.lines == 0:
            return
        results = islice(read_journal(journal), self._state.lines)
        with open_track_source(self.job.video) as source:
            for result in with_images(results, source) if "overlay" in self._writers else results:
                self._take(result)

    def _take(self, result: FrameResult) -> None:
        """Hands a result to the writers; a format that fails is given up, while the others and the journal go on."""
        self.last = result
        for object_id, phrase in zip(result.ids.tolist(), result.phrases, strict=True):
            self.objects.setdefault(object_id, phrase)
        for name, writer in list(self._writers.items()):
            try:
                writer.add(result)
            except InputError as error:
                self._give_up(name, error)

    def _give_up(self, name: str, error: InputError) -> None:
        self._writers.pop(name).discard()
        self.failures.append(f"{name}: {error}")

    def close(self) -> list[Path]:
        """Finishes and returns the files; the journal is among them when the format `json` was chosen."""
        files: list[Path] = []
        for name, writer in list(self._writers.items()):
            try:
                files += writer.close()
            except InputError as error:
                self._give_up(name, error)
        if self._folder is not None and (self._journal is not None or files):
            if self._journal is not None:
                self._journal.close()
                files += [self._folder.journal] * ("json" in self.job.formats)
            self._folder.record(self.job, self.source, files, complete=self.complete)
        return files

    @property
    def writer_notes(self) -> list[str]:
        """Remarks of the writers on their files."""
        notes = [note for writer in self._writers.values() for note in writer.notes]
        return notes if self.save_failure is None else [*notes, self.save_failure]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()
        if self._journal is not None:
            self._journal.close()


def open_track_source(video: str) -> FrameSource:
    """The video at a path, or the camera of a number that is not the name of a file."""
    return open_frames(int(video) if video.isdecimal() and not Path(video).exists() else video)


def view_of(job: TrackJob) -> "ShownFrames | None":
    """What is shown of the tracked frames, where it is not all. Raises: InputError on a question that is none."""
    from masklet.inference.video.views import ExclusiveView, QuestionView

    if job.question is not None:
        return QuestionView(question=from_text(job.question))
    return ExclusiveView() if job.exclusive else None


def prompt(session: "VideoSession", job: TrackJob) -> None:
    """Adds the prompts of a job to a session; a single phrase takes the boxes as its examples."""
    prompts = job.prompts
    phrases: tuple[str | None, ...] = prompts.phrases or ((None,) if prompts.boxes else ())
    for phrase in phrases:
        session.add_concept(phrase, boxes=prompts.boxes, frame=prompts.box_frame if prompts.boxes else job.start)
    for each in prompts.clicks:
        session.click(None, each.frame, each.points, each.labels, box=each.box)
