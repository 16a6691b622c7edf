"""The report of a training run: what it improved, what it has cost elsewhere, and what may help."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from masklet.data.doctor import SourceTally, examine
from masklet.data.sources import IndexedSource
from masklet.errors import InputError
from masklet.eval.analysis.forgetting import (
    Forgetting,
    Questions,
    ask_questions,
    compare,
    everyday_questions,
    image_questions,
    scene_questions,
    spread,
    standings,
)
from masklet.eval.concepts.outcomes import PairOutcome
from masklet.eval.reports.page import write_report
from masklet.eval.reports.train_log import read_log
from masklet.eval.reports.train_report import Pixels, Remedy, TrainRun, build_train_report
from masklet.files import write_atomically
from masklet.protocols import Segmenter
from masklet.train.recipes.schema import Recipe, parse_saved_recipe
from masklet.train.recipes.source_specs import FileSpec, ScenesSpec, open_images
from masklet.train.run.data_check import DataCheck
from masklet.train.run.validator import best_validation, read_validations, validation_images
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import SILENT, JobObserver, stage
from masklet.workflows.training.remedies import find_remedies

LOG, REPORT, FORGETTING = "log.jsonl", "report.html", "forgetting.json"
MOST_EXAMINED = 50  # images of each source, to describe it


@dataclass(frozen=True, kw_only=True)
class ReportJob:
    """The folder of a training run, finished or not; `forgetting` asks its models what was forgotten."""

    out: Path
    forgetting: bool = True


@dataclass(frozen=True, kw_only=True)
class TrainReport:
    """The page, what was forgotten with remedies, and notes on what could not be made; None for what was not made."""

    page: Path | None
    forgetting: Forgetting | None
    remedies: tuple[Remedy, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "report": None if self.page is None else str(self.page),
            "forgetting": None if self.forgetting is None else self.forgetting.to_json(),
            "remedies": [vars(remedy) for remedy in self.remedies],
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """The report as lines of text."""
        lines = [] if self.forgetting is None else [f"forgetting: {self.forgetting.verdict}"]
        lines += [line for remedy in self.remedies for line in (f"  {remedy.what}:", f"    {remedy.command}")]
        return [*lines, *self.notes, *([] if self.page is None else [f"report: {self.page}"])]


def report_training(job: ReportJob, observer: JobObserver = SILENT) -> TrainReport:
    """Asks the models of a run what was forgotten, and writes `forgetting.json` and `report.html`.

    What a run lacks is left out. Raises: InputError when there is no run, or a file of it cannot be read.
    """
    if not (job.out / LOG).is_file():
        raise InputError(f"{job.out} holds no training run: there is no {LOG}")
    run = _FinishedRun(job)
    with stage(observer, len(run), "images") as advance:
        outcomes = run.ask(advance)
    if run.forgetting is not None:
        document = {**run.forgetting.to_json(), "remedies": [vars(remedy) for remedy in run.remedies]}
        write_atomically(job.out / FORGETTING, json.dumps(document, indent=1) + "\n")
    page = run.write_page(outcomes)
    return TrainReport(page=page, forgetting=run.forgetting, remedies=tuple(run.remedies), notes=tuple(run.notes))


class _FinishedRun:
    """The files of a run, and the images its weights are asked about; `len` is their number, over both models."""

    def __init__(self, job: ReportJob) -> None:
        self.out = job.out
        self.notes: list[str] = []
        self.recipe = _read_recipe(job.out / "recipe.json")
        files = (job.out / "weights.safetensors", job.out / "adapter.safetensors")
        self.weights = next((path for path in files if path.is_file()), None)
        asked = self.recipe if self.recipe and self.recipe.task == "concept" and self.weights else None
        self.validation: tuple[IndexedSource, list[int]] | None = None
        self.own: Questions | None = None
        if asked is not None:
            try:
                self.validation = validation_images(asked)
            except InputError as error:
                self.notes.append(f"no validation images: {error}")
        if self.validation is not None:
            self.own = image_questions("validation", "Validation images", *self.validation)
        self.sets = self._question_sets(asked) if asked is not None and job.forgetting else []
        self.forgetting: Forgetting | None = None
        self.remedies: list[Remedy] = []

    def __len__(self) -> int:
        return 2 * sum(questions.count for questions in self.sets) + (self.own.count if self.own else 0)

    def _question_sets(self, recipe: Recipe) -> list[Questions]:
        """Questions for both models; none where there is no base."""
        if recipe.initial_weights is None:
            self.notes.append("no forgetting check: the run began from random weights")
            return []
        used = {name for phase in recipe.phases for name, weight in phase.weights.items() if weight > 0}
        sets = [scene_questions(learnt=any(isinstance(recipe.data.sources[name], ScenesSpec) for name in used))]
        try:
            general = _open_general(recipe)
            if general is not None:
                sets.append(image_questions("general", "Your general images", general, spread(len(general))))
            if self.own is not None:
                sets.append(everyday_questions(self.own))
        except InputError as error:
            self.notes.append(f"less was asked to see what was forgotten: {error}")
        return sets

    def ask(self, advance: Callable[[], object]) -> list[PairOutcome]:
        """Asks one model after the other: both the question sets, then the trained one about the validation images."""
        recipe, cache = self.recipe, self.out / "answers"
        if recipe is None or self.weights is None or not (self.sets or self.own):
            return []
        try:
            before = standings(self.sets, _load(recipe.initial_weights, recipe), cache, advance) if self.sets else []
            model = _load(self.weights, recipe)
            if self.sets:
                self.forgetting = compare(self.sets, before, standings(self.sets, model, cache, advance))
                self.remedies = find_remedies(self.forgetting, recipe, self.out, self.weights)
            return [] if self.own is None else ask_questions(self.own, model, cache, advance)
        except InputError as error:  # such as a base that is gone or an image that is broken: the page is still made
            self.notes.append(f"the models could not be asked: {error}")
            return []

    def write_page(self, outcomes: Sequence[PairOutcome]) -> Path | None:
        """Writes the page; None without the packages that draw it."""
        lines = read_validations(self.out)
        tallies: Mapping[str, SourceTally] = {}
        if self.recipe is not None:
            with suppress(InputError):  # sources that are gone
                checked = DataCheck(self.recipe, whole=False)
                tallies = examine(checked.sources, checked.image_size, most=MOST_EXAMINED).tallies

        def pixels(name: str) -> Pixels:
            assert self.validation is not None, "there are no outcomes without images"
            source, places = self.validation
            place = next(each for each in places if source.name(each) == name)
            return source.example(place, np.random.default_rng(place)).image

        run = TrainRun(
            name=self.out.resolve().name,
            log=read_log(self.out / LOG),
            validations=lines,
            best=best_validation(lines),
            recipe={} if self.recipe is None else self.recipe.model_dump(mode="json", exclude_defaults=True),
            tallies=dict(tallies),
            outcomes=outcomes,
            pixels=pixels,
            forgetting=self.forgetting,
            remedies=self.remedies,
        )
        try:
            return write_report(build_train_report(run), self.out / REPORT)
        except InputError as error:
            self.notes.append(f"no report: {error}")
            return None


def _read_recipe(path: Path) -> Recipe | None:
    if not path.is_file():
        return None
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} does not hold a recipe")
    return parse_saved_recipe(values)


def _open_general(recipe: Recipe) -> IndexedSource | None:
    """The held-out part of the general source, or all of it if it is not trained on; None if it is generated."""
    spec = None if recipe.general is None else recipe.data.sources[recipe.general]
    if not isinstance(spec, FileSpec):
        return None
    if any(phase.weights.get(str(recipe.general), 0) > 0 for phase in recipe.phases):
        spec = spec.model_copy(update={"split": "heldout", "limit": None})
    return open_images(spec, Path(recipe.data.root))


def _load(weights: str | Path | None, recipe: Recipe) -> Segmenter:
    return ModelChoice(name=str(weights or ""), device=recipe.device).load()
