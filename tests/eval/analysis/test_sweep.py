"""The sweep against scoring anew at each threshold, phrases against hand-worked cases."""

from collections.abc import Sequence

import numpy as np
import pytest

from masklet.eval.analysis.sweep import PUBLISHED, THRESHOLDS, Sweep, best_threshold
from masklet.eval.concepts.cgf1 import score_overlaps, total
from masklet.eval.concepts.outcomes import PairOutcome


def pair(
    iou: Sequence[Sequence[float]] | np.ndarray,
    scores: Sequence[float],
    *,
    phrase: str = "cat",
    subset: str = "one",
    presence: float | None = None,
) -> PairOutcome:
    table = np.array(iou, np.float64).reshape(-1, len(scores)) if len(scores) else np.zeros((len(iou), 0))
    return PairOutcome(
        pair_id=0,
        phrase=phrase,
        image="a.jpg",
        subset=subset,
        height=10,
        width=10,
        scores=np.array(scores, np.float64),
        iou=table,
        truth_areas=np.full(len(table), 9),
        predicted_areas=np.full(len(scores), 9),
        truth_boxes_xyxy=np.zeros((len(table), 4)),
        predicted_boxes_xyxy=np.zeros((len(scores), 4)),
        presence=presence,
    )


def sweep(pairs: Sequence[PairOutcome]) -> Sweep:
    found = Sweep()
    for outcome in pairs:
        found.add(outcome)
    return found


@pytest.fixture(scope="module")
def population() -> list[PairOutcome]:
    rng = np.random.default_rng(0)
    pairs = []
    for index in range(120):
        num_truths, num_predictions = int(rng.integers(0, 4)) * (index % 3 == 0), int(rng.integers(0, 5))
        scores = np.round(np.sort(rng.uniform(0, 1, num_predictions))[::-1], 1)  # many lie on a threshold
        iou = rng.uniform(0, 1, (num_truths, num_predictions)) ** 0.5
        pairs.append(pair(iou, scores.tolist(), phrase=f"phrase {index % 5}", subset=("one", "two")[index % 2]))
    return pairs


def test_curves_are_the_figures_of_what_each_threshold_keeps(population: list[PairOutcome]) -> None:
    curves = sweep(population).curves()
    for index, threshold in enumerate(THRESHOLDS):
        parts = []
        for subset in ("one", "two"):
            chosen = [pair for pair in population if pair.subset == subset]
            parts.append(total(score_overlaps(p.iou[:, p.scores >= threshold]) for p in chosen).metrics())
        for name in ("cgF1", "IL_MCC", "positive_micro_F1", "precision", "recall"):
            assert curves[name][index] == pytest.approx(np.mean([part[name] for part in parts]), abs=1e-9)


def test_thresholds_are_the_numbers_scores_are_rounded_to() -> None:
    assert THRESHOLDS.tolist() == [float(f"{percent / 100:.2f}") for percent in range(5, 100, 5)]
    assert THRESHOLDS[PUBLISHED] == 0.5


def test_confusion_counts_pairs() -> None:
    pairs = [pair([[0.1]], [0.5]), pair([[0.9]], [0.49]), pair([], [0.7]), pair([], []), pair([], [0.2])]
    assert sweep(pairs).confusion() == {"one": (1, 1, 2, 1)}


def test_a_phrase_by_hand() -> None:
    pairs = [
        pair([[0.9]], [0.2]),  # found below 0.5 only
        pair([[0.9, 0.1]], [0.9, 0.3]),  # the second is wrong
        pair([[0.9]], [0.8]),
        pair([[0.9]], [0.8]),
        pair([[0.6]], [0.8]),
        pair([], [0.6]),  # false alarm
        pair([[0.2]], [0.9], phrase="dog"),
    ]
    dog, cat = sorted(sweep(pairs).phrases(), key=lambda found: found.pairs)
    assert (cat.pairs, cat.present, cat.truths) == (6, 5, 5)
    assert (cat.errors, cat.false_alarms, cat.overlooked) == (2, 1, 1)
    assert cat.f1 == pytest.approx(2 * 4 / (5 + 5))
    assert cat.best_threshold == 0.65  # the false alarm is gone: 4 of 5 found, nothing wrong
    assert cat.best_f1 == pytest.approx(2 * 4 / (4 + 5))
    assert (dog.errors, dog.f1, dog.best_threshold, dog.best_f1) == (2, 0.0, None, None)
    assert [found.phrase for found in sweep(pairs).phrases()] == ["dog", "cat"]


def test_of_equal_thresholds_the_one_nearest_to_the_published_is_best() -> None:
    flat = np.full(19, 0.3)
    assert best_threshold(flat) == PUBLISHED
    flat[[2, 7, 18]] = 0.4
    assert best_threshold(flat) == 7


def test_presence_is_judged_by_its_own_score_where_there_is_one() -> None:
    own = sweep([pair([[0.9]], [0.3], presence=0.95), pair([], [0.8], presence=0.05)])
    assert own.has_presence
    assert own.presence.hits.tolist() == [0] * 9 + [1]
    assert own.presence.counts.tolist() == [1] + [0] * 8 + [1]
    best = sweep([pair([[0.9]], [0.35]), pair([], [])])
    assert not best.has_presence
    assert best.presence.counts.tolist() == [1, 0, 0, 1, 0, 0, 0, 0, 0, 0]
