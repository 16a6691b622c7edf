"""Bands of probability keep the promised share of wrong answers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.engine.verify.bands import Bands, fit_bands, wilson


def test_bounds_of_a_share_are_those_of_the_books() -> None:
    assert wilson(0, 200)[1] == pytest.approx(0.0188, abs=1e-3)
    assert wilson(4, 200)[1] == pytest.approx(0.0503, abs=1e-3)
    assert wilson(0, 0) == (0.0, 1.0)


@given(hits=st.integers(0, 300), more=st.integers(0, 300))
def test_a_share_lies_within_its_bounds(hits: int, more: int) -> None:
    low, high = wilson(hits, hits + more)
    assert 0 <= low <= high <= 1
    if hits + more:
        assert low <= hits / (hits + more) <= high


def test_bands_of_well_ordered_answers_keep_the_bound_on_new_ones() -> None:
    rng = np.random.default_rng(0)

    def draw(count: int) -> tuple[np.ndarray, np.ndarray]:
        probabilities = rng.random(count)
        return probabilities, rng.random(count) < probabilities

    bands = fit_bands(*(values.tolist() for values in draw(20_000)), most_false=0.1)
    probabilities, truths = draw(20_000)
    assert (~truths[probabilities >= bands.accept]).mean() < 0.11
    assert truths[probabilities <= bands.reject].mean() < 0.11
    assert 0.7 < bands.accept < 0.95  # and are not empty


def test_where_nothing_keeps_the_bound_everything_goes_to_people() -> None:
    bands = fit_bands([0.9, 0.8, 0.2], [True, False, True], most_false=0.01)
    assert bands == Bands(accept=math.inf, reject=-math.inf)
    assert [bands.side(value) for value in (0.0, 0.5, 1.0)] == [None] * 3
