"""Average precision at one IoU threshold, phrase by phrase: the whole ranking counts, so it needs no score threshold.

Matching and interpolation follow COCO: within an image, the best-scored prediction takes the unmatched truth it
overlaps most; precision is made monotone and read at 101 recalls; the mean is over phrases that have truths.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

RECALLS = np.linspace(0, 1, 101)
MAX_PREDICTIONS = 100  # of one phrase in one image, best first


@dataclass
class AveragePrecision:
    """Collects pairs of image and phrase; absent phrases belong in it too, as their false alarms lower precision."""

    iou_threshold: float = 0.5
    _scores: dict[str, list[np.ndarray]] = field(default_factory=dict)
    _hits: dict[str, list[np.ndarray]] = field(default_factory=dict)
    _num_truths: dict[str, int] = field(default_factory=dict)

    def add(
        self,
        phrase: str,
        iou: Float[np.ndarray, "truth prediction"],
        scores: Float[np.ndarray, " prediction"],
    ) -> None:
        """One phrase on one image, from the overlaps of its truths and predictions."""
        order = np.argsort(-scores, kind="stable")[:MAX_PREDICTIONS]
        self._scores.setdefault(phrase, []).append(scores[order])
        self._hits.setdefault(phrase, []).append(match_by_score(iou[:, order], self.iou_threshold))
        self._num_truths[phrase] = self._num_truths.get(phrase, 0) + len(iou)

    def per_phrase(self) -> dict[str, float]:
        """AP of each phrase that has a truth somewhere."""
        return {
            phrase: interpolated_precision(
                np.concatenate(self._scores[phrase]), np.concatenate(self._hits[phrase]), num_truths
            )
            for phrase, num_truths in self._num_truths.items()
            if num_truths
        }

    def mean(self) -> float:
        """Mean over phrases; -1 when there is no truth at all."""
        values = list(self.per_phrase().values())
        return float(np.mean(values)) if values else -1.0


def match_by_score(iou: Float[np.ndarray, "truth prediction"], iou_threshold: float) -> np.ndarray:
    """Which predictions hit, given their overlaps in order of falling score; each truth is taken once."""
    hits = np.zeros(iou.shape[1], dtype=bool)
    free = np.ones(iou.shape[0], dtype=bool)
    for index in range(iou.shape[1]):
        overlaps = np.where(free, iou[:, index], -1.0)
        if overlaps.size and overlaps.max() >= iou_threshold:
            hits[index] = True
            free[overlaps.argmax()] = False
    return hits


def interpolated_precision(scores: np.ndarray, hits: np.ndarray, num_truths: int) -> float:
    """Area under the monotone precision-recall curve, sampled at 101 recalls."""
    order = np.argsort(-scores, kind="stable")
    true_positives = np.cumsum(hits[order])
    precision = true_positives / np.arange(1, len(order) + 1)
    recall = true_positives / num_truths
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(recall, RECALLS, side="left")].mean())
