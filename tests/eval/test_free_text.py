"""OmniLabel's average precision, with figures worked out by hand."""

import numpy as np
import pytest

from masklet.eval.tasks.free_text import DescribedPair, average_precision, described_metrics

HERE, THERE = (0, 0, 10, 10), (50, 50, 60, 60)


def pair(text, boxes, found, *, is_category=False):
    return DescribedPair(
        text=text,
        is_category=is_category,
        boxes=np.array(boxes, float).reshape(-1, 4),
        found=np.array([box for box, _ in found], float).reshape(-1, 4),
        scores=np.array([score for _, score in found], float),
    )


def test_a_perfect_answer_and_none_at_all() -> None:
    assert average_precision([pair("a cup", [HERE], [(HERE, 0.9)])]) == pytest.approx(1)
    assert average_precision([pair("a cup", [HERE], [])]) == 0
    assert np.isnan(average_precision([pair("a cup", [], [(HERE, 0.9)])]))


def test_a_surer_find_of_what_means_nothing_halves_the_precision() -> None:
    right, wrong = pair("a cup", [HERE], [(HERE, 0.5)]), pair("a dog", [], [(THERE, 0.9)])
    assert average_precision([right, wrong]) == pytest.approx(0.5)  # at every recall the wrong one comes first
    later = pair("a dog", [], [(THERE, 0.4)])
    assert average_precision([right, later]) == pytest.approx(1)


def test_thresholds_doubles_and_half_of_what_is_meant() -> None:
    # IoU of 80 / 120 = 0.667 passes 0.5, 0.55, 0.6 and 0.65: four of ten thresholds
    assert average_precision([pair("a", [HERE], [((2, 0, 12, 10), 0.9)])]) == pytest.approx(0.4)
    # One of two objects: precision 1 up to a recall of one half, which is 51 of 101 places
    assert average_precision([pair("a", [HERE, THERE], [(HERE, 0.9)])]) == pytest.approx(51 / 101)
    # A double of the first, then the second: 51 places at 1, 50 at 2 / 3
    doubled = pair("a", [HERE, THERE], [(HERE, 0.9), (HERE, 0.8), (THERE, 0.7)])
    assert average_precision([doubled]) == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_groups_and_their_harmonic_mean() -> None:
    pairs = [
        pair("cup", [HERE], [(HERE, 0.9)], is_category=True),
        pair("the red cup", [HERE, THERE], [(HERE, 0.9)]),
        pair("the cup on the table", [], [(HERE, 0.1)]),
        pair("the cup that stands on the table near the window", [HERE], [(HERE, 0.8)]),
    ]
    found = described_metrics(pairs)
    assert found["AP categ"] == pytest.approx(1)
    assert found["AP descr-S"] == pytest.approx(51 / 101)
    assert np.isnan(found["AP descr-M"])
    assert found["AP descr-L"] == pytest.approx(1)
    # Two of three objects before the false find: 67 of 101 recalls (0, 0.01, ..., 0.66)
    assert found["AP descr"] == pytest.approx(67 / 101)
    assert found["AP descr-pos"] == pytest.approx(67 / 101)
    assert found["AP"] == pytest.approx(2 * 67 / 101 / (1 + 67 / 101), abs=1e-5)
