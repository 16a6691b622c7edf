"""Evaluation of a model with simulated users: clicks on objects of images or videos, examples of concepts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError
from masklet.eval.predict.labelled import LabelledImages
from masklet.eval.reports.click_report import PLOTS, make_page
from masklet.eval.users.exemplars import correct_concepts
from masklet.eval.users.interactive import click_images, image_figures
from masklet.eval.users.interactive_video import find_objects, follow_objects, video_figures
from masklet.files import write_atomically
from masklet.workflows.evaluation.evaluate import Evaluation, check_exist, finish
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import SILENT, JobObserver, stage

if TYPE_CHECKING:
    from masklet.eval.reports.page import Report

CURVE = "curve.svg"


@dataclass(frozen=True, kw_only=True)
class ClicksJob:
    """Labels in COCO or SA-Co JSON with the folder of the images, or for videos a folder of DAVIS annotations.

    `mode` is one of `MODES`; `rounds` is the number of clicks, of frames clicked on, or of examples. `limit` draws so
    many images or objects. Raises: InputError for an unknown mode, and paths that do not exist.
    """

    gt: Path
    images: Path
    mode: str = "images"
    rounds: int | None = None
    limit: int | None = None
    seed: int = 0
    model: ModelChoice = field(default_factory=ModelChoice)
    out: Path | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"unknown mode {self.mode!r}: choose from {', '.join(MODES)}")
        check_exist(self.gt, self.images)

    @property
    def steps(self) -> int:
        """The rounds given, or those of the mode."""
        return self.rounds or MODES[self.mode].rounds


def evaluate_clicks(job: ClicksJob, observer: JobObserver = SILENT) -> Evaluation:
    """Scores a model in the hands of a simulated user. Raises: InputError naming what cannot be read or used."""
    figures = MODES[job.mode].measure(job, observer)
    plots = PLOTS[job.mode](figures)
    settings = {
        "gt": str(job.gt),
        "images": str(job.images),
        "mode": job.mode,
        "rounds": job.steps,
        "limit": job.limit,
        "seed": job.seed,
        "model": job.model.name,
    }
    counts = [f"{count} {name.replace('_', ' ')}" for name, count in figures.items() if isinstance(count, int)]
    heading = f"{job.model.name} on {job.gt.name}: {', '.join(counts)}"
    evaluation = Evaluation(
        scores={"settings": settings, "figures": figures},
        tables=tuple(plot.table(plot.title) for plot in plots),
        heading=heading,
    )

    def page() -> "Report":
        report = make_page(job.mode, heading, figures, plots)
        if job.out is not None:
            write_atomically(job.out / CURVE, plots[0].draw().svg)
        return report

    return finish(evaluation, page, job.out, observer)


def _click_images(job: ClicksJob, observer: JobObserver) -> dict[str, Any]:
    labelled = LabelledImages(job.gt, job.images, seed=job.seed, limit=job.limit)
    with stage(observer, len(labelled), "images") as advance:
        objects = list(click_images(labelled, job.model.load(), num_clicks=job.steps, seed=job.seed, advance=advance))
    if not objects:
        raise InputError(f"{job.gt} has no object with a mask to click on")
    return image_figures(objects, job.steps)


def _click_videos(job: ClicksJob, observer: JobObserver) -> dict[str, Any]:
    if not job.gt.is_dir():
        raise InputError(f"{job.gt} is not a folder: videos need a folder of annotations for each")
    every = find_objects(job.gt, job.images)
    drawn = np.random.default_rng(job.seed).permutation(len(every))[: job.limit]
    chosen = [every[place] for place in sorted(drawn.tolist())]
    with stage(observer, len(chosen), "objects") as advance:
        return video_figures(list(follow_objects(chosen, job.model.load(), num_frames=job.steps, advance=advance)))


def _give_examples(job: ClicksJob, observer: JobObserver) -> dict[str, Any]:
    labelled = LabelledImages(job.gt, job.images, seed=job.seed, limit=job.limit)
    with stage(observer, len(labelled), "images") as advance:
        curves = correct_concepts(labelled, job.model.load(), rounds=job.steps, seed=job.seed, advance=advance)
    if not curves.words.scores[0]:
        raise InputError(f"{job.gt} has no phrase whose instances are all labelled")
    return curves.figures()


@dataclass(frozen=True)
class Mode:
    """A kind of user: the rounds by default, and the function that measures."""

    rounds: int
    measure: Callable[[ClicksJob, JobObserver], dict[str, Any]]


MODES: Mapping[str, Mode] = {
    "images": Mode(10, _click_images),
    "videos": Mode(8, _click_videos),
    "exemplars": Mode(5, _give_examples),
}
