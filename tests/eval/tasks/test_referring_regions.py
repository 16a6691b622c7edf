"""Figures of sentences by hand."""

import math

import numpy as np
import pytest

from masklet.eval.tasks.referring import RegionScore, paired_difference, region_metrics


def area(count: int, start: int = 0) -> np.ndarray:
    mask = np.zeros(100, bool)
    mask[start : start + count] = True
    return mask.reshape(10, 10)


NOTHING = area(0)


def test_figures_by_hand() -> None:
    scores = [
        RegionScore.of(area(50), area(40), NOTHING),  # IoU 0.8
        RegionScore.of(area(10), area(10, 5), NOTHING),  # 5 of 15
        RegionScore.of(NOTHING, NOTHING, NOTHING),  # rightly nothing
        RegionScore.of(NOTHING, area(20), NOTHING),  # something that is not there
        RegionScore.of(area(30), NOTHING, NOTHING),  # overlooked
    ]
    found = region_metrics(scores)
    assert found["gIoU"] == pytest.approx((0.8 + 1 / 3 + 1) / 5)
    assert found["cIoU"] == pytest.approx(45 / (50 + 15 + 20 + 30))
    assert found["P@0.5"] == pytest.approx(2 / 5)
    assert found["N-acc"] == pytest.approx(0.5)
    assert found["T-acc"] == pytest.approx(2 / 3)


def test_ignored_pixels_leave_both_sets() -> None:
    score = RegionScore.of(area(20), area(40), area(20, 20))
    assert (score.shared, score.union) == (20, 20)


def test_without_sentences_there_is_no_figure() -> None:
    assert all(math.isnan(value) for value in region_metrics([]).values())


def test_a_paired_difference_is_surer_than_its_parts() -> None:
    rng = np.random.default_rng(0)
    base = rng.random(400)
    mean, low, high = paired_difference(base + 0.05 + 0.01 * rng.standard_normal(400), base)
    assert mean == pytest.approx(0.05, abs=0.003)
    assert 0.045 < low < mean < high < 0.055
