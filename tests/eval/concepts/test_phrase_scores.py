"""Figures over all phrases and of each, worked out by hand."""

import numpy as np
import pytest

from masklet.eval.analysis.phrase_scores import phrase_scores
from masklet.eval.concepts.outcomes import PairOutcome


def outcome(phrase: str, iou: list[list[float]], scores: list[float]) -> PairOutcome:
    truths, found = len(iou), len(scores)
    return PairOutcome(
        pair_id=0,
        phrase=phrase,
        image="a.png",
        subset="validation",
        height=10,
        width=10,
        scores=np.array(scores, np.float64),
        iou=np.array(iou, np.float64).reshape(truths, found),
        truth_areas=np.ones(truths, np.int64),
        predicted_areas=np.ones(found, np.int64),
        truth_boxes_xyxy=np.zeros((truths, 4)),
        predicted_boxes_xyxy=np.zeros((found, 4)),
    )


def test_figures_of_all_and_of_each_phrase() -> None:
    outcomes = [
        outcome("cup", [[1.0]], [0.9]),  # found
        outcome("cup", [], []),  # rightly not found
        outcome("dog", [[1.0], [0.0]], [0.8]),  # one of two
        outcome("dog", [], [0.7]),  # made up
        outcome("cat", [[1.0]], [0.3]),  # there, but below the threshold
    ]
    metrics, phrases = phrase_scores(outcomes)
    rows = {row["phrase"]: row for row in phrases}
    assert list(rows) == ["cat", "cup", "dog"]
    # images: two found rightly, one made up, one rightly left, one missed; instances: 2 right, none wrong, 2 missed
    mcc = (2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2)
    assert metrics["IL_MCC"] == pytest.approx(mcc, abs=1e-4)
    assert metrics["pmF1"] == pytest.approx(2 / 3, abs=1e-3)
    assert metrics["cgF1"] == pytest.approx(mcc * 2 / 3, abs=1e-3)
    assert metrics["macro_F1"] == pytest.approx((1 + 2 / 3) / 2, abs=1e-3)
    assert metrics["IL_FPR"] == pytest.approx(0.5, abs=1e-4)
    assert (rows["cup"]["positives"], rows["cup"]["negatives"]) == (1, 1)
    assert rows["cup"]["IL_MCC"] == pytest.approx(1.0, abs=1e-4)
    assert rows["cup"]["cgF1"] == pytest.approx(1.0, abs=1e-3)
    assert rows["dog"]["IL_MCC"] == 0  # always predicted
    assert rows["dog"]["pmF1"] == pytest.approx(2 / 3, abs=1e-3)
    assert rows["cat"]["IL_MCC"] is None  # there is no picture without
    assert rows["cat"]["pmF1"] == 0


def test_where_nothing_was_found_there_is_no_mean_over_what_was() -> None:
    assert phrase_scores([outcome("cup", [], [])])[0]["macro_F1"] is None
