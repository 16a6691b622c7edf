"""How many are there? Counting benchmarks such as CountBench and PixMo-Count: mean error, and share exactly right.

The number found is that of predictions that score above one half, after one of two that lie in each other is dropped.
Their scores are meant to be without presence: that something is there is given, and presence only costs accuracy.

Source: SAM 3 paper, object counting (MAE and accuracy; overlap over the smaller mask, above one half).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int64

from masklet.errors import InputError
from masklet.eval.sums import Summable
from masklet.formats.benchmarks import CountQuestion
from masklet.formats.records import Id, read_list
from masklet.formats.saco import SacoPrediction
from masklet.ops.counts import DamagedMask
from masklet.ops.runs import RunTable, pair_intersections

LEAST_SCORE = 0.5
MOST_INSIDE = 0.5  # of the smaller of two masks


@dataclass(frozen=True, kw_only=True)
class CountTally(Summable):
    """Sums over questions."""

    questions: int = 0
    absolute_error: int = 0
    exact: int = 0

    @classmethod
    def of(cls, true: Int64[np.ndarray, " question"], found: Int64[np.ndarray, " question"]) -> "CountTally":
        """Sums of some questions."""
        error = np.abs(true - found)
        return cls(questions=len(true), absolute_error=int(error.sum()), exact=int((error == 0).sum()))

    def metrics(self) -> dict[str, float]:
        """Mean absolute error, and the share of questions counted exactly."""
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


def score_counts(questions: Mapping[Id, CountQuestion], predictions: Path) -> tuple[CountTally, dict[Id, int]]:
    """Sums over all questions, and the number found for each, from a file of predictions whose `image_id` is theirs.

    Raises: InputError naming file, record and field.
    """
    asked: dict[Id, list[SacoPrediction]] = defaultdict(list)
    for record in read_list(predictions, SacoPrediction, "prediction"):
        if record.image_id not in questions:
            raise InputError(f"{predictions}: a prediction: image_id: there is no question {record.image_id}")
        if record.score > LEAST_SCORE:
            asked[record.image_id].append(record)
    found = {key: _count(asked[key], predictions) for key in questions}
    true = np.array([question.count for question in questions.values()], np.int64)
    return CountTally.of(true, np.array(list(found.values()), np.int64)), found


def _count(records: Sequence[SacoPrediction], path: Path) -> int:
    masks = [record.segmentation for record in records if record.segmentation is not None]
    if len(masks) < len(records):
        raise InputError(f"{path}: a prediction of image {records[0].image_id}: segmentation: is missing")
    sizes = np.array([mask.size for mask in masks], np.int64).reshape(-1, 2)
    try:
        table = RunTable.of([mask.counts for mask in masks], sizes[:, 0], sizes[:, 1])
    except DamagedMask as error:
        name = f"a prediction of image {records[error.row].image_id}"
        raise InputError(f"{path}: {name}: segmentation.counts: {error.reason}") from error
    if len(np.unique(sizes, axis=0)) > 1:
        raise InputError(f"{path}: predictions of image {records[0].image_id}: segmentation.size: differ")
    return count_instances(table, np.array([record.score for record in records], np.float64))
