"""Kinds of errors of a pair, their number and cost, and the worst pairs of each kind.

Every prediction at score 0.5 or more gets one label, and so does every labelled instance. A concept that is absent or
not predicted at all has one kind each; otherwise labels are given in the order of `judge`. The cost of a kind is the
gain of cgF1 if exactly its errors were corrected, as in Bolya et al., TIDE.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float64, Int64

from masklet.eval.analysis.bootstrap import averaged
from masklet.eval.concepts.cgf1 import IOU_THRESHOLDS, NUM_COLUMNS, SCORE_THRESHOLD, PairScore, PairScores, assign
from masklet.eval.concepts.outcomes import PairOutcome

RIGHT = "right"
ABSENT, OVERLOOKED, MISSED, FALSE = "absent", "overlooked", "missed", "false"
DUPLICATE, MERGED, SPLIT, LOOSE = "duplicate", "merged", "split", "loose"
MEANINGS = {
    ABSENT: "predicted although the image does not show the concept",
    OVERLOOKED: "the image shows the concept and nothing was predicted",
    MISSED: "an instance without a prediction, others of the concept were predicted",
    FALSE: "a prediction on no instance, in an image that has some",
    DUPLICATE: "a further prediction on an instance that another one already has",
    MERGED: "one prediction over half or more of two or more instances",
    SPLIT: "an instance in pieces: two or more predictions that lie at least half inside it, none that matches",
    LOOSE: "the right instance with a poor outline: IoU below 0.75",
}
_FOUND, _GOOD, _TOUCH, _HALF = 0.5, 0.75, 0.1, 0.5
_OF_PREDICTIONS = (ABSENT, FALSE, DUPLICATE)  # counted in predictions; the others in instances


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The labels of a pair. `kept` are the judged predictions; `hits` says whether the match of each truth counts."""

    kept: Int64[np.ndarray, " prediction"]
    truths: tuple[str, ...]
    predictions: tuple[str, ...]
    hits: Bool[np.ndarray, "truth threshold"]

    def counts(self) -> Counter[str]:
        """The number of errors of each kind that occurs."""
        truths = Counter(label for label in self.truths if label != RIGHT)
        return truths + Counter(label for label in self.predictions if label in _OF_PREDICTIONS)

    def score(self) -> PairScore:
        """The counts as they are."""
        return PairScore(
            num_truths=len(self.truths), num_predictions=len(self.predictions), matches=self.hits.sum(axis=0)
        )

    def mended(self, kind: str) -> PairScore:
        """The counts without the errors of one kind: wrong predictions removed, their instances found exactly."""
        wrong = np.array([label == kind for label in self.truths], bool)
        num_wrong, num_removed = int(wrong.sum()), sum(label == kind for label in self.predictions)
        return PairScore(
            num_truths=len(self.truths),
            num_predictions=len(self.predictions) - num_removed + num_wrong,
            matches=self.hits[~wrong].sum(axis=0) + num_wrong,
        )


def judge(outcome: PairOutcome) -> Verdict:
    """Labels of all instances and predictions, by the assignment that the metric makes.

    The first that fits: right (IoU 0.75 or more with its instance), merged, loose (matched at 0.5), split, loose (it
    touches its instance: IoU 0.1, or half of the prediction inside), duplicate (touches any), false; what is left of
    the instances is missed. An instance keeps the better label: it is merged only if no other prediction matches it.
    """
    kept = np.flatnonzero(outcome.scores >= SCORE_THRESHOLD)
    iou = outcome.iou[:, kept]
    num_truths, num_predictions = iou.shape
    hits = np.zeros((num_truths, len(IOU_THRESHOLDS)), bool)
    if not num_truths or not num_predictions:
        nothing_right = (OVERLOOKED,) * num_truths, (ABSENT,) * num_predictions
        return Verdict(kept=kept, truths=nothing_right[0], predictions=nothing_right[1], hits=hits)
    covers, inside = _coverage(iou, outcome.truth_areas, outcome.predicted_areas[kept])
    touches = (iou >= _TOUCH) | (inside >= _HALF)
    rows, columns = assign(iou)
    own = iou[rows, columns]
    hits[rows] = own[:, None] >= IOU_THRESHOLDS
    truths, predictions = np.full(num_truths, MISSED, object), np.full(num_predictions, FALSE, object)
    predictions[touches.any(axis=0)] = DUPLICATE

    good = own >= _GOOD
    truths[rows[good]] = predictions[columns[good]] = RIGHT
    merged = (predictions != RIGHT) & ((covers >= _HALF).sum(axis=0) >= 2)
    predictions[merged] = MERGED
    matched = (own >= _FOUND) & ~good & ~merged[columns]
    truths[rows[matched]] = predictions[columns[matched]] = LOOSE
    truths[(truths == MISSED) & (covers[:, merged] >= _HALF).any(axis=1)] = MERGED
    free = np.isin(predictions, (DUPLICATE, FALSE))
    pieces = (truths == MISSED)[:, None] & free & (inside >= _HALF)
    pieces &= pieces.sum(axis=1, keepdims=True) >= 2
    truths[pieces.any(axis=1)] = SPLIT
    predictions[pieces.any(axis=0)] = SPLIT
    left = (truths[rows] == MISSED) & np.isin(predictions[columns], (DUPLICATE, FALSE)) & touches[rows, columns]
    truths[rows[left]] = predictions[columns[left]] = LOOSE
    return Verdict(kept=kept, truths=tuple(truths), predictions=tuple(predictions), hits=hits)


