"""Reliability and intervals of shares against hand-worked cases and the textbook."""

import numpy as np
import pytest

from masklet.eval.analysis.reliability import Reliability, wilson


def test_reliability_by_hand() -> None:
    found = Reliability()
    found.add(np.array([0.95, 0.97, 1.0, 0.0]), np.array([True, True, False, False]))
    assert found.counts.tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 3]
    assert found.accuracy[9] == pytest.approx(2 / 3)
    assert np.isnan(found.accuracy[4])
    low, high = found.interval
    assert (low[9], high[9]) == pytest.approx((0.2077, 0.9385), abs=1e-4)  # 2 of 3
    assert (low[4], high[4]) == (0, 1)
    assert found.error == pytest.approx(3 / 4 * abs(2 / 3 - (0.95 + 0.97 + 1) / 3))
    assert np.isnan(Reliability().error)


def test_calibration_error_by_hand() -> None:
    found = Reliability()
    found.add(np.array([0.95, 0.95, 0.05, 1.0]), np.array([True, False, False, True]))
    assert found.error == pytest.approx((0.9 + 0.05) / 4)


def test_wilson_equals_the_textbook() -> None:
    low, high = wilson(np.array([1, 0, 0, 20]), np.array([10, 0, 20, 20]))
    assert (low[0], high[0]) == pytest.approx((0.0178762, 0.4041500), abs=1e-6)
    assert (low[1], high[1]) == (0, 1)
    assert low[2] == 0
    assert high[3] == 1
