"""The counts of a pair as one row of numbers, so that sums over pairs, weights and thresholds are sums of arrays.

A row holds what `ConceptCounts` holds, and `figures` reads the same figures off any number of summed rows at once.
"""

import numpy as np
from jaxtyping import Float64

from masklet.eval.concepts.cgf1 import (
    COUNT_EPS,
    IOU_THRESHOLDS,
    SCORE_THRESHOLD,
    PairScore,
    PairScores,
    harmonic,
    matthews,
    score_overlaps,
)
from masklet.eval.concepts.outcomes import PairOutcome

_NUM_THRESHOLDS = len(IOU_THRESHOLDS)
IMAGE_TP, IMAGE_FP, IMAGE_TN, IMAGE_FN = 0, 1, 2, 3
_TRUTHS, _PREDICTED_PRESENT, _PREDICTED_ABSENT = 4, 5, 6  # instances; the last two by whether their concept is there
_MATCHES = slice(7, 7 + _NUM_THRESHOLDS)
_LOCAL_F1 = slice(7 + _NUM_THRESHOLDS, 7 + 2 * _NUM_THRESHOLDS)
NUM_COLUMNS = _LOCAL_F1.stop

_NOTHING = PairScore(num_truths=0, num_predictions=0, matches=np.zeros(_NUM_THRESHOLDS, np.int64))


def score_outcome(outcome: PairOutcome, threshold: float | np.floating = SCORE_THRESHOLD) -> PairScore:
    """The pair as the metric counts it when predictions of at least that score are kept."""
    kept = outcome.scores >= threshold
    num_truths, num_predictions = len(outcome.iou), int(kept.sum())
    if num_truths and num_predictions:
        return score_overlaps(outcome.iou[:, kept])
    if not num_truths and not num_predictions:
        return _NOTHING  # most pairs are this
    return PairScore(num_truths=num_truths, num_predictions=num_predictions, matches=_NOTHING.matches)


def count_rows(pairs: PairScores) -> Float64[np.ndarray, "pair column"]:
    """A row for each pair."""
    rows = np.zeros((len(pairs.num_truths), NUM_COLUMNS))
    present, predicted = pairs.num_truths > 0, pairs.num_predictions > 0
    rows[:, IMAGE_TP], rows[:, IMAGE_FP] = present & predicted, ~present & predicted
    rows[:, IMAGE_TN], rows[:, IMAGE_FN] = ~present & ~predicted, present & ~predicted
    rows[:, _TRUTHS] = pairs.num_truths
    rows[:, _PREDICTED_PRESENT] = pairs.num_predictions * present
    rows[:, _PREDICTED_ABSENT] = pairs.num_predictions * ~present
    rows[:, _MATCHES] = pairs.matches
    rows[:, _LOCAL_F1] = pairs.local_f1 * pairs.is_local[:, None]
    return rows


def figures(sums: Float64[np.ndarray, "row column"]) -> dict[str, Float64[np.ndarray, " row"]]:
    """Figures of summed rows by their names in `ConceptCounts.metrics`, as fractions; NaN where that says -1."""
    truths, present = sums[..., [_TRUTHS]], sums[..., [_PREDICTED_PRESENT]]
    matches, predicted = sums[..., _MATCHES], present + sums[..., [_PREDICTED_ABSENT]]
    recall = matches / (truths + COUNT_EPS)
    precision = matches / (predicted + COUNT_EPS)
    positive_precision = matches / (present + COUNT_EPS)
    pmf1 = harmonic(positive_precision, recall)
    num_local = sums[..., IMAGE_TP]
    macro = np.divide(
        sums[..., _LOCAL_F1].mean(-1), num_local, out=np.full(num_local.shape, np.nan), where=num_local > 0
    )
    mcc = matthews(*(sums[..., column] for column in (IMAGE_TP, IMAGE_FP, IMAGE_TN, IMAGE_FN)))
    return {
        "cgF1": pmf1.mean(-1) * mcc,
        "IL_MCC": mcc,
        "positive_micro_F1": pmf1.mean(-1),
        "positive_macro_F1": macro,
        "precision": precision.mean(-1),
        "recall": recall.mean(-1),
    }
