import numpy as np
import pytest

from masklet.eval.ap import AveragePrecision, match_by_score


def test_perfect_ranking_is_one_and_missing_everything_is_zero():
    metric = AveragePrecision()
    metric.add("cat", np.eye(3), np.array([0.9, 0.8, 0.7]))
    metric.add("dog", np.zeros((2, 0)), np.zeros(0))
    assert metric.per_phrase() == {"cat": 1.0, "dog": 0.0}
    assert metric.mean() == 0.5


def test_a_false_alarm_on_an_image_without_the_phrase_lowers_precision():
    metric = AveragePrecision()
    metric.add("cat", np.ones((1, 1)), np.array([0.5]))
    metric.add("cat", np.zeros((0, 1)), np.array([0.9]))
    assert metric.mean() == pytest.approx(0.5)


def test_hand_worked_curve():
    """Hits and misses in order + - + with four truths: precision 1 to recall 1/4, 2/3 to recall 1/2, then nothing."""
    metric = AveragePrecision()
    metric.add("cat", np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]], dtype=float), np.array([0.9, 0.8, 0.7]))
    assert metric.mean() == pytest.approx((26 * 1 + 25 * 2 / 3) / 101)


def test_each_truth_is_taken_once_by_the_better_score():
    assert match_by_score(np.array([[0.6, 0.9]]), 0.5).tolist() == [True, False]
    assert match_by_score(np.array([[0.6, 0.9], [0.8, 0.1]]), 0.5).tolist() == [True, True]


def test_overlap_on_the_threshold_hits():
    assert match_by_score(np.array([[0.5]]), 0.5).tolist() == [True]
    assert match_by_score(np.array([[0.4999]]), 0.5).tolist() == [False]


def test_phrases_without_truths_are_left_out():
    metric = AveragePrecision()
    metric.add("cat", np.zeros((0, 2)), np.array([0.9, 0.1]))
    assert metric.per_phrase() == {}
    assert metric.mean() == -1
