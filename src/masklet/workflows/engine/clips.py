"""`masklet engine clips`: from a folder of videos to clips with masklets that people judged and corrected."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from masklet.engine.clips.exchange import export_ytvis
from masklet.engine.clips.shots import ClipLimits, Shot, find_shots, shrink
from masklet.engine.clips.stages import MARKER, IngestClips, TrackPhrases, WalkClips
from masklet.engine.digests import digest_of
from masklet.engine.ontology.concepts import shipped
from masklet.engine.project.statistics import EngineStats, next_step, statistics
from masklet.engine.runner import Runner
from masklet.engine.snapshots import take_snapshot
from masklet.engine.stages.finalise import Finalise
from masklet.engine.stages.ingest import source_fact
from masklet.engine.stages.phrases import ListedPhrases
from masklet.engine.stages.stage import Stage
from masklet.engine.stages.verification import VerifyExhaustivity, VerifyMasks
from masklet.engine.verify.by_score import ASKS_PEOPLE
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.media.suffixes import is_hidden, is_image
from masklet.media.video_source import open_frames
from masklet.protocols import Segmenter
from masklet.workflows.engine.folder import SNAPSHOT, ProjectSettings, open_project, write_settings
from masklet.workflows.engine.page import write_page
from masklet.workflows.engine.plan import LateModel
from masklet.workflows.engine.run import StageProgress, start_run
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import SILENT, JobObserver, stage

CLIPS, DONE = "clips", ".done"
LONGEST_SIDE = 720
MOST_FRAMES = 20_000  # of a video that are looked at


@dataclass(frozen=True, kw_only=True)
class ClipsJob:
    """Videos (files, or folders of frames), what to look for in them, and the folder of the project.

    Without phrases they are proposed: what is in every thirtieth frame of a clip. Raises: InputError when the videos
    are no folder.
    """

    videos: Path
    folder: Path
    phrases: tuple[str, ...] = ()
    licence: str = "unknown"
    limits: ClipLimits = field(default_factory=ClipLimits)
    least_objects: int = 0
    model: ModelChoice = field(default_factory=ModelChoice)

    def __post_init__(self) -> None:
        if not self.videos.is_dir():
            raise InputError(f"{self.videos} is not a folder of videos")


@dataclass(frozen=True, kw_only=True)
class ClipsResult:
    """How a project of clips stands; `notes` are about videos that gave none, `is_complete` False after Ctrl-C."""

    folder: Path
    clips: int
    stats: EngineStats
    next_step: str
    notes: Sequence[str] = ()
    is_complete: bool = True

    def lines(self) -> list[str]:
        """The result as text."""
        return [f"{self.clips} clips", *self.notes, *self.stats.lines(), f"next: {self.next_step}"]


def run_clips(job: ClipsJob, observer: JobObserver = SILENT, *, segmenter: Segmenter | None = None) -> ClipsResult:
    """Cuts videos, tracks the phrases, and goes on with whatever people have answered since.

    Raises: InputError for videos or a project that cannot be used.
    """
    home = job.folder / CLIPS
    settings = ProjectSettings(
        photos=str(home.resolve()),
        phrases=job.phrases,
        licence=job.licence,
        model=job.model.name,
        videos=str(job.videos.resolve()),
    )
    write_settings(job.folder, settings)
    cut_videos(job.videos, home, job.limits, observer)
    project = open_project(job.folder)
    source = source_fact(job.videos.name, job.licence)
    project.view.ledger.add([source])
    model = segmenter or LateModel(job.model)
    listed = ListedPhrases(phrases=job.phrases)
    stages: list[Stage] = [
        IngestClips(source_id=source.values["source_id"]),
        listed if job.phrases else WalkClips(segmenter=model, ontology=shipped()),
        TrackPhrases(segmenter=model, least_objects=job.least_objects),
        VerifyMasks(verifier=ASKS_PEOPLE),
        VerifyExhaustivity(verifier=ASKS_PEOPLE),
        Finalise(),
    ]
    told, run_id = StageProgress(observer), start_run(project, settings)
    try:
        is_complete = Runner(project, stages, run_id).run(told)
    finally:
        told.end()
        told.keep(project, run_id)
    stats = statistics(project.view)
    step = next_step(stats.states, str(job.folder))
    if project.view.annotations():
        export_ytvis(project, take_snapshot(project.view), job.folder / SNAPSHOT)
    write_page(project, stats, step, job.folder)
    clips = sum(row["profile"] is not None for row in project.view.media())
    return ClipsResult(
        folder=job.folder, clips=clips, stats=stats, next_step=step, notes=notes_on(home), is_complete=is_complete
    )


@dataclass(frozen=True, kw_only=True)
class VideoCut:
    """What became of a video: what it was cut by, its shots, and why it could not be read."""

    stamp: str
    limits: ClipLimits
    shots: Sequence[Shot] = ()
    error: str = ""

    def is_of(self, stamp: str, limits: ClipLimits) -> bool:
        """Whether it still holds: other limits matter only where the former ones left nothing."""
        return self.stamp == stamp and (self.limits == limits or bool(self.shots))


_CUT = TypeAdapter(VideoCut)


def cut_videos(videos: Path, home: Path, limits: ClipLimits, observer: JobObserver = SILENT) -> list[Path]:
    """Cuts each video into clips of one shot, as folders of frames; those that were cut before are left.

    A video that cannot be read leaves a note beside the clips. Raises: InputError when there is no video.
    """
    sources = sorted(path for path in videos.iterdir() if not (is_hidden(path) or is_image(path)))
    if not sources:
        raise InputError(f"{videos} holds no videos, and no folders of frames")
    with stage(observer, len(sources), "videos") as advance:
        for path in sources:
            done, status = home / f"{path.name}{DONE}", path.stat()
            stamp, before = f"{status.st_size} {status.st_mtime_ns}", _before(done)
            is_older = done.is_file() and before is None  # of an earlier version, which kept no more than the shots
            if not is_older and (before is None or not before.is_of(stamp, limits)):
                cut = _cut(path, home, VideoCut(stamp=stamp, limits=limits))
                write_atomically(done, _CUT.dump_json(cut))
            advance()
    return sorted(marker.parent for marker in home.glob(f"*/{MARKER}"))


def _before(done: Path) -> VideoCut | None:
    try:
        return _CUT.validate_json(done.read_bytes())
    except (OSError, ValidationError):
        return None


def notes_on(home: Path) -> list[str]:
    """Videos that could not be read, and those without a shot that is long enough and moves."""
    cuts = {path.name.removesuffix(DONE): _before(path) for path in sorted(home.glob(f"*{DONE}"))}
    notes = [f"{name} gave no clip: {cut.error}" for name, cut in cuts.items() if cut is not None and cut.error]
    empty = [name for name, cut in cuts.items() if cut is not None and not cut.error and not cut.shots]
    if empty:
        notes.append(
            f"{len(empty)} videos have no shot that is long enough and moves, such as {empty[0]}: try --shortest 1"
        )
    return notes


def _cut(path: Path, home: Path, cut: VideoCut) -> VideoCut:
    """Writes the clips of a video, under names that no other video and no earlier cut has."""
    limits, key = cut.limits, digest_of(cut.stamp, *map(str, astuple(cut.limits)))
    prefix = _free_name(path.name, home, key)
    try:
        with open_frames(path) as source:
            step = max(1, round((source.fps or limits.fps) / limits.fps))
            small = [shrink(frame.pixels) for frame in islice(source.frames(0, None, step), MOST_FRAMES)]
            shots = find_shots(small, limits)
            for number, shot in enumerate(shots):
                folder = home / f"{prefix}-{number:03d}"
                frames = source.frames(shot.start * step, shot.stop * step, step)
                _write_frames(folder, (frame.pixels for frame in frames))
                marker = {
                    "video": path.name,
                    "first": shot.start * step,
                    "step": step,
                    "motion": shot.motion,
                    "cut": key,
                }
                write_atomically(folder / MARKER, json.dumps(marker))
    except InputError as error:
        return replace(cut, error=str(error))
    return replace(cut, shots=shots)


def _free_name(name: str, home: Path, key: str) -> str:
    """The name of a video, unless clips of another cut of it have that; a cut that was killed goes on under its own."""
    first = home / f"{name}-000" / MARKER
    is_free = not first.is_file() or key in first.read_text(encoding="utf-8", errors="replace")
    return name if is_free else f"{name}-{key[:6]}"


def _write_frames(folder: Path, images: Iterable[np.ndarray]) -> None:
    for number, image in enumerate(images):
        picture = Image.fromarray(image)
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        write_atomically(folder / f"{number:05d}.jpg", lambda file, each=picture: each.save(file, "JPEG", quality=90))
