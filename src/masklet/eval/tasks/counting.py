"""How many are there? Counting benchmarks such as CountBench and PixMo-Count: mean error, and share exactly right.

The number found is that of predictions that score above one half, after one of two that lie in each other is dropped.
Their scores are meant to be without presence: that something is there is given, and presence only costs accuracy.

Source: SAM 3 paper, object counting (MAE and accuracy; overlap over the smaller mask, above one half).
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool, Float, Int64
from pydantic import Field
from typing_extensions import TypedDict

from masklet.errors import InputError
from masklet.formats.records import check
from masklet.formats.saco import PredictionRecord
from masklet.formats.stream import iterate_items
from masklet.ops.runs import DamagedMask, RunTable, pair_intersections

LEAST_SCORE = 0.5
MOST_INSIDE = 0.5  # of the smaller of two masks


class CountRecord(TypedDict):
    """A question of a counting benchmark."""

    id: int
    file_name: str
    text_input: str
    count: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, kw_only=True)
class CountTally:
    """Sums over questions."""

    questions: int = 0
    absolute_error: int = 0
    exact: int = 0

    @classmethod
    def of(cls, true: Int64[np.ndarray, " question"], found: Int64[np.ndarray, " question"]) -> "CountTally":
        """Sums of some questions."""
        error = np.abs(true - found)
        return cls(questions=len(true), absolute_error=int(error.sum()), exact=int((error == 0).sum()))

    def __add__(self, other: "CountTally") -> "CountTally":
        return CountTally(**{name: value + getattr(other, name) for name, value in vars(self).items()})

    def metrics(self) -> dict[str, float]:
        """Mean absolute error, and the share of questions answered exactly."""
        questions = max(1, self.questions)
        return {"MAE": self.absolute_error / questions, "accuracy": self.exact / questions}


def count_instances(masks: RunTable, scores: Float[np.ndarray, " mask"]) -> int:
    """How many of the predictions of one question are counted."""
    return int(keep_apart(masks, scores)[scores > LEAST_SCORE].sum())


def keep_apart(masks: RunTable, scores: Float[np.ndarray, " mask"]) -> Bool[np.ndarray, " mask"]:
    """Which masks stay when each goes that shares too much, of the smaller area, with a surer one that stays."""
    count = len(masks)
    rows, columns = (each.ravel() for each in np.mgrid[:count, :count])
    shared = pair_intersections(masks, rows, masks, columns).reshape(count, count)
    smaller = np.minimum(masks.areas[:, None], masks.areas[None, :])
    clash = shared > MOST_INSIDE * smaller
    kept = np.zeros(count, dtype=bool)
    for row in np.argsort(-scores, kind="stable"):
        kept[row] = not clash[row, kept].any()
    return kept


def read_questions(path: Path) -> dict[int, dict[str, Any]]:
    """Questions by their number: a list of `id`, `file_name`, `text_input` and `count`. Raises: InputError."""
    questions: dict[int, dict[str, Any]] = {}
    for _, value, _ in iterate_items(path):
        record = check(CountRecord, value, path, "question")
        if questions.setdefault(record["id"], record) is not record:
            raise InputError(f"{path}: question {record['id']}: id: stands there twice")
    return questions


def score_counts(questions: dict[int, dict[str, Any]], predictions: Path) -> tuple[CountTally, dict[int, int]]:
    """Sums over all questions, and the number found for each, from a file of predictions whose `image_id` is theirs.

    Raises: InputError naming file, record and field.
    """
    asked: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for _, value, _ in iterate_items(predictions):
        record = check(PredictionRecord, value, predictions, "prediction")
        if record["image_id"] not in questions:
            raise InputError(f"{predictions}: a prediction: image_id: there is no question {record['image_id']}")
        if record["score"] > LEAST_SCORE:
            asked[record["image_id"]].append(record)
    found = {key: _count(asked[key], predictions) for key in questions}
    true = np.array([record["count"] for record in questions.values()], np.int64)
    return CountTally.of(true, np.array(list(found.values()), np.int64)), found


def _count(records: Iterable[dict[str, Any]], path: Path) -> int:
    kept = list(records)
    for record in kept:
        if not record.get("segmentation"):
            raise InputError(f"{path}: a prediction of image {record['image_id']}: segmentation: is missing")
    sizes = np.array([record["segmentation"]["size"] for record in kept], np.int64).reshape(-1, 2)
    try:
        masks = RunTable.of([record["segmentation"]["counts"] for record in kept], sizes[:, 0], sizes[:, 1])
    except DamagedMask as error:
        name = f"a prediction of image {kept[error.row]['image_id']}"
        raise InputError(f"{path}: {name}: segmentation.counts: {error.reason}") from error
    if len(np.unique(sizes, axis=0)) > 1:
        raise InputError(f"{path}: predictions of image {kept[0]['image_id']}: segmentation.size: differ")
    return count_instances(masks, np.array([record["score"] for record in kept], np.float64))
