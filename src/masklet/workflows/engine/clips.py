"""`masklet engine clips`: from a folder of videos to clips with masklets that people judged and corrected."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from masklet.engine.clips.exchange import export_ytvis
from masklet.engine.clips.shots import ClipLimits, Shot, find_shots, shrink
from masklet.engine.clips.stages import MARKER, IngestClips, PeopleAlone, TrackPhrases
from masklet.engine.project.statistics import EngineStats, next_step, statistics
from masklet.engine.runner import Runner
from masklet.engine.snapshots import take_snapshot
from masklet.engine.stages.finalise import Finalise
from masklet.engine.stages.ingest import source_fact
from masklet.engine.stages.phrases import ListedPhrases
from masklet.engine.stages.stage import Stage
from masklet.engine.stages.verification import VerifyExhaustivity, VerifyMasks
from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.media.suffixes import is_hidden, is_image
from masklet.media.video_source import open_frames
from masklet.protocols import Segmenter
from masklet.workflows.engine.folder import SNAPSHOT, ProjectSettings, open_project, write_settings
from masklet.workflows.engine.page import write_page
from masklet.workflows.engine.plan import LateModel
from masklet.workflows.engine.run import start_run
from masklet.workflows.model_choice import ModelChoice

CLIPS = "clips"
LONGEST_SIDE = 720
MOST_FRAMES = 20_000  # of a video that are looked at


@dataclass(frozen=True, kw_only=True)
class ClipsJob:
    """Videos (files, or folders of frames), what to look for in them, and the folder of the project.

    Raises: InputError when there is nothing to look for.
    """

    videos: Path
    folder: Path
    phrases: tuple[str, ...]
    licence: str = "unknown"
    limits: ClipLimits = field(default_factory=ClipLimits)
    least_objects: int = 0
    model: ModelChoice = field(default_factory=ModelChoice)

    def __post_init__(self) -> None:
        if not self.videos.is_dir():
            raise InputError(f"{self.videos} is not a folder of videos")
        if not self.phrases:
            raise InputError("no phrases: say what to track, such as --phrases 'dog, red car'")


@dataclass(frozen=True, kw_only=True)
class ClipsResult:
    """How a project of clips stands."""

    folder: Path
    clips: int
    stats: EngineStats
    next_step: str

    def lines(self) -> list[str]:
        """The result as text."""
        return [f"{self.clips} clips", *self.stats.lines(), f"next: {self.next_step}"]


def run_clips(job: ClipsJob, *, segmenter: Segmenter | None = None) -> ClipsResult:
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
    cut_videos(job.videos, home, job.limits)
    project = open_project(job.folder)
    source = source_fact(job.videos.name, job.licence)
    project.view.ledger.add([source])
    model = segmenter or LateModel(job.model)
    stages: list[Stage] = [
        IngestClips(source_id=source.values["source_id"]),
        ListedPhrases(phrases=job.phrases),
        TrackPhrases(segmenter=model, least_objects=job.least_objects),
        VerifyMasks(verifier=PeopleAlone()),
        VerifyExhaustivity(verifier=PeopleAlone()),
        Finalise(),
    ]
    Runner(project, stages, start_run(project, settings)).run()
    stats = statistics(project.view)
    step = next_step(stats.states, str(job.folder))
    if project.view.annotations():
        export_ytvis(project, take_snapshot(project.view), job.folder / SNAPSHOT)
    write_page(project, stats, step, job.folder)
    clips = sum(row["profile"] is not None for row in project.view.media())
    return ClipsResult(folder=job.folder, clips=clips, stats=stats, next_step=step)


def cut_videos(videos: Path, home: Path, limits: ClipLimits) -> list[Path]:
    """Cuts each video into clips of one shot, as folders of frames; those that were cut before are left.

    A video that cannot be read leaves a note beside the clips. Raises: InputError when there is no video.
    """
    sources = sorted(path for path in videos.iterdir() if not (is_hidden(path) or is_image(path)))
    if not sources:
        raise InputError(f"{videos} holds no videos, and no folders of frames")
    for path in sources:
        done = home / f"{path.name}.done"
        if done.is_file():
            continue
        try:
            shots = _cut(path, home, limits)
        except InputError as error:
            write_atomically(done, f"not read: {error}\n")
            continue
        write_atomically(done, "".join(f"{shot.start} {shot.stop} {shot.motion}\n" for shot in shots))
    return sorted(marker.parent for marker in home.glob(f"*/{MARKER}"))


def _cut(path: Path, home: Path, limits: ClipLimits) -> list[Shot]:
    with open_frames(path) as source:
        step = max(1, round((source.fps or limits.fps) / limits.fps))
        small = [shrink(frame.pixels) for frame in source.frames(0, None, step)][:MOST_FRAMES]
        shots = find_shots(small, limits)
        for number, shot in enumerate(shots):
            folder = home / f"{path.stem}-{number:03d}"
            frames = source.frames(shot.start * step, shot.stop * step, step)
            _write_frames(folder, (frame.pixels for frame in frames))
            marker = {"video": path.name, "first": shot.start * step, "step": step, "motion": shot.motion}
            write_atomically(folder / MARKER, json.dumps(marker))
    return shots


def _write_frames(folder: Path, images: Iterable[np.ndarray]) -> None:
    for number, image in enumerate(images):
        picture = Image.fromarray(image)
        picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
        write_atomically(folder / f"{number:05d}.jpg", lambda file, each=picture: each.save(file, "JPEG", quality=90))
