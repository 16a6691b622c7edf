"""Sums of an evaluation of concepts over buckets and processes: by kind of overlap, size and number.

Object size is that of COCO (pixels of the mask, or of the box where there is none); a missed instance counts with its
own size, a false one with the predicted. The number of instances is that of the pair; both look at present concepts
only, because an absent one has neither.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Int64

from masklet.eval.concepts.buckets import Notes, PairBatch
from masklet.eval.concepts.cgf1 import COUNT_EPS, IMAGE_COUNTS, IOU_THRESHOLDS, SCORE_THRESHOLD, ConceptCounts, harmonic
from masklet.eval.concepts.pairs import InstanceColumns, Judged, Kind, judge_all
from masklet.eval.sums import Summable

SIZES = ("small", "medium", "large")
SIZE_LIMITS = (32**2, 96**2)  # pixels; what reaches a limit is of the greater size
NUMBERS = ("1", "2-5", "6-20", "over 20")
NUMBER_LIMITS = (2, 6, 21)


@dataclass(frozen=True, kw_only=True)
class InstanceCounts(Summable):
    """Instances found, false and missed at each IoU threshold, of a part of the instances (rows of the arrays)."""

    true_positives: Int64[np.ndarray, "part threshold"]
    false_positives: Int64[np.ndarray, "part threshold"]
    false_negatives: Int64[np.ndarray, "part threshold"]

    def metrics(self, names: Sequence[str]) -> dict[str, dict[str, float | int]]:
        """F1, precision and recall of each part, averaged over the thresholds, F1 at one half, and its instances."""
        tp, fp, fn = self.true_positives, self.false_positives, self.false_negatives
        precision, recall = tp / (tp + fp + COUNT_EPS), tp / (tp + fn + COUNT_EPS)
        f1 = harmonic(precision, recall)
        return {
            name: {
                "F1": float(f1[row].mean()),
                "F1@0.5": float(f1[row, 0]),
                "precision": float(precision[row].mean()),
                "recall": float(recall[row].mean()),
                "instances": int(tp[row, 0] + fn[row, 0]),
            }
            for row, name in enumerate(names)
        }


@dataclass(frozen=True, kw_only=True)
class KindTally(Summable):
    """All sums of one kind of overlap."""

    counts: ConceptCounts
    sizes: InstanceCounts
    numbers: InstanceCounts
    count_errors: int = 0
    counted_exactly: int = 0

    @property
    def num_pairs(self) -> int:
        """Pairs summed."""
        return int(self.counts.sums[IMAGE_COUNTS].sum())

    def metrics(self) -> dict[str, float]:
        """The published figures, and how well instances are counted: mean absolute error and share counted exactly."""
        pairs = max(1, self.num_pairs)
        counting = {"count_MAE": self.count_errors / pairs, "count_accuracy": self.counted_exactly / pairs}
        return self.counts.metrics() | counting

    def strata(self) -> dict[str, dict[str, Any]]:
        """Figures by size of objects and by number of instances."""
        return {"object size": self.sizes.metrics(SIZES), "instances": self.numbers.metrics(NUMBERS)}


@dataclass(frozen=True, kw_only=True)
class ConceptTally:
    """Sums of one subset, for each kind of overlap."""

    kinds: dict[Kind, KindTally]
    notes: Notes = field(default_factory=Notes)

    def __add__(self, other: "ConceptTally") -> "ConceptTally":
        kinds: dict[Kind, KindTally] = {kind: tally + other.kinds[kind] for kind, tally in self.kinds.items()}
        return ConceptTally(kinds=kinds, notes=self.notes + other.notes)


def tally_batch(batch: PairBatch, kinds: Sequence[Kind]) -> tuple[ConceptTally, dict[Kind, list[Judged]], np.ndarray]:
    """Sums of a bucket, the scores of each kind against each annotator, and the annotators chosen by the first kind."""
    tallies: dict[Kind, KindTally] = {}
    details: dict[Kind, list[Judged]] = {}
    annotators = []
    for kind in kinds:
        judged, chosen, scores = judge_all(batch.annotators, batch.predictions, len(batch.records), kind)
        errors = np.abs(scores.num_predictions - scores.num_truths)
        areas = _Areas(batch, kind)
        tallies[kind] = KindTally(
            counts=ConceptCounts.of(scores),
            sizes=_by_part(judged, chosen, batch.predictions, areas, by_number=False),
            numbers=_by_part(judged, chosen, batch.predictions, areas, by_number=True),
            count_errors=int(errors.sum()),
            counted_exactly=int((errors == 0).sum()),
        )
        details[kind] = judged
        annotators.append(chosen)
    return ConceptTally(kinds=tallies, notes=batch.notes), details, annotators[0]


class _Areas:
    """Areas in pixels, of masks where they count and of boxes elsewhere."""

    def __init__(self, batch: PairBatch, kind: Kind) -> None:
        self.pixels = np.array([record.height * record.width for record in batch.records], np.int64)
        self.kind = kind

    def of(self, instances: InstanceColumns) -> np.ndarray:
        if self.kind == "segm" and instances.masks is not None:
            return instances.masks.areas
        return (instances.boxes_xywh[:, 2] * instances.boxes_xywh[:, 3] * self.pixels[instances.pair]).astype(np.int64)


def _by_part(
    judged: Sequence[Judged], chosen: np.ndarray, predictions: InstanceColumns, areas: _Areas, *, by_number: bool
) -> InstanceCounts:
    """Instances of present concepts by their size, or by how many the pair has."""
    num_parts = len(NUMBERS) if by_number else len(SIZES)
    found, labelled, claimed = (np.zeros((num_parts, len(IOU_THRESHOLDS)), np.int64) for _ in range(3))
    for annotator, each in enumerate(judged):
        own = (chosen == annotator) & (each.scores.num_truths > 0)
        if by_number:
            part_of_pair = np.searchsorted(NUMBER_LIMITS, each.scores.num_truths, side="right")
            truth_part, predicted_part = part_of_pair[each.truths.pair], part_of_pair[predictions.pair]
        else:
            truth_part = np.searchsorted(SIZE_LIMITS, areas.of(each.truths), side="right")
            predicted_part = np.searchsorted(SIZE_LIMITS, areas.of(predictions), side="right")
        labelled += np.bincount(truth_part[own[each.truths.pair]], minlength=num_parts)[:, None]
        counted = (predictions.scores >= SCORE_THRESHOLD) & own[predictions.pair]
        matching = each.matching
        for index, threshold in enumerate(IOU_THRESHOLDS):
            hit = (matching.iou >= threshold) & own[matching.pair]
            found[:, index] += np.bincount(truth_part[matching.truth[hit]], minlength=num_parts)
            false = counted.copy()
            false[matching.prediction[hit]] = False
            claimed[:, index] += np.bincount(predicted_part[false], minlength=num_parts)
    return InstanceCounts(true_positives=found, false_positives=claimed, false_negatives=labelled - found)
