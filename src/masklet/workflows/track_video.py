"""One call of `masklet track`: results go to the journal and to the formats asked for, and the run can be gone on with.

The folder of a run holds `run.json` (what was asked), the journal, and the session as it was after so many lines of
the journal, which its name says. A run that is resumed cuts the journal back to those lines, gives them to the writers
once more, and tracks on from there.
"""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.calibration import Calibration
from masklet.inference.output.video_export import Journal, category, read_journal
from masklet.inference.output.video_writer import Writer, open_writers, with_images
from masklet.inference.video.frame_result import FrameResult
from masklet.media.frames import FrameSource
from masklet.media.video_source import open_frames
from masklet.workflows.track_prompts import TrackPrompts

RECORD, JOURNAL = "run.json", "frames.jsonl"
SAVE_SECONDS = 60.0  # of work that a crash may cost


@dataclass(frozen=True, kw_only=True)
class TrackJob:
    """What is to be followed, where, and what is to be written; results of frames `start`, `start + step`, ..."""

    video: str
    prompts: TrackPrompts
    start: int = 0
    stop: int | None = None
    step: int = 1
    delay: int | None = None
    calibration: Calibration | None = None
    model: str = "tiny"
    formats: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What a run that is gone on with must have in common with its beginning."""
        video = self.video if self.video.isdecimal() else str(Path(self.video).absolute())
        kept = {key: value for key, value in asdict(self).items() if key not in ("stop", "formats", "folder")}
        calibration = self.calibration and self.calibration.digest
        return json.loads(json.dumps(kept | {"video": video, "calibration": calibration}))


class TrackRun(AbstractContextManager):
    """Iterating gives the result of each frame, written already; afterwards `close` finishes the files.

    `load` gives the model, when there is something left to track. `stopping` may be set at any time: the frame at work
    is then the last one. `failures` holds a sentence for each format that had to be given up.
    """

    def __init__(self, job: TrackJob, load: Callable[[], Any], *, resume: bool = False) -> None:
        self.job, self._load = job, load
        self.stopping = self.complete = False
        self.failures: list[str] = []
        self.objects: dict[int, str] = {}
        self.last: FrameResult | None = None
        self.source = open_track_source(job.video)
        check_range(job, self.source)
        self._folder = None if job.folder is None else RunFolder(job.folder)
        self._writers: dict[str, Writer] = {}
        self._journal: Journal | None = None
        self._state: Path | None = None
        self._lines = 0
        if self._folder is not None:
            if resume and not self.source.seekable:
                raise InputError(f"{self.source.name} cannot be gone on with: it gives each frame once")
            if resume:
                self.complete, self._state, self._lines = self._folder.find(job)
            else:
                self._folder.check_free()
            self._writers = open_writers(job.formats, self._folder.path, self._folder.journal, self.source)
            self._replay(self._folder.journal)

    @property
    def total(self) -> int | None:
        """How many frames there are to do from here on, where that is known."""
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
                self._journal = self._folder.begin(self.job, self._lines)
            for result in session.track(start=self._next, stop=self.job.stop, step=self.job.step):
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

    def _open_session(self) -> Any:
        model = self._load()
        if self._state is not None:
            return model.resume_video(self._state, self.source)
        session = model.open_video(self.source, delay=self.job.delay, calibration=self.job.calibration)
        try:
            prompt(session, self.job)
        except BaseException:
            session.close()
            raise
        return session

    @property
    def resumable(self) -> bool:
        """Whether a run that is stopped can be gone on with."""
        return self._folder is not None and self.source.seekable

    def _save(self, session: Any) -> None:
        if self.resumable and self._folder is not None and self._journal is not None:
            self._journal.sync()
            self._folder.save(session, self._journal.lines)

    def _replay(self, journal: Path) -> None:
        """Gives the writers what was done before."""
        if self._lines == 0:
            return
        results = islice(read_journal(journal), self._lines)
        with open_track_source(self.job.video) as source:
            for result in with_images(results, source) if "overlay" in self._writers else results:
                self._take(result)

    def _take(self, result: FrameResult) -> None:
        """A format that cannot go on is given up; the others, and the journal, go on."""
        self.last = result
        for object_id, phrase in zip(result.ids.tolist(), result.concepts, strict=True):
            self.objects.setdefault(object_id, category(phrase))
        for name, writer in list(self._writers.items()):
            try:
                writer.add(result)
            except InputError as error:
                self._give_up(name, error)

    def _give_up(self, name: str, error: InputError) -> None:
        self._writers.pop(name).discard()
        self.failures.append(f"{name}: {error}")

    def close(self) -> list[Path]:
        """Finishes the files of what was done and returns them; the journal is among them when `json` was asked for."""
        files: list[Path] = []
        for name, writer in list(self._writers.items()):
            try:
                files += writer.close()
            except InputError as error:
                self._give_up(name, error)
        if self._folder is not None and self._journal is not None:
            self._journal.close()
            self._folder.record(self.job, complete=self.complete)
            if "json" in self.job.formats:
                files.append(self._folder.journal)
        return files

    @property
    def notes(self) -> list[str]:
        """What a user should know of the video and the files."""
        return [*self.source.warnings, *(note for writer in self._writers.values() for note in writer.notes)]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.source.close()
        if self._journal is not None:
            self._journal.close()


class RunFolder:
    """The folder of a run: its record, its journal and its saved session."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / JOURNAL

    def check_free(self) -> None:
        """Raises: InputError where an unfinished run would be lost."""
        earlier = self._read()
        if earlier is not None and not earlier["complete"] and self._states():
            raise InputError(
                f"{self.path} holds a run that stopped after {max(self._states())} frames: go on with --resume, "
                f"or choose another folder with --out"
            )

    def find(self, job: TrackJob) -> tuple[bool, Path | None, int]:
        """Whether the run is complete, its session, and the lines of the journal that go with it.

        Raises: InputError when there is no run, or one of something else.
        """
        earlier = self._read()
        if earlier is None:
            raise InputError(f"there is no run in {self.path} to go on with")
        differing = [key for key, value in job.arguments.items() if earlier["arguments"].get(key) != value]
        if differing:
            raise InputError(f"the run in {self.path} was begun with another {differing[0]}: --resume changes nothing")
        written = sum(1 for _ in read_journal(self.journal)) if self.journal.exists() else 0
        states = {lines: path for lines, path in self._states().items() if lines <= written}
        lines = max(states, default=0)
        return earlier["complete"] and earlier["stop"] == job.stop, states.get(lines), lines

    def begin(self, job: TrackJob, lines: int) -> Journal:
        """The journal after the lines that are kept; from here on the folder holds this run and no earlier one."""
        journal = Journal(self.journal, lines)
        for count, state in self._states().items():
            if count != lines:
                state.unlink()
        self.record(job, complete=False)
        return journal

    def record(self, job: TrackJob, *, complete: bool) -> None:
        """Writes what the run is."""
        content = {"arguments": job.arguments, "stop": job.stop, "complete": complete}
        write_atomically(self.path / RECORD, json.dumps(content, indent=1))

    def save(self, session: Any, lines: int) -> None:
        """Keeps the session as it is after so many lines, in place of the one kept before."""
        earlier = self._states()
        session.save(self.path / f"session-{lines:06d}.safetensors")
        for count, path in earlier.items():
            if count != lines:
                path.unlink()

    def _states(self) -> dict[int, Path]:
        found = {path: re.fullmatch(r"session-(\d+)\.safetensors", path.name) for path in self.path.glob("session-*")}
        return {int(match[1]): path for path, match in found.items() if match}

    def _read(self) -> dict[str, Any] | None:
        try:
            content = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
            return {"arguments": dict(content["arguments"]), **{key: content[key] for key in ("stop", "complete")}}
        except (OSError, ValueError, KeyError, TypeError):  # none yet, or not ours
            return None


def open_track_source(video: str) -> FrameSource:
    """The video of a path, or the camera of a number that is no file's name."""
    return open_frames(int(video) if video.isdecimal() and not Path(video).exists() else video)


def check_range(job: TrackJob, source: FrameSource) -> None:
    """Raises: InputError when the video has no such frames, as far as its length is known."""
    total = source.num_frames
    if total is not None and max(job.start, job.prompts.last_frame) >= total:
        raise InputError(
            f"{source.name} has {total} frames, and none of number {max(job.start, job.prompts.last_frame)}"
        )


def prompt(session: Any, job: TrackJob) -> None:
    """Tells a session what to follow; a lone phrase takes the boxes as its examples."""
    prompts = job.prompts
    phrases: tuple[str | None, ...] = prompts.phrases or ((None,) if prompts.boxes else ())
    for phrase in phrases:
        session.add_concept(phrase, boxes=prompts.boxes, frame=prompts.box_frame if prompts.boxes else job.start)
    for each in prompts.clicks:
        session.click(None, each.frame, each.points, each.labels, box=each.box)
