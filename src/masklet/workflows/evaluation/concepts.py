"""Evaluation of concepts in images: cgF1 and its parts, of files of predictions or of a model."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from masklet.eval.concepts.buckets import Source
from masklet.eval.concepts.concept_run import ConceptEvaluation, summarise
from masklet.eval.concepts.outcomes import RunFiles
from masklet.eval.concepts.pairs import Kind
from masklet.eval.concepts.tally import ConceptTally
from masklet.eval.metrics import formatted
from masklet.eval.predict.predict import Request, write_predictions
from masklet.eval.reports.concept_report import build_concept_report, concept_table
from masklet.formats.saco import Subset, find_predictions, find_subsets, read_pairs
from masklet.workflows.evaluation.concept_labels import labels_as_saco, predictions_as_saco
from masklet.workflows.evaluation.evaluate import (
    AskedModel,
    Evaluation,
    check_predictor,
    finish,
    kinds_of,
    predictions_of,
)
from masklet.workflows.observer import SILENT, JobObserver


@dataclass(frozen=True, kw_only=True)
class ConceptsJob:
    """Labels and the predictions of files, or of a model, which needs the folder `out`.

    An entry of `gt` is a file, `FILE,FILE,FILE` of several annotators, or a folder of published files of SA-Co; or
    labels in any layout that `masklet convert-labels` reads. Predictions are lists as published, or COCO datasets with
    scores. `iou` is
    "masks", "boxes" or "both"; `images` are the folders of the images that the page shows.
    """

    gt: tuple[str, ...]
    pred: tuple[str, ...] | None = None
    model: AskedModel | None = None
    images: tuple[Path, ...] = ()
    iou: str = "both"
    processes: int = 1
    out: Path | None = None

    def __post_init__(self) -> None:
        check_predictor(self.pred, self.model, self.out)


def evaluate_concepts(job: ConceptsJob, observer: JobObserver = SILENT) -> Evaluation:
    """Scores what was predicted for phrases: is the concept there, and are its instances found.

    Raises: InputError naming file, record and field.
    """
    kinds = kinds_of(job.iou)
    with ExitStack() as stack:
        beside = (job.out or Path(stack.enter_context(TemporaryDirectory(prefix="masklet-")))) / "labels"
        return _evaluate(job, kinds, beside, observer)


def _evaluate(job: ConceptsJob, kinds: tuple[Kind, ...], beside: Path, observer: JobObserver) -> Evaluation:
    """`beside` is the folder for labels and predictions that are written anew to be scored."""
    subsets = find_subsets([labels_as_saco(each, job.images, beside) for each in job.gt])
    images = list(job.images)
    if job.model is not None and job.out is not None:
        predictions = list(_predict(subsets, job.model, RunFiles(job.out), observer))
    else:
        given = find_predictions(list(job.pred or ()), subsets)
        predictions = [
            predictions_as_saco(path, subset, beside, observer) for path, subset in zip(given, subsets, strict=True)
        ]
    evaluation = ConceptEvaluation(
        sources=tuple(map(Source.of, subsets, predictions)),
        kinds=kinds,
        processes=job.processes,
        outcomes=RunFiles(job.out).outcomes if job.out else None,
    )
    tallies: dict[str, ConceptTally] = {}
    for step in evaluation.run():
        tallies[step.subset] = step.tally
        if step.share < 1:
            figure = formatted("cgF1", step.tally.kinds[kinds[0]].metrics()["cgF1"], 2)
            observer.noted(f"{step.subset}: {step.share:.0%} scored, cgF1 so far {figure}")
    settings = {
        "gt": [[str(file) for file in subset.files] for subset in subsets],
        "pred": [str(path) for path in predictions],
        "model": job.model and job.model.choice.name,
        "images": [str(folder) for folder in images],
        "iou": job.iou,
        **({"verifier": str(job.model.verifier)} if job.model and job.model.verifier else {}),
    }
    scores = summarise(tallies, settings)
    notes = scores["notes"]
    if notes["unknown_pairs"]:
        observer.warned(f"{notes['unknown_pairs']} predictions belong to no pair of the labels and were left out")
    if notes["unknown_categories"]:
        count = notes["unknown_categories"]
        observer.warned(f"{count} predictions have a category_id that the labels do not name; left out")
    page = partial(build_concept_report, RunFiles(job.out or Path()), images)
    return finish(Evaluation(scores=scores, tables=(concept_table(scores),)), page, job.out, observer)


def _predict(subsets: list[Subset], asked: AskedModel, files: RunFiles, observer: JobObserver) -> Iterator[Path]:
    model = asked.load()
    for subset in subsets:
        requests = [Request(pair.file_name, pair.id, pair.text_input) for pair in read_pairs(subset.files[0])]
        path = files.predictions(subset.name)
        with predictions_of(asked, model, requests, observer, unit="pairs") as predictions:
            write_predictions(predictions, path)
        yield path
