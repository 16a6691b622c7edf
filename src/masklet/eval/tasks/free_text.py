"""Average precision over free-form descriptions, as OmniLabel counts it.

Each description of an image is matched by itself, best score first, as in COCO; results of all descriptions of a group
are then put in one order, as a description is rarely asked twice. A description that means nothing on its image can
only add false finds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float

from masklet.ops.boxes import box_iou_table

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
MOST_FINDS = 100  # of one description of an image
SHORT, MEDIUM = 3, 8  # words, at most
TINY = 1e-5  # keeps the harmonic mean of two zeros finite, as in the published tool


@dataclass(frozen=True, kw_only=True)
class DescribedPair:
    """A description of an image: boxes xyxy in pixels that it means, and those that were found, with their scores."""

    text: str
    is_category: bool
    boxes: Float[np.ndarray, "object 4"]
    found: Float[np.ndarray, "find 4"]
    scores: Float[np.ndarray, " find"]

    def matched(self) -> tuple[Float[np.ndarray, " find"], Bool[np.ndarray, "threshold find"]]:
        """Scores, best first, and whether each find is right at each threshold: the best box that is still free."""
        order = np.argsort(-self.scores, kind="stable")[:MOST_FINDS]
        found, boxes = torch.from_numpy(self.found[order]), torch.from_numpy(self.boxes)
        iou = box_iou_table(found, boxes).numpy()
        right = np.zeros((len(THRESHOLDS), len(order)), dtype=bool)
        for row, threshold in enumerate(THRESHOLDS):
            free = np.ones(len(self.boxes), dtype=bool)
            for find in range(len(order)):
                open_to = np.where(free, iou[find], -1.0)
                best = int(np.argmax(open_to)) if len(open_to) else -1
                if best >= 0 and open_to[best] >= threshold - 1e-10:
                    free[best], right[row, find] = False, True
        return self.scores[order], right


def average_precision(pairs: Sequence[DescribedPair]) -> float:
    """The mean over thresholds of the precision at 101 recalls; nan where nothing is meant."""
    total = sum(len(pair.boxes) for pair in pairs)
    if not total:
        return float("nan")
    matches = [pair.matched() for pair in pairs]
    order = np.argsort(-np.concatenate([scores for scores, _ in matches]), kind="stable")
    right = np.concatenate([each for _, each in matches], axis=1)[:, order]
    hits = np.cumsum(right, axis=1)
    precision = hits / np.arange(1, right.shape[1] + 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    values = [
        np.append(envelope[row], 0.0)[np.searchsorted(hits[row] / total, RECALLS - 1e-12, side="left")]
        for row in range(len(THRESHOLDS))
    ]
    return float(np.mean(values))


def described_metrics(pairs: Sequence[DescribedPair]) -> Mapping[str, float]:
    """AP of categories and of descriptions, their harmonic mean, and parts of the descriptions, each in [0, 1]."""
    described = [pair for pair in pairs if not pair.is_category]
    lengths = [len(pair.text.split()) for pair in described]

    def long_between(low: int, high: float | int) -> list[DescribedPair]:
        return [pair for pair, length in zip(described, lengths, strict=True) if low <= length <= high]

    categories = average_precision([pair for pair in pairs if pair.is_category])
    descriptions = average_precision(described)
    return {
        "AP": 2 * categories * descriptions / (categories + descriptions + TINY),
        "AP categ": categories,
        "AP descr": descriptions,
        "AP descr-pos": average_precision([pair for pair in described if len(pair.boxes)]),
        "AP descr-S": average_precision(long_between(0, SHORT)),
        "AP descr-M": average_precision(long_between(SHORT + 1, MEDIUM)),
        "AP descr-L": average_precision(long_between(MEDIUM + 1, np.inf)),
    }
