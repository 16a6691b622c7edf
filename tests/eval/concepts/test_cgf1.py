"""cgF1 and its parts from the counts of pairs; the files of the golden cases are read in test_concept_run.py."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masklet.eval.concepts.cgf1 import PairScores, kindest_annotator, score_overlaps, total

pairs = hnp.arrays(np.float64, st.tuples(st.integers(0, 4), st.integers(0, 4)), elements=st.floats(0, 1)).map(
    score_overlaps
)


@given(st.lists(pairs, max_size=8), st.integers(0, 8))
@settings(deadline=None, max_examples=50)
def test_counts_of_two_shards_add_up_to_the_whole(many, cut):
    whole, parts = total(many).metrics(), (total(many[:cut]) + total(many[cut:])).metrics()
    assert whole.keys() == parts.keys()
    for name, value in whole.items():
        assert parts[name] == pytest.approx(value, abs=1e-12)


@given(pairs)
@settings(deadline=None, max_examples=50)
def test_no_more_matches_than_instances_and_fewer_at_stricter_thresholds(pair):
    assert pair.matches.max() <= min(pair.num_truths, pair.num_predictions)
    assert (np.diff(pair.matches) <= 0).all()


def test_no_pairs_give_zero_and_minus_one_for_the_macro_mean():
    metrics = total([]).metrics()
    assert metrics["cgF1"] == metrics["IL_MCC"] == metrics["positive_micro_F1"] == 0
    assert metrics["positive_macro_F1"] == -1


def test_a_score_of_one_half_counts_and_less_does_not():
    iou = np.eye(2)
    assert score_overlaps(iou, np.array([0.5, 0.4999])).num_predictions == 1


def test_perfect_predictions_score_just_below_one():
    present, absent = score_overlaps(np.eye(3)), score_overlaps(np.zeros((0, 0)))
    assert total([present] * 100 + [absent] * 100).metrics()["cgF1"] == pytest.approx(1, abs=1e-4)


NOTHING, MISSED, FALSE, GOOD, POOR = (
    score_overlaps(np.zeros((0, 0))),
    score_overlaps(np.zeros((2, 0))),
    score_overlaps(np.zeros((0, 1))),
    score_overlaps(np.array([[0.9]])),
    score_overlaps(np.array([[0.6]])),
)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((POOR, GOOD), 1),
        ((GOOD, POOR), 0),
        ((GOOD, GOOD), 0),  # ties keep the earlier one
        ((FALSE, MISSED), 0),
        ((MISSED, NOTHING, GOOD), 1),  # a true negative beats everything
        ((NOTHING, GOOD), 0),
        ((POOR, GOOD, NOTHING), 2),
    ],
)
def test_whose_word_is_taken(words, expected):
    assert kindest_annotator([PairScores.of([word]) for word in words]).tolist() == [expected]
