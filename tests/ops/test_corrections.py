"""What a simulated user corrects."""

import numpy as np
import pytest

from masklet.ops.corrections import DetectionErrors, find_errors


@pytest.mark.parametrize(
    ("iou", "missed", "wrong"),
    [
        ([[1.0, 0.0], [0.0, 1.0]], [], []),
        ([[0.5]], [], []),
        ([[0.49]], [0], []),  # neither detected nor wrong
        ([[0.29]], [0], [0]),
        ([[0.9, 0.8]], [], []),  # a second detection is no error
        ([[0.9, 0.1]], [], [1]),
        ([[0.6], [0.7]], [0], []),  # one detection shows one instance
        ([[0.9, 0.6], [0.7, 0.0]], [], []),  # the assignment finds both
        (np.zeros((2, 0)), [0, 1], []),
        (np.zeros((0, 2)), [], [0, 1]),
        (np.zeros((0, 0)), [], []),
    ],
)
def test_what_is_missed_and_what_is_wrong(iou, missed, wrong) -> None:
    errors = find_errors(np.array(iou, dtype=np.float64))
    assert errors == DetectionErrors(missed=tuple(missed), wrong=tuple(wrong))


def test_the_bars_are_the_callers() -> None:
    errors = find_errors(np.array([[0.6, 0.4]]), detected=0.7, wrong=0.5)
    assert errors == DetectionErrors(missed=(0,), wrong=(1,))
