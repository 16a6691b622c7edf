"""Evaluations with a number an image (counting), a class a pixel (semantic) and a verdict an item."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.eval.concepts.outcomes import RunFiles
from masklet.eval.predict.predict import Request, write_predictions
from masklet.eval.reports.page import Cell, Table
from masklet.eval.reports.task_report import build_task_report
from masklet.eval.tasks.counting import score_counts
from masklet.eval.tasks.semantic import image_of, paint, score_folders
from masklet.eval.tasks.verdicts import score_verdicts
from masklet.formats.benchmarks import read_classes, read_questions, write_label_map
from masklet.media.suffixes import walk
from masklet.workflows.evaluation.evaluate import AskedModel, Evaluation, EvaluationJob, finish, predictions_of
from masklet.workflows.observer import SILENT, JobObserver

MOST_QUESTIONS = 200  # of counting, in the page


@dataclass(frozen=True, kw_only=True)
class CountingJob(EvaluationJob):
    """A list of id, file_name, text_input and count, and predictions in SA-Co's layout whose `image_id` is the id."""


@dataclass(frozen=True, kw_only=True)
class SemanticJob(EvaluationJob):
    """Folders of label maps of the same names, or one of true label maps and a model, which needs `classes`.

    `classes` is a JSON file of names by class number. Raises: InputError when a folder does not exist or the names are
    missing.
    """

    classes: Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for folder in (self.gt, self.pred or self.gt):
            if not folder.is_dir():
                raise InputError(f"no such folder: {folder}")
        if self.model is not None and self.classes is None:
            raise InputError("--model needs --classes: the names that it is asked for")


@dataclass(frozen=True, kw_only=True)
class VerdictsJob:
    """Verdicts of people and of a verifier, each a list of id and verdict."""

    gt: Path
    pred: Path
    out: Path | None = None


def evaluate_counting(job: CountingJob, observer: JobObserver = SILENT) -> Evaluation:
    """How many there are: mean absolute error, and the share counted exactly."""
    questions = read_questions(job.gt)
    pred = job.pred or Path()
    if job.model is not None and job.out is not None:
        requests = [Request(each.file_name, key, each.text_input) for key, each in questions.items()]
        pred = RunFiles(job.out).predictions("counting")
        with predictions_of(job.model, job.model.choice.load(), requests, observer, assume_present=True) as predictions:
            write_predictions(predictions, pred)
    tally, found = score_counts(questions, pred)
    counts = [(each.text_input, each.file_name, each.count, found[key]) for key, each in questions.items()]
    worst = sorted(counts, key=lambda row: -abs(row[2] - row[3]))[:MOST_QUESTIONS]
    return _finish("counting", job.settings(pred), tally.metrics(), worst, job.out, observer)


def evaluate_semantic(job: SemanticJob, observer: JobObserver = SILENT) -> Evaluation:
    """The class of each pixel: mean IoU over classes."""
    names = read_classes(job.classes) if job.classes else {}
    pred = job.pred or Path()
    if job.model is not None and job.out is not None:
        pred = job.out / "labels"
        _paint(job.gt, names, job.model, pred, observer)
    tallies = [tally for _, tally in score_folders(job.gt, pred)]
    total = sum(tallies[1:], tallies[0])
    by_class = {names.get(key, str(key)): value for key, value in total.iou().items()}
    worst = [(name, round(100 * value, 2)) for name, value in sorted(by_class.items(), key=lambda each: each[1])]
    settings = job.settings(pred)
    return _finish("semantic", settings, total.metrics(), worst, job.out, observer, more={"classes": by_class})


def _paint(gt: Path, names: Mapping[int, str], asked: AskedModel, labels: Path, observer: JobObserver) -> None:
    maps = sorted(path.relative_to(gt) for path in walk(gt, (".png",)))
    numbers = list(names)
    requests = [
        Request(image_of(name, asked.folders), place * len(numbers) + index, names[number])
        for place, name in enumerate(maps)
        for index, number in enumerate(numbers)
    ]
    with predictions_of(asked, asked.choice.load(), requests, observer) as predictions:
        for name in maps:
            write_label_map(labels / name, paint(list(zip(numbers, islice(predictions, len(numbers)), strict=True))))


def evaluate_verdicts(job: VerdictsJob, observer: JobObserver = SILENT) -> Evaluation:
    """How far a verifier can be trusted: precision and recall of its rejections."""
    metrics = score_verdicts(job.gt, job.pred)
    settings = {"gt": str(job.gt), "pred": str(job.pred)}
    return _finish("verdicts", settings, metrics, list(metrics.items()), job.out, observer)


def _finish(
    task: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, float],
    rows: Sequence[Sequence[Cell]],
    out: Path | None,
    observer: JobObserver,
    *,
    more: Mapping[str, Any] | None = None,
) -> Evaluation:
    scores = {"format": f"masklet-eval-{task}", "version": 1, "settings": settings, "metrics": metrics, **(more or {})}
    table = Table("", ["figure", "value"], [(name, f"{value:.4g}") for name, value in metrics.items()])
    page = partial(build_task_report, task, settings, metrics, rows)
    return finish(Evaluation(scores=scores, tables=(table,)), page, out, observer)