def _coverage(iou: np.ndarray, truth_areas: np.ndarray, predicted_areas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The share of each instance that a prediction covers, and of each prediction that lies in an instance."""
    truth, predicted = truth_areas[:, None].astype(float), predicted_areas[None].astype(float)
    shared = np.minimum(iou * (truth + predicted) / (1 + iou), np.minimum(truth, predicted))
    return shared / np.maximum(1, truth), shared / np.maximum(1, predicted)


@dataclass(frozen=True)
class Kept:
    """A pair kept as an example, with its severity."""

    outcome: PairOutcome
    verdict: Verdict
    severity: float


@dataclass
class Worst:
    """The severest pair of each of the `keep` worst phrases, so that one hard phrase does not fill the page."""

    keep: int
    _by_phrase: dict[str, Kept] = field(default_factory=dict)

    def add(self, kept: Kept) -> None:
        """Keeps a pair if it is among the worst; of equal ones the first is kept."""
        phrase, found = kept.outcome.phrase, self._by_phrase
        if phrase in found and found[phrase].severity >= kept.severity:
            return
        found[phrase] = kept
        if len(found) > self.keep:
            del found[min(reversed(found), key=lambda name: found[name].severity)]

    def sorted(self) -> list[Kept]:
        """The severest first."""
        return sorted(self._by_phrase.values(), key=lambda kept: -kept.severity)


@dataclass
class Mistakes:
    """Sums of the pairs added so far, and for each kind the `keep` phrases with the worst pair, with that pair."""

    keep: int = 12
    counts: dict[str, Counter[str]] = field(default_factory=dict)  # of each kind, by subset
    pairs: Counter[str] = field(default_factory=Counter)  # that have an error of the kind
    phrases: dict[str, Counter[str]] = field(default_factory=dict)
    _gains: dict[str, np.ndarray] = field(default_factory=dict)
    _worst: dict[str, Worst] = field(default_factory=dict)

    def add(self, outcome: PairOutcome) -> None:
        """Judges a pair."""
        verdict = judge(outcome)
        counts = verdict.counts()
        if not counts:
            return
        self.counts.setdefault(outcome.subset, Counter()).update(counts)
        self.phrases.setdefault(outcome.phrase, Counter()).update(counts)
        self.pairs.update(counts.keys())
        kinds = list(counts)
        rows = PairScores.of([verdict.score(), *(verdict.mended(kind) for kind in kinds)]).rows()
        gains = self._gains.setdefault(outcome.subset, np.zeros((len(MEANINGS), NUM_COLUMNS)))
        for kind, row in zip(kinds, rows[1:], strict=True):
            gains[_INDEX[kind]] += row - rows[0]
            worst = self._worst.setdefault(kind, Worst(self.keep))
            worst.add(Kept(outcome, verdict, severity(outcome, verdict, kind)))

    def total(self) -> Counter[str]:
        """How often each kind occurs in all subsets."""
        return sum(self.counts.values(), Counter())

    def worst(self, kind: str) -> list[Kept]:
        """The worst first."""
        return self._worst[kind].sorted() if kind in self._worst else []

    def gains(self, sums: dict[str, Float64[np.ndarray, " column"]]) -> dict[str, dict[str, float]]:
        """The gain of each figure without the errors of each kind, given the summed count rows of every subset."""
        none = np.zeros((len(MEANINGS), NUM_COLUMNS))
        before = averaged({subset: row[None] for subset, row in sums.items()})
        after = averaged({subset: row + self._gains.get(subset, none) for subset, row in sums.items()})
        return {
            kind: {name: float(after[name][index] - before[name][0]) for name in before}
            for kind, index in _INDEX.items()
        }


_INDEX = {kind: index for index, kind in enumerate(MEANINGS)}


def severity(outcome: PairOutcome, verdict: Verdict, kind: str) -> float:
    """The severity of errors of a kind: scores of wrong predictions, or sides of instances relative to the image."""
    if kind in _OF_PREDICTIONS:
        values, labels = outcome.scores[verdict.kept], verdict.predictions
    else:
        values, labels = np.sqrt(outcome.truth_areas / max(1, outcome.height * outcome.width)), verdict.truths
    return float(values[[label == kind for label in labels]].sum())
