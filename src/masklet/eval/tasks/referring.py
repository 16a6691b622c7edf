"""Sentences that mean regions: one mask each, compared with one mask of all that the sentence means.

gIoU is the mean of IoUs, cIoU the sum of intersections over the sum of unions, which large regions rule. ReasonSeg adds
1 where both are empty (LISA's evaluation); gRefCOCO likewise, and counts how often nothing is rightly found (N-acc) and
something that is there is not refused (T-acc).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment

from masklet.ops.masks import mask_iou

RESAMPLES = 1000
LEVEL = 0.95
HIT = 0.5


@dataclass(frozen=True, kw_only=True)
class RegionScore:
    """Pixels of one sentence."""

    shared: int
    union: int
    has_target: bool
    has_answer: bool

    @classmethod
    def of(
        cls,
        target: Bool[np.ndarray, "height width"],
        answer: Bool[np.ndarray, "height width"],
        ignored: Bool[np.ndarray, "height width"],
    ) -> "RegionScore":
        """Ignored pixels leave both sets."""
        target, answer = target & ~ignored, answer & ~ignored
        return cls(
            shared=int((target & answer).sum()),
            union=int((target | answer).sum()),
            has_target=bool(target.any()),
            has_answer=bool(answer.any()),
        )

    @property
    def iou(self) -> float:
        """1 where there is nothing and nothing was found."""
        return self.shared / self.union if self.union else 1.0


def region_metrics(scores: Sequence[RegionScore]) -> Mapping[str, float]:
    """gIoU, cIoU, hits at an IoU of one half, N-acc and T-acc, each in [0, 1]; nan where there is nothing to count."""
    union = sum(score.union for score in scores)
    absent = [score for score in scores if not score.has_target]
    present = [score for score in scores if score.has_target]
    return {
        "gIoU": _mean([score.iou for score in scores]),
        "cIoU": sum(score.shared for score in scores) / union if union else float("nan"),
        "P@0.5": _mean([float(score.iou > HIT) for score in scores]),
        "N-acc": _mean([float(not score.has_answer) for score in absent]),
        "T-acc": _mean([float(score.has_answer) for score in present]),
    }


def is_exact_set(found: Bool[np.ndarray, "find height width"], meant: Bool[np.ndarray, "object height width"]) -> bool:
    """Whether the masks are those that are meant, no more and no fewer: pairs with an IoU above one half."""
    if len(found) != len(meant):
        return False
    overlaps = mask_iou(found, meant)
    rows, columns = linear_sum_assignment(-overlaps)
    return bool((overlaps[rows, columns] > HIT).all())


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def paired_difference(
    one: Float[np.ndarray, " sentence"], other: Float[np.ndarray, " sentence"], seed: int = 0
) -> tuple[float, float, float]:
    """The mean of `one - other` over the same sentences, and its interval of 95 % by a paired bootstrap."""
    differences = one - other
    rng = np.random.default_rng(seed)
    means = differences[rng.integers(0, len(differences), (RESAMPLES, len(differences)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(differences.mean()), float(low), float(high)
