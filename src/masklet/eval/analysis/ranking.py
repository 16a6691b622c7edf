"""Average precision of ranked predictions, without a score threshold.

Matching and interpolation follow COCO: in order of score, a prediction takes the free object that it overlaps most, the
last of equal ones; precision is made monotone and read at 101 recalls.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64

RECALLS = np.linspace(0, 1, 101)
MAX_PREDICTIONS = 100  # of one phrase in one video, best first


def best_first(scores: Float64[np.ndarray, " prediction"]) -> Int64[np.ndarray, " best"]:
    """Places of the best `MAX_PREDICTIONS` by falling score; equal ones stay in order."""
    return np.argsort(-scores, kind="stable")[:MAX_PREDICTIONS]


def match_by_score(
    iou: Float64[np.ndarray, "truth prediction"], thresholds: Float64[np.ndarray, " threshold"]
) -> Bool[np.ndarray, "threshold prediction"]:
    """Which predictions hit at each threshold, given their overlaps best first; each object is taken once."""
    num_truths, num_predictions = iou.shape
    hits = np.zeros((len(thresholds), num_predictions), bool)
    if not num_truths:
        return hits
    free = np.ones((len(thresholds), num_truths), bool)
    rows = np.arange(len(thresholds))
    for place in range(num_predictions):
        overlaps = np.where(free, iou[:, place], -1.0)
        chosen = num_truths - 1 - overlaps[:, ::-1].argmax(axis=1)
        hits[:, place] = overlaps[rows, chosen] >= thresholds
        free[rows, chosen] &= ~hits[:, place]
    return hits


def average_precision(
    scores: Float64[np.ndarray, " prediction"], hits: Bool[np.ndarray, "threshold prediction"], num_truths: int
) -> Float64[np.ndarray, " threshold"]:
    """Area under the monotone precision-recall curve at each threshold; there must be an object to find."""
    hits = hits[:, np.argsort(-scores, kind="stable")]
    found = np.cumsum(hits, axis=1)
    precision = found / np.arange(1, hits.shape[1] + 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.pad(envelope, ((0, 0), (0, 1)))  # beyond the last recall, precision is 0
    return np.array(
        [row[np.searchsorted(recall, RECALLS)].mean() for row, recall in zip(padded, found / num_truths, strict=True)]
    )
