"""Lines of outcomes: written and read back, and what is no outcome."""

import json

import numpy as np
import pytest

from masklet.errors import InputError
from masklet.eval.concepts.outcomes import PairOutcome, RunFiles, read_outcomes, write_outcome

FULL = PairOutcome(
    pair_id=7,
    phrase="<b>coin</b>",
    image="a/b.jpg",
    subset="gold",
    height=10,
    width=20,
    scores=np.array([0.9, 0.2]),
    iou=np.array([[0.5, 0.0]]),
    truth_areas=np.array([12]),
    predicted_areas=np.array([10, 3]),
    truth_boxes_xyxy=np.array([[0.0, 1, 2, 3]]),
    predicted_boxes_xyxy=np.array([[0.0, 1, 2, 3], [4, 5, 6, 7]]),
    truth_counts=("abc",),
    predicted_counts=("d", "e"),
    presence=0.75,
)
EMPTY = PairOutcome(
    pair_id=8,
    phrase="cat",
    image="c.jpg",
    subset="gold",
    height=1,
    width=1,
    scores=np.zeros(0),
    iou=np.zeros((0, 0)),
    truth_areas=np.zeros(0, np.int64),
    predicted_areas=np.zeros(0, np.int64),
    truth_boxes_xyxy=np.zeros((0, 4)),
    predicted_boxes_xyxy=np.zeros((0, 4)),
)


def test_lines_come_back_as_they_were(tmp_path):
    path = RunFiles(tmp_path).outcomes
    with path.open("w") as file:
        for outcome in (FULL, EMPTY):
            write_outcome(file, outcome)
    for outcome, found in zip((FULL, EMPTY), read_outcomes(path), strict=True):
        assert found.to_json() == outcome.to_json()
        assert found.iou.shape == outcome.iou.shape
    assert len(path.read_text().splitlines()[1]) < 100  # most pairs are empty, so their lines must be short


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"phrase": 3}, "phrase, image or subset is no text"),
        ({"height": 0}, "a size of 0 x 20 pixels is none"),
        ({"iou": [[0.5]]}, "cannot reshape"),
        ({"scores": ["x"]}, "could not convert"),
    ],
)
def test_a_line_that_is_no_outcome_is_told_with_its_number(change, message, tmp_path):
    path = RunFiles(tmp_path).outcomes
    path.write_text(json.dumps(EMPTY.to_json()) + "\n" + json.dumps(FULL.to_json() | change) + "\n")
    with pytest.raises(InputError, match=f"line 2 is not an outcome: {message}"):
        list(read_outcomes(path))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match=r"outcomes\.jsonl: cannot be read"):
        list(read_outcomes(RunFiles(tmp_path).outcomes))
