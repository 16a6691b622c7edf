"""Counting: which of several overlapping predictions count, and the figures of a benchmark counted by hand."""

import json

import numpy as np
import pytest

from masklet.errors import InputError
from masklet.eval.tasks.counting import CountTally, count_instances, keep_apart, score_counts
from masklet.formats.benchmarks import read_questions
from masklet.ops.masks import rle_encode
from masklet.ops.runs import RunTable

SIZE = (20, 30)


def rectangle(x: int, y: int, width: int, height: int) -> str:
    mask = np.zeros(SIZE, dtype=bool)
    mask[y : y + height, x : x + width] = True
    return rle_encode(mask)


WHOLE, PART, HALF, APART = (
    rectangle(0, 0, 10, 10),
    rectangle(2, 2, 4, 4),
    rectangle(5, 0, 10, 10),
    rectangle(20, 5, 5, 5),
)


def table(*counts: str) -> RunTable:
    return RunTable.of(counts, [SIZE[0]] * len(counts), [SIZE[1]] * len(counts))


@pytest.mark.parametrize(
    ("counts", "scores", "kept"),
    [
        ([WHOLE, PART, APART], [0.9, 0.8, 0.7], [True, False, True]),  # a part of a surer whole goes
        ([WHOLE, PART, APART], [0.8, 0.9, 0.7], [False, True, True]),  # and so does the whole of a surer part
        ([WHOLE, HALF], [0.9, 0.8], [True, True]),  # exactly one half is not too much
        ([WHOLE, WHOLE, WHOLE], [0.7, 0.9, 0.9], [False, True, False]),  # of equal scores the first stays
        ([], [], []),
    ],
)
def test_of_two_that_lie_in_each_other_the_surer_stays(counts, scores, kept):
    assert keep_apart(table(*counts), np.array(scores)).tolist() == kept


def test_a_mask_that_goes_does_not_take_others_with_it():
    chain = table(rectangle(0, 0, 6, 6), rectangle(2, 0, 6, 6), rectangle(5, 0, 6, 6))
    assert keep_apart(chain, np.array([0.9, 0.8, 0.7])).tolist() == [True, False, True]


def test_a_score_of_one_half_does_not_count():
    assert count_instances(table(WHOLE, APART), np.array([0.5, 0.51])) == 1


def test_sums_of_parts_add_up():
    true, found = np.array([3, 0, 5]), np.array([3, 2, 4])
    whole = CountTally.of(true, found)
    assert whole.metrics() == {"MAE": pytest.approx(1), "accuracy": pytest.approx(1 / 3)}
    assert CountTally.of(true[:1], found[:1]) + CountTally.of(true[1:], found[1:]) == whole


def write(folder, questions, predictions):
    (folder / "questions.json").write_text(json.dumps(questions))
    (folder / "predictions.json").write_text(json.dumps(predictions))
    return folder / "questions.json", folder / "predictions.json"


def question(key: int, count: int) -> dict:
    return {"id": key, "file_name": f"{key}.jpg", "text_input": "cup", "count": count}


def prediction(key: int, counts: str, score: float, size=SIZE) -> dict:
    return {"image_id": key, "score": score, "segmentation": {"size": list(size), "counts": counts}}


def test_files_are_counted_question_by_question(tmp_path):
    found = [prediction(1, WHOLE, 0.9), prediction(1, PART, 0.8), prediction(1, APART, 0.6), prediction(2, WHOLE, 0.4)]
    questions, predictions = write(tmp_path, [question(1, 2), question(2, 1), question(3, 0)], found)
    tally, counts = score_counts(read_questions(questions), predictions)
    assert counts == {1: 2, 2: 0, 3: 0}
    assert tally == CountTally(questions=3, absolute_error=1, exact=2)


@pytest.mark.parametrize(
    ("questions", "predictions", "message"),
    [
        ([question(1, -1)], [], "question 1: count: is "),
        ([question(1, 1), question(1, 2)], [], "question 1: id: is given twice"),
        ([question(1, 1)], [prediction(2, WHOLE, 0.9)], "image_id: there is no question 2"),
        ([question(1, 1)], [prediction(1, "~", 0.9)], "a prediction of image 1: segmentation.counts: "),
        ([question(1, 1)], [{"image_id": 1, "score": 0.9}], "a prediction of image 1: segmentation: is missing"),
    ],
)
def test_broken_files_are_told(questions, predictions, message, tmp_path):
    paths = write(tmp_path, questions, predictions)
    with pytest.raises(InputError, match=message):
        score_counts(read_questions(paths[0]), paths[1])
