"""Concepts that exclude each other share no region; kinds, parts and attributes may."""

import numpy as np
import pytest

from masklet.inference.arbitration import may_share, owners


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("car", "truck", False),
        ("car", "red cars", True),
        ("car door", "car", True),
        ("dog", "hot dog", True),
        ("red car", "blue car", True),
        ("person", "persons", True),
    ],
)
def test_what_has_the_other_noun_may_share_a_thing(one, other, expected) -> None:
    assert may_share(one, other) is expected
    assert may_share(other, one) is expected


def test_the_surest_of_rivals_keeps_the_thing() -> None:
    phrases = ["car", "truck", "red car", "truck", "vehicle"]
    scores = np.array([0.9, 0.7, 0.6, 0.8, 0.5], np.float32)
    iou = np.eye(5)
    for one, other in ((0, 1), (0, 2), (1, 2), (0, 4), (1, 4), (2, 4)):
        iou[one, other] = iou[other, one] = 0.8
    assert owners(phrases, scores, iou).tolist() == [True, False, True, True, False]
    both = owners(phrases, scores, iou, [("vehicle", "car"), ("red car", "vehicle")])
    assert both.tolist() == [True, False, True, True, True]


def test_what_lost_takes_nothing_away() -> None:
    iou = np.array([[1, 0.6, 0.1], [0.6, 1, 0.6], [0.1, 0.6, 1]])
    kept = owners(["a", "b", "c"], np.array([0.9, 0.8, 0.7], np.float32), iou)
    assert kept.tolist() == [True, False, True]


def test_instances_of_one_phrase_do_not_compete() -> None:
    assert owners(["a", "a"], np.array([0.9, 0.9], np.float32), np.ones((2, 2))).all()
