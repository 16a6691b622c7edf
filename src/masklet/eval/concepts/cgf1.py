"""cgF1 and its parts: is the concept in the image at all (IL_MCC), and are its instances found where it is (pmF1).

One (image, phrase) pair is scored at a time from the overlaps of true and predicted instances; pairs become counts,
counts add up over images and processes, and figures are computed from the sums. A caller leaves out pairs that are not
labelled exhaustively, and crowd regions (a prediction on one is an error).

Source: SAM 3 paper, evaluation protocol; small constants and ties as in the released evaluator.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int
from scipy.optimize import linear_sum_assignment

from masklet.eval.sums import Summable

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
SCORE_THRESHOLD = 0.5
COUNT_EPS = 1e-4  # keeps a ratio of instance counts finite; a perfect dataset scores 0.99995
IMAGE_EPS = 1e-6

# Columns of the sums: pairs by what is there and what is predicted; instances; matches and own F1 at each threshold
IMAGE_COUNTS = slice(0, 4)
IMAGE_TP, IMAGE_FP, IMAGE_TN, IMAGE_FN = range(4)
TRUTHS, PREDICTED_PRESENT, PREDICTED_ABSENT = 4, 5, 6  # the last two by whether their concept is there
MATCHES = slice(7, 7 + len(IOU_THRESHOLDS))
LOCAL_F1 = slice(MATCHES.stop, MATCHES.stop + len(IOU_THRESHOLDS))
NUM_COLUMNS = LOCAL_F1.stop


@dataclass(frozen=True, kw_only=True)
class PairScore:
    """One image and phrase against one annotator: instances there, instances predicted, matches at each threshold."""

    num_truths: int
    num_predictions: int
    matches: Int[np.ndarray, " threshold"]


@dataclass(frozen=True, kw_only=True)
class PairScores:
    """The same of many pairs, as columns."""

    num_truths: Int[np.ndarray, " pair"]
    num_predictions: Int[np.ndarray, " pair"]
    matches: Int[np.ndarray, "pair threshold"]

    @classmethod
    def of(cls, pairs: Sequence[PairScore]) -> "PairScores":
        """Columns of single scores."""
        return cls(
            num_truths=np.array([pair.num_truths for pair in pairs], np.int64),
            num_predictions=np.array([pair.num_predictions for pair in pairs], np.int64),
            matches=np.array([pair.matches for pair in pairs], np.int64).reshape(-1, len(IOU_THRESHOLDS)),
        )

    @property
    def is_true_negative(self) -> Bool[np.ndarray, " pair"]:
        """Nothing there and nothing predicted."""
        return (self.num_truths == 0) & (self.num_predictions == 0)

    @property
    def local_f1(self) -> Float[np.ndarray, "pair threshold"]:
        """F1 of each pair alone."""
        precision = self.matches / (self.num_predictions[:, None] + COUNT_EPS)
        return harmonic(precision, self.matches / (self.num_truths[:, None] + COUNT_EPS))

    def rows(self) -> Float64[np.ndarray, "pair column"]:
        """What each pair adds to the sums of `ConceptCounts`."""
        rows = np.zeros((len(self.num_truths), NUM_COLUMNS))
        present, predicted = self.num_truths > 0, self.num_predictions > 0
        rows[:, IMAGE_TP], rows[:, IMAGE_FP] = present & predicted, ~present & predicted
        rows[:, IMAGE_TN], rows[:, IMAGE_FN] = ~present & ~predicted, present & ~predicted
        rows[:, TRUTHS] = self.num_truths
        rows[:, PREDICTED_PRESENT] = self.num_predictions * present
        rows[:, PREDICTED_ABSENT] = self.num_predictions * ~present
        rows[:, MATCHES] = self.matches
        rows[:, LOCAL_F1] = self.local_f1 * (present & predicted)[:, None]
        return rows


def assign(iou: Float[np.ndarray, "truth prediction"]) -> tuple[Int[np.ndarray, " match"], Int[np.ndarray, " match"]]:
    """Truth and prediction of each pair in the assignment with the greatest total IoU, which may be 0 for some."""
    return linear_sum_assignment(iou, maximize=True)


def score_overlaps(
    iou: Float[np.ndarray, "truth prediction"], scores: Float[np.ndarray, " prediction"] | None = None
) -> PairScore:
    """Matches of the assignment with the greatest total IoU, made once for all thresholds and blind to scores.

    `scores` only leave out predictions below `SCORE_THRESHOLD`; None keeps them all.
    """
    if scores is not None:
        iou = iou[:, scores >= SCORE_THRESHOLD]
    matched = iou[assign(iou)]
    matches = (matched[:, None] >= IOU_THRESHOLDS).sum(axis=0)
    return PairScore(num_truths=iou.shape[0], num_predictions=iou.shape[1], matches=matches)


def kindest_annotator(annotators: Sequence[PairScores]) -> Int[np.ndarray, " pair"]:
    """Which annotator's score of each pair is taken; ties keep the earlier one.

    A true negative beats everything; otherwise the greater mean F1 does.
    """
    chosen = np.zeros(len(annotators[0].num_truths), np.int64)
    settled = annotators[0].is_true_negative
    best = annotators[0].local_f1.mean(axis=1)
    for index, other in enumerate(annotators[1:], start=1):
        f1 = other.local_f1.mean(axis=1)
        kinder = ~settled & (other.is_true_negative | (f1 > best))
        chosen[kinder] = index
        best = np.where(kinder, f1, best)
        settled = settled | other.is_true_negative
    return chosen


@dataclass(frozen=True, kw_only=True)
class ConceptCounts(Summable):
    """Sums over pairs as a row of numbers, or many such rows at once: replicates, thresholds. Rows may be weighted."""

    sums: Float64[np.ndarray, "*row column"]

    @classmethod
    def of(cls, pairs: PairScores) -> "ConceptCounts":
        """Sums over many pairs."""
        return cls(sums=pairs.rows().sum(axis=0))

    @property
    def num_positive(self) -> Float64[np.ndarray, "*row"]:
        """Pairs whose concept is there."""
        return np.asarray(self.sums[..., IMAGE_TP] + self.sums[..., IMAGE_FN])

    @property
    def il_mcc(self) -> Float64[np.ndarray, "*row"]:
        """Matthews correlation of "is it there" with "was anything predicted", in [-1, 1]; 0 where undefined."""
        tp, fp, tn, fn = np.moveaxis(self.sums[..., IMAGE_COUNTS], -1, 0)
        spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
        return np.asarray((tp * tn - fp * fn) / (spread + IMAGE_EPS))

    @property
    def pmf1(self) -> Float64[np.ndarray, "*row threshold"]:
        """F1 at each IoU threshold from the counts of all pairs whose concept is there."""
        matches, truths = self.sums[..., MATCHES], self.sums[..., [TRUTHS]]
        return harmonic(matches / (self.sums[..., [PREDICTED_PRESENT]] + COUNT_EPS), matches / (truths + COUNT_EPS))

    def curves(self, nothing: float = -1.0) -> dict[str, Float64[np.ndarray, "*row threshold"]]:
        """Figures at each IoU threshold, as fractions, or `nothing` without pairs; `positive_micro_F1` is pmF1."""
        matches, local = self.sums[..., MATCHES], self.sums[..., LOCAL_F1]
        truths, present, absent = (self.sums[..., [each]] for each in (TRUTHS, PREDICTED_PRESENT, PREDICTED_ABSENT))
        precision, recall = matches / (present + absent + COUNT_EPS), matches / (truths + COUNT_EPS)
        num_local = self.sums[..., [IMAGE_TP]]  # something is there, and something predicted
        return {
            "cgF1": self.pmf1 * self.il_mcc[..., None],
            "precision": precision,
            "recall": recall,
            "F1": harmonic(precision, recall),
            "positive_macro_F1": np.divide(local, num_local, out=np.full(local.shape, nothing), where=num_local > 0),
            "positive_micro_F1": self.pmf1,
            "positive_micro_precision": matches / (present + COUNT_EPS),
        }

    def figures(self) -> dict[str, Float64[np.ndarray, "*row"]]:
        """The main figures of each row by their names in `metrics`; NaN where that says -1."""
        curves = self.curves(nothing=np.nan)
        names = ("cgF1", "positive_micro_F1", "positive_macro_F1", "precision", "recall")
        return {"IL_MCC": self.il_mcc, **{name: np.asarray(curves[name].mean(axis=-1)) for name in names}}

    def metrics(self) -> dict[str, float]:
        """Every figure by its published name: a bare name is the mean of its curve, `@0.5` and `@0.75` are points."""
        curves = self.curves()
        result = {name: float(curve.mean()) for name, curve in curves.items()} | self._image_metrics()
        for index, threshold in ((0, "0.5"), (5, "0.75")):
            result |= {f"{name}@{threshold}": float(curve[index]) for name, curve in curves.items()}
        return result

    def _image_metrics(self) -> dict[str, float]:
        tp, fp, tn, fn = self.sums[IMAGE_COUNTS].tolist()
        precision, recall = tp / (tp + fp + IMAGE_EPS), tp / (tp + fn + IMAGE_EPS)
        return {
            "IL_precision": precision,
            "IL_recall": recall,
            "IL_F1": 2 * precision * recall / (precision + recall + IMAGE_EPS),
            "IL_FPR": fp / (fp + tn + IMAGE_EPS),
            "IL_MCC": float(self.il_mcc),
        }


def total(pairs: Iterable[PairScore]) -> ConceptCounts:
    """Counts of many pairs."""
    return ConceptCounts.of(PairScores.of(list(pairs)))


def harmonic(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """F1 of precision and recall of instances."""
    return 2 * precision * recall / (precision + recall + COUNT_EPS)
