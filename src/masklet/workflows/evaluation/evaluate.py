"""Common parts of all evaluations: the model that predicts, and the files and the page of the results."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.eval.concepts.outcomes import RunFiles
from masklet.eval.concepts.pairs import Kind
from masklet.eval.predict.predict import PairPrediction, Request, predict_pairs
from masklet.eval.reports.page import Report, Table, write_report
from masklet.files import write_atomically
from masklet.protocols import Segmenter
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import JobObserver, stage

KINDS: Mapping[str, tuple[Kind, ...]] = {"masks": ("segm",), "boxes": ("bbox",), "both": ("segm", "bbox")}


@dataclass(frozen=True, kw_only=True)
class AskedModel:
    """The model whose predictions are evaluated, the folders of its input, and where its predictions are cached.

    With the file of a `verifier` both are evaluated as one system.
    """

    choice: ModelChoice
    folders: tuple[Path, ...]
    cache: Path | None = None
    verifier: Path | None = None

    def load(self) -> Segmenter:
        """What is asked. Raises: InputError when the model, or the verifier for it, cannot be used."""
        if self.verifier is None:
            return self.choice.load()
        from masklet.workflows.engine.verified import VerifiedSegmenter, with_verifier

        return VerifiedSegmenter(*with_verifier(self.choice, self.verifier))

    @property
    def cache_folder(self) -> Path:
        """The folder given, or that of the user."""
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return self.cache or Path(base) / "masklet" / "answers"


@dataclass(frozen=True, kw_only=True)
class EvaluationJob:
    """Labels, and either a file or folder of predictions, or a model, which needs the folder `out`.

    Raises: InputError when both or neither are given, or the folder is missing.
    """

    gt: Path
    pred: Path | None = None
    model: AskedModel | None = None
    out: Path | None = None

    def __post_init__(self) -> None:
        check_predictor(self.pred, self.model, self.out)

    @property
    def model_name(self) -> str | None:
        """The name of the model, if there is one."""
        return self.model and self.model.choice.name

    def settings(self, pred: Path) -> dict[str, Any]:
        """What `scores.json` says of the job: the labels, the predictions that were scored, and the model."""
        return {"gt": str(self.gt), "pred": str(pred), "model": self.model_name}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results of an evaluation: what `scores.json` holds, tables between two lines of text, and the page if written."""

    scores: Mapping[str, Any]
    tables: tuple[Table, ...]
    heading: str = ""
    remark: str = ""
    report: Path | None = None


def kinds_of(iou: str) -> tuple[Kind, ...]:
    """The kinds of overlap of "masks", "boxes" or "both". Raises: InputError for another word."""
    if iou not in KINDS:
        raise InputError(f"unknown overlap {iou!r}: choose from {', '.join(KINDS)}")
    return KINDS[iou]


def check_predictor(pred: object | None, model: AskedModel | None, out: Path | None) -> None:
    """Raises: InputError unless there are either predictions, or a model and a folder for what it predicts."""
    if (pred is None) == (model is None):
        raise InputError("an evaluation needs either predictions or a model")
    if model is not None and out is None:
        raise InputError("the evaluation of a model needs a folder for what it predicts")


def check_exist(*paths: Path) -> None:
    """Raises: InputError naming the first path that does not exist."""
    for path in paths:
        if not path.exists():
            raise InputError(f"no such file or folder: {path}")


@contextmanager
def predictions_of(
    asked: AskedModel,
    model: Segmenter,
    requests: Sequence[Request],
    observer: JobObserver,
    *,
    unit: str = "questions",
    assume_present: bool = False,
) -> Iterator[Iterator[PairPrediction]]:
    """Predictions of the model in a stage of the workflow, from the cache where it has them."""
    folders, cache = list(asked.folders), asked.cache_folder
    with stage(observer, len(requests), unit) as advance:
        yield predict_pairs(requests, folders, model, cache, assume_present=assume_present, advance=advance)


def finish(evaluation: Evaluation, page: Callable[[], Report], out: Path | None, observer: JobObserver) -> Evaluation:
    """Writes `scores.json` and the page into the folder; without the packages that draw it there is no page."""
    if out is None:
        return evaluation
    files = RunFiles(out)
    write_atomically(files.scores, json.dumps(evaluation.scores, indent=1) + "\n")
    try:
        report = write_report(page(), files.report)
    except InputError as error:
        observer.warned(f"no report: {error}")
        return evaluation
    return replace(evaluation, report=report)
