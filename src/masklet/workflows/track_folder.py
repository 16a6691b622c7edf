"""The folder of a tracked video: `run.json` with the arguments, the journal, and the saved session.

The name of the session file is the number of journal lines it belongs to. A resumed run cuts the journal back to those
lines and continues from the session.
"""

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.inference.output.video_export import Journal, read_journal
from masklet.media.frames import FrameSource
from masklet.workflows.track_job import TrackJob

if TYPE_CHECKING:
    from masklet.inference.video.video_session import VideoSession
    from masklet.inference.video.views import ShownFrames

RECORD, JOURNAL = "run.json", "frames.jsonl"
RESULTS = ("overlay.mp4", "masks", "ytvis.json", "mot.txt", "mot_frames.json", "davis")  # which a run may remove


@dataclass(frozen=True)
class RunRecord:
    """The content of `run.json`. `source` tells a file from another of its name; `files` are the run's own results."""

    arguments: dict[str, object]
    stop: int | None
    complete: bool
    source: list[object] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class RunState:
    """A run that is resumed: whether it is complete, its session file, and the journal lines that belong to it."""

    complete: bool = False
    session: Path | None = None
    lines: int = 0
    view: dict[str, object] = field(default_factory=dict)  # what the view of the results had decided


def fingerprint(source: FrameSource) -> list[object]:
    """Size, time of writing and number of frames of a video; of a folder those of all its frames."""
    path = source.path
    if path is None:
        return []
    names = [path / name for name in source.file_names or ()] if path.is_dir() else [path]
    states = [each.stat() for each in names]
    return [sum(each.st_size for each in states), max(each.st_mtime_ns for each in states), source.num_frames]


class RunFolder:
    """The folder of a run: its record, its journal and its saved session."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = path / JOURNAL

    @property
    def own_files(self) -> list[Path]:
        """What the run before wrote here."""
        earlier = self._read()
        return [self.path / name for name in (earlier.files if earlier else ()) if (self.path / name).exists()]

    def clear(self) -> None:
        """Removes the results of the run before, which had other arguments."""
        for path in self.own_files:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()

    def check_free(self) -> None:
        """Raises: InputError when the folder holds an unfinished run, which would be lost."""
        earlier, sessions = self._read(), self._sessions()
        if earlier is not None and not earlier.complete and sessions:
            raise InputError(
                f"{self.path} holds a run that stopped after {max(sessions)} frames: go on with --resume, "
                f"or choose another folder with --out"
            )

    def find(self, job: TrackJob, source: FrameSource) -> RunState:
        """The run to resume. Raises: InputError when there is no run, or its arguments or its video differ."""
        earlier = self._read()
        if earlier is None:
            raise InputError(f"there is no run in {self.path} to go on with")
        differing = [key for key, value in job.arguments.items() if earlier.arguments.get(key) != value]
        if differing:
            raise InputError(f"the run in {self.path} was begun with another {differing[0]}: --resume changes nothing")
        if earlier.source and earlier.source != fingerprint(source):
            raise InputError(
                f"{job.video} is not the video that the run in {self.path} was begun with: it was replaced"
            )
        written = sum(1 for _ in read_journal(self.journal)) if self.journal.exists() else 0
        sessions = {lines: path for lines, path in self._sessions().items() if lines <= written}
        lines = max(sessions, default=0)
        session = sessions.get(lines)
        return RunState(
            complete=earlier.complete and earlier.stop == job.stop,
            session=session,
            lines=lines,
            view={} if session is None else _read_view(session),
        )

    def begin(self, job: TrackJob, source: FrameSource, lines: int) -> Journal:
        """The journal after the lines that are kept; earlier runs are removed from the folder."""
        if not job.resume:
            self.clear()
        journal = Journal(self.journal, lines)
        self._remove_sessions(keep=lines)
        self.record(job, source, [], complete=False)
        return journal

    def record(self, job: TrackJob, source: FrameSource, files: Sequence[Path], *, complete: bool) -> None:
        """Writes `run.json`, with the results written by now and before."""
        names = {path.name for path in (*self.own_files, *files)}
        content = RunRecord(
            arguments=job.arguments,
            stop=job.stop,
            complete=complete,
            source=fingerprint(source),
            files=sorted(names.intersection(RESULTS)),
        )
        write_atomically(self.path / RECORD, json.dumps(vars(content), indent=1))

    def save(self, session: "VideoSession", lines: int, view: "ShownFrames | None" = None) -> None:
        """Saves the session that belongs to so many journal lines, and removes the one saved before."""
        path = self.path / f"session-{lines:06d}.safetensors"
        if view is not None:
            write_atomically(path.with_suffix(".json"), json.dumps(view.to_json()))
        session.save(path)
        self._remove_sessions(keep=lines)

    def _remove_sessions(self, *, keep: int) -> None:
        for lines, path in self._sessions().items():
            if lines != keep:
                path.unlink()
                path.with_suffix(".json").unlink(missing_ok=True)

    def _sessions(self) -> dict[int, Path]:
        """Saved sessions by the journal lines they belong to."""
        found = {path: re.fullmatch(r"session-(\d+)\.safetensors", path.name) for path in self.path.glob("session-*")}
        return {int(match[1]): path for path, match in found.items() if match}

    def _read(self) -> RunRecord | None:
        try:
            content = json.loads((self.path / RECORD).read_text(encoding="utf-8"))
            source, files = content.get("source", []), [name for name in RESULTS if name in content.get("files", [])]
            return RunRecord(dict(content["arguments"]), content["stop"], content["complete"], [*source], files)
        except (OSError, ValueError, KeyError, TypeError):  # missing, or not the record of a run
            return None


def _read_view(session: Path) -> dict[str, object]:
    """What the view had decided when a session was saved; nothing where the run has none."""
    path = session.with_suffix(".json")
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged, so the run cannot be gone on with: {error}") from error
