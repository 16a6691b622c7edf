"""Scoring pairs of an image and a phrase in bulk: the labels of one or several annotators against predictions.

Instances of many pairs lie in columns, sorted by pair; overlaps of all of them are computed at once, and only pairs
with something on both sides are looked at one by one, to be assigned. Masks stay run-lengths throughout.

Source: SAM 3 paper, evaluation protocol; crowds, ties and thresholds as in the released evaluator.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int64

from masklet.eval.concepts.cgf1 import IOU_THRESHOLDS, SCORE_THRESHOLD, PairScores, assign, kindest_annotator
from masklet.ops.runs import RunTable, pair_iou

Kind = Literal["segm", "bbox"]


@dataclass(frozen=True, kw_only=True, eq=False)
class InstanceColumns:
    """Labels or predictions of many pairs, in the order of the pairs.

    Predictions of a pair that score below `SCORE_THRESHOLD` come last; otherwise the order of the file is kept, which
    settles ties. Boxes are xywh in a unit common to both sides; `masks` is None where only boxes are at hand, and
    `texts` are their run-length counts as they were read.
    """

    pair: Int64[np.ndarray, " instance"]
    boxes_xywh: Float[np.ndarray, "instance 4"]
    masks: RunTable | None
    scores: Float[np.ndarray, " instance"]
    texts: tuple[str, ...] = ()

    def counts(self, num_pairs: int) -> Int64[np.ndarray, " pair"]:
        """How many instances each pair has."""
        return np.bincount(self.pair, minlength=num_pairs)


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlaps:
    """IoU of every truth with every prediction of its pair; those of pair `i` begin at `offsets[i]`, row by row."""

    iou: Float[np.ndarray, " overlap"]
    offsets: Int64[np.ndarray, " offset"]
    num_truths: Int64[np.ndarray, " pair"]
    num_predictions: Int64[np.ndarray, " pair"]

    def of_pair(self, pair: int) -> Float[np.ndarray, "truth prediction"]:
        """The table of one pair."""
        table = self.iou[self.offsets[pair] : self.offsets[pair + 1]]
        return table.reshape(self.num_truths[pair], self.num_predictions[pair])


@dataclass(frozen=True, kw_only=True, eq=False)
class Matching:
    """The assignment: rows of truths and predictions, their pair and their IoU."""

    pair: Int64[np.ndarray, " match"]
    truth: Int64[np.ndarray, " match"]
    prediction: Int64[np.ndarray, " match"]
    iou: Float[np.ndarray, " match"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Judged:
    """Pairs scored against one annotator."""

    truths: InstanceColumns
    overlaps: Overlaps
    matching: Matching
    scores: PairScores


def overlaps_of(truths: InstanceColumns, predictions: InstanceColumns, num_pairs: int, kind: Kind) -> Overlaps:
    """All overlaps within pairs, by masks or by boxes."""
    num_truths, num_predictions = truths.counts(num_pairs), predictions.counts(num_pairs)
    num = num_truths * num_predictions
    offsets = np.concatenate([[0], np.cumsum(num)])
    place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], num)
    across = np.repeat(num_predictions, num)
    truth = np.repeat(np.cumsum(num_truths) - num_truths, num) + place // np.maximum(across, 1)
    prediction = np.repeat(np.cumsum(num_predictions) - num_predictions, num) + place % np.maximum(across, 1)
    if kind == "segm":
        if truths.masks is None or predictions.masks is None:
            raise ValueError("masks are asked for, but one side has none")
        iou = pair_iou(truths.masks, truth, predictions.masks, prediction)
    else:
        iou = _box_iou(truths.boxes_xywh[truth], predictions.boxes_xywh[prediction])
    return Overlaps(iou=iou, offsets=offsets, num_truths=num_truths, num_predictions=num_predictions)


def _box_iou(a: Float[np.ndarray, "pair 4"], b: Float[np.ndarray, "pair 4"]) -> Float[np.ndarray, " pair"]:
    """IoU of boxes row by row. Areas come from the sides as they are written, which is how COCO rounds."""
    low = np.maximum(a[:, :2], b[:, :2])
    sides = np.minimum(a[:, :2] + a[:, 2:], b[:, :2] + b[:, 2:]) - low
    common = np.where((sides > 0).all(axis=1), sides[:, 0] * sides[:, 1], 0.0)
    union = a[:, 2] * a[:, 3] + b[:, 2] * b[:, 3] - common
    return np.divide(common, union, out=np.zeros_like(common), where=common > 0)


def judge(truths: InstanceColumns, predictions: InstanceColumns, num_pairs: int, kind: Kind) -> Judged:
    """Every pair against one annotator; predictions below `SCORE_THRESHOLD` are in the overlaps only."""
    overlaps = overlaps_of(truths, predictions, num_pairs, kind)
    kept = np.bincount(predictions.pair[predictions.scores >= SCORE_THRESHOLD], minlength=num_pairs)
    matching = _match(overlaps, kept)
    hits = [np.bincount(matching.pair[matching.iou >= each], minlength=num_pairs) for each in IOU_THRESHOLDS]
    scores = PairScores(num_truths=overlaps.num_truths, num_predictions=kept, matches=np.stack(hits, axis=1))
    return Judged(truths=truths, overlaps=overlaps, matching=matching, scores=scores)


def _match(overlaps: Overlaps, kept: Int64[np.ndarray, " pair"]) -> Matching:
    """Assigns pair by pair; the predictions of a pair that are kept stand before the others."""
    first_truth = np.cumsum(overlaps.num_truths) - overlaps.num_truths
    first_prediction = np.cumsum(overlaps.num_predictions) - overlaps.num_predictions
    pairs, truths, predictions, values = [], [], [], []
    for pair in np.flatnonzero((overlaps.num_truths > 0) & (kept > 0)).tolist():
        iou = overlaps.of_pair(pair)[:, : kept[pair]]
        rows, columns = assign(iou)
        pairs.append(np.full(len(rows), pair))
        truths.append(first_truth[pair] + rows)
        predictions.append(first_prediction[pair] + columns)
        values.append(iou[rows, columns])
    return Matching(
        pair=_join(pairs, np.int64),
        truth=_join(truths, np.int64),
        prediction=_join(predictions, np.int64),
        iou=_join(values, np.float64),
    )


def _join(parts: list[np.ndarray], dtype: type) -> np.ndarray:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)


def judge_all(
    annotators: Sequence[InstanceColumns], predictions: InstanceColumns, num_pairs: int, kind: Kind
) -> tuple[list[Judged], Int64[np.ndarray, " pair"], PairScores]:
    """Scores against every annotator, the annotator chosen for each pair, and the scores against that one."""
    judged = [judge(truths, predictions, num_pairs, kind) for truths in annotators]
    chosen = kindest_annotator([each.scores for each in judged])
    rows = np.arange(num_pairs)
    scores = PairScores(
        num_truths=np.stack([each.scores.num_truths for each in judged])[chosen, rows],
        num_predictions=judged[0].scores.num_predictions,
        matches=np.stack([each.scores.matches for each in judged])[chosen, rows],
    )
    return judged, chosen, scores
