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

Sums = Float64[np.ndarray, "*sum"]


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

    def select(self, rows: Int[np.ndarray, " row"] | Bool[np.ndarray, " pair"]) -> "PairScores":
        """The named pairs."""
        return PairScores(**{name: column[rows] for name, column in vars(self).items()})

    @property
    def is_true_negative(self) -> Bool[np.ndarray, " pair"]:
        """Nothing there and nothing predicted."""
        return (self.num_truths == 0) & (self.num_predictions == 0)

    @property
    def is_local(self) -> Bool[np.ndarray, " pair"]:
        """Something there and something predicted: the pairs whose own F1 enters the macro mean."""
        return (self.num_truths > 0) & (self.num_predictions > 0)

    @property
    def local_f1(self) -> Float[np.ndarray, "pair threshold"]:
        """F1 of each pair alone."""
        errors, missed = self.num_predictions[:, None] - self.matches, self.num_truths[:, None] - self.matches
        return _f1(self.matches, errors, missed)


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
    """Sums over pairs. `false_positives` includes those on absent concepts, `positive_false_positives` does not."""

    true_positives: Int[np.ndarray, " threshold"]
    false_positives: Int[np.ndarray, " threshold"]
    positive_false_positives: Int[np.ndarray, " threshold"]
    false_negatives: Int[np.ndarray, " threshold"]
    local_f1_sum: Float[np.ndarray, " threshold"]
    num_local: int
    image_tp: int
    image_fp: int
    image_tn: int
    image_fn: int

    @classmethod
    def of(cls, pairs: PairScores) -> "ConceptCounts":
        """Sums over many pairs."""
        present, predicted, is_local = pairs.num_truths > 0, pairs.num_predictions > 0, pairs.is_local
        errors = pairs.num_predictions[:, None] - pairs.matches
        return cls(
            true_positives=pairs.matches.sum(axis=0),
            false_positives=errors.sum(axis=0),
            positive_false_positives=errors[present].sum(axis=0),
            false_negatives=(pairs.num_truths[:, None] - pairs.matches).sum(axis=0),
            local_f1_sum=pairs.select(is_local).local_f1.sum(axis=0),
            num_local=int(is_local.sum()),
            image_tp=int(is_local.sum()),
            image_fp=int((predicted & ~present).sum()),
            image_tn=int(pairs.is_true_negative.sum()),
            image_fn=int((present & ~predicted).sum()),
        )

    @property
    def il_mcc(self) -> float:
        """Matthews correlation of "is it there" with "was anything predicted", in [-1, 1]; 0 where undefined."""
        sums = np.array([[self.image_tp], [self.image_fp], [self.image_tn], [self.image_fn]], np.float64)
        return float(matthews(*sums)[0])

    @property
    def pmf1(self) -> Float[np.ndarray, " threshold"]:
        """F1 at each IoU threshold from the counts of all pairs whose concept is there."""
        return _f1(self.true_positives, self.positive_false_positives, self.false_negatives)

    def curves(self) -> dict[str, Float[np.ndarray, " threshold"]]:
        """Figures at each IoU threshold, as fractions; -1 where no pair gives a value. `positive_micro_F1` is pmF1."""
        tp, fp, fn = self.true_positives, self.false_positives, self.false_negatives
        return {
            "cgF1": self.pmf1 * self.il_mcc,
            "precision": tp / (tp + fp + COUNT_EPS),
            "recall": tp / (tp + fn + COUNT_EPS),
            "F1": _f1(tp, fp, fn),
            "positive_macro_F1": self.local_f1_sum / self.num_local if self.num_local else np.full(len(tp), -1.0),
            "positive_micro_F1": self.pmf1,
            "positive_micro_precision": tp / (tp + self.positive_false_positives + COUNT_EPS),
        }

    def metrics(self) -> dict[str, float]:
        """Every figure by its published name: a bare name is the mean of its curve, `@0.5` and `@0.75` are points."""
        curves = self.curves()
        result = {name: float(curve.mean()) for name, curve in curves.items()} | self._image_metrics()
        for index, threshold in ((0, "0.5"), (5, "0.75")):
            result |= {f"{name}@{threshold}": float(curve[index]) for name, curve in curves.items()}
        return result

    def _image_metrics(self) -> dict[str, float]:
        precision = self.image_tp / (self.image_tp + self.image_fp + IMAGE_EPS)
        recall = self.image_tp / (self.image_tp + self.image_fn + IMAGE_EPS)
        return {
            "IL_precision": precision,
            "IL_recall": recall,
            "IL_F1": 2 * precision * recall / (precision + recall + IMAGE_EPS),
            "IL_FPR": self.image_fp / (self.image_fp + self.image_tn + IMAGE_EPS),
            "IL_MCC": self.il_mcc,
        }


def total(pairs: Iterable[PairScore]) -> ConceptCounts:
    """Counts of many pairs."""
    return ConceptCounts.of(PairScores.of(list(pairs)))


def matthews(tp: Sums, fp: Sums, tn: Sums, fn: Sums) -> Sums:
    """Correlation of two binary variables, in [-1, 1]; 0 where one of them is constant."""
    return (tp * tn - fp * fn) / (np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) + IMAGE_EPS)


def harmonic(precision: np.ndarray, recall: np.ndarray) -> np.ndarray:
    """F1 of precision and recall of instances."""
    return 2 * precision * recall / (precision + recall + COUNT_EPS)


def _f1(true_positives: np.ndarray, false_positives: np.ndarray, false_negatives: np.ndarray) -> np.ndarray:
    precision = true_positives / (true_positives + false_positives + COUNT_EPS)
    recall = true_positives / (true_positives + false_negatives + COUNT_EPS)
    return harmonic(precision, recall)
