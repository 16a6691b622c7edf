"""Figures as a function of the score threshold, overall and for each phrase, and the calibration of scores.

Pairs are added one at a time; memory grows with the number of phrases and subsets alone. Thresholds below the score at
which a prediction file was cut have no effect. The annotator is the one chosen at the published threshold throughout.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float64

from masklet.eval.analysis.bootstrap import averaged
from masklet.eval.analysis.ranking import match_by_score
from masklet.eval.analysis.reliability import Reliability
from masklet.eval.concepts.cgf1 import IMAGE_COUNTS, IOU_THRESHOLDS, NUM_COLUMNS, PairScore, PairScores
from masklet.eval.concepts.outcomes import PairOutcome, score_outcome

THRESHOLDS = np.round(np.linspace(0.05, 0.95, 19), 2)
PUBLISHED = int(np.flatnonzero(THRESHOLDS == 0.5)[0])
MIN_PRESENT = 5  # images with a concept that a best threshold needs
_CHUNK = 2048


@dataclass(frozen=True)
class PhraseFigures:
    """A phrase over all images it was asked of. F1 is at IoU 0.5 and counts predictions where the concept is absent.

    `errors` are instances missed or predicted wrongly at score 0.5. The best threshold is the one with the greatest F1
    on these very pairs, which is optimistic; it is None with fewer than `MIN_PRESENT` images that show the concept.
    """

    phrase: str
    pairs: int
    present: int
    truths: int
    errors: int
    false_alarms: int
    overlooked: int
    f1: float
    best_threshold: float | None
    best_f1: float | None


@dataclass
class _PhraseCounts:
    """Sums of a phrase: images, instances, and at each threshold the predictions and those matched at IoU 0.5."""

    pairs: int = 0
    present: int = 0
    truths: int = 0
    false_alarms: int = 0
    overlooked: int = 0
    predicted: np.ndarray = field(default_factory=lambda: np.zeros(len(THRESHOLDS), np.int32))
    matched: np.ndarray = field(default_factory=lambda: np.zeros(len(THRESHOLDS), np.int32))


@dataclass
class Sweep:
    """Sums over the pairs added. `presence` is of the presence score, or of the best score where there is none."""

    scores: Reliability = field(default_factory=Reliability)
    presence: Reliability = field(default_factory=Reliability)
    has_presence: bool = False
    _phrases: dict[str, _PhraseCounts] = field(default_factory=dict)
    _steps: dict[str, np.ndarray] = field(default_factory=dict)  # what each threshold adds to the one before
    _waiting: list[tuple[str, int, int, PairScore]] = field(default_factory=list)

    def add(self, outcome: PairOutcome) -> None:
        """Counts a pair."""
        present = len(outcome.iou) > 0
        best = float(outcome.scores.max(initial=0))
        shown = best if outcome.presence is None else outcome.presence
        self.presence.add(np.array([shown]), np.array([present]))
        self.has_presence |= outcome.presence is not None
        if len(outcome.scores):
            self.scores.add(outcome.scores, match_by_score(outcome.iou, IOU_THRESHOLDS[:1])[0])
        counts = self._phrases.setdefault(outcome.phrase, _PhraseCounts())
        counts.pairs += 1
        counts.present += present
        counts.truths += len(outcome.iou)
        predicted = bool((outcome.scores >= THRESHOLDS[PUBLISHED]).any())
        counts.false_alarms += predicted and not present
        counts.overlooked += present and not predicted
        # Runs of thresholds that keep the same predictions
        kept = (outcome.scores[:, None] >= THRESHOLDS).sum(axis=0)
        for start, stop in pairwise([0, *(np.flatnonzero(np.diff(kept)) + 1).tolist(), len(THRESHOLDS)]):
            pair = score_outcome(outcome, THRESHOLDS[start])
            counts.predicted[start:stop] += pair.num_predictions
            counts.matched[start:stop] += int(pair.matches[0])
            self._waiting.append((outcome.subset, start, stop, pair))
        if len(self._waiting) >= _CHUNK:
            self._count()

    def _count(self) -> None:
        rows = PairScores.of([pair for *_, pair in self._waiting]).rows()
        for (subset, start, stop, _), row in zip(self._waiting, rows, strict=True):
            steps = self._steps.setdefault(subset, np.zeros((len(THRESHOLDS) + 1, NUM_COLUMNS)))
            steps[start] += row
            steps[stop] -= row
        self._waiting = []

    def sums(self) -> dict[str, Float64[np.ndarray, "threshold column"]]:
        """Summed count rows of each subset at each threshold."""
        self._count()
        return {subset: np.cumsum(steps, axis=0)[:-1] for subset, steps in self._steps.items()}

    def curves(self) -> dict[str, Float64[np.ndarray, " threshold"]]:
        """Every figure at each threshold, as the unweighted mean of the subsets."""
        return averaged(self.sums())

    def confusion(self) -> dict[str, tuple[int, int, int, int]]:
        """Pairs of each subset at score 0.5 by concept and prediction: both, prediction only, neither, concept only."""
        found = {subset: sums[PUBLISHED, IMAGE_COUNTS].round().astype(int) for subset, sums in self.sums().items()}
        return {subset: (int(row[0]), int(row[1]), int(row[2]), int(row[3])) for subset, row in found.items()}

    def phrases(self) -> list[PhraseFigures]:
        """All phrases, those with most errors first."""
        found = [_phrase_figures(phrase, counts) for phrase, counts in self._phrases.items()]
        return sorted(found, key=lambda figures: (-figures.errors, figures.f1, figures.phrase))


def best_threshold(values: Float[np.ndarray, " threshold"]) -> int:
    """Where a curve over `THRESHOLDS` is highest; of equals the one nearest to 0.5, the lower of two."""
    top = np.flatnonzero(values >= values.max() - 1e-12)
    return int(top[np.argmin(np.abs(top - PUBLISHED))])


def _phrase_figures(phrase: str, counts: _PhraseCounts) -> PhraseFigures:
    f1 = 2 * counts.matched / np.maximum(1, counts.predicted + counts.truths)
    best = best_threshold(f1) if counts.present >= MIN_PRESENT else None
    matched = int(counts.matched[PUBLISHED])
    return PhraseFigures(
        phrase=phrase,
        pairs=counts.pairs,
        present=counts.present,
        truths=counts.truths,
        errors=counts.truths + int(counts.predicted[PUBLISHED]) - 2 * matched,
        false_alarms=counts.false_alarms,
        overlooked=counts.overlooked,
        f1=float(f1[PUBLISHED]),
        best_threshold=None if best is None else float(THRESHOLDS[best]),
        best_f1=None if best is None else float(f1[best]),
    )
