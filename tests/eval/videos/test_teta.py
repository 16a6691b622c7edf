"""TETA where the answer is known by counting; the released evaluator's own figures are in test_video_scores.py."""

import numpy as np
import pytest

from masklet.eval.videos.hota import FrameOverlap
from masklet.eval.videos.teta import ClassCounts, mean_figures, score_classes

Frames = list[FrameOverlap]


def frame(truths: list[int], predicted: list[int], iou: list[list[float]]) -> FrameOverlap:
    overlaps = np.array(iou, np.float64).reshape(len(truths), len(predicted))
    return FrameOverlap(truth_ids=np.array(truths, int), predicted_ids=np.array(predicted, int), iou=overlaps)


def figures(frames: Frames, truths: list[int], predicted: list[int], of: int | None = None) -> dict[str, float]:
    counts = score_classes(frames, np.array(truths, int), np.array(predicted, int))
    return mean_figures(counts.values()) if of is None else counts[of].figures()


ONE_TO_ONE = [frame([0, 1], [0, 1], [[0.92, 0], [0, 0.92]])] * 4


def test_all_right_is_one_but_for_overlap() -> None:
    found = figures(ONE_TO_ONE, [5, 6], [5, 6])
    assert found["assoc_a"] == found["loc_a"] == pytest.approx(19 / 20)  # thresholds up to 0.9
    assert found["loc_pr"] == pytest.approx(19 / 20)
    assert found["cls_a"] == pytest.approx(9 / 10)
    assert found["teta"] == pytest.approx((19 / 20 * 2 + 9 / 10) / 3)


def test_a_wrong_class_costs_classification_of_both_and_nothing_else() -> None:
    found = figures(ONE_TO_ONE, [5, 6], [5, 5])
    assert found["loc_a"] == found["assoc_a"] == pytest.approx(19 / 20)
    five, six = (figures(ONE_TO_ONE, [5, 6], [5, 5], of=each) for each in (5, 6))
    # Class 5: four right, four that lie on none of its objects, four that class 6 found to say "5".
    assert five["cls_pr"] == pytest.approx((9 * 4 / 12) / 10)
    assert five["cls_re"] == pytest.approx(9 / 10)
    assert six["cls_a"] == six["cls_re"] == six["cls_pr"] == 0
    assert found["cls_a"] == pytest.approx((five["cls_a"] + six["cls_a"]) / 2)


def test_swapped_names_cost_association_alone() -> None:
    swapped = ONE_TO_ONE[:2] + [frame([0, 1], [0, 1], [[0, 0.92], [0.92, 0]])] * 2
    found = figures(swapped, [5, 5], [5, 5])
    assert found["loc_a"] == pytest.approx(19 / 20)
    assert found["cls_a"] == pytest.approx(9 / 10)
    assert found["assoc_a"] == pytest.approx(19 / 20 * 2 / 6)
    assert found["assoc_re"] == found["assoc_pr"] == pytest.approx(19 / 20 / 2)


def test_a_second_prediction_on_an_object_costs_location_a_stray_one_classification() -> None:
    double = [frame([0], [0, 1], [[1.0, 0.6]])] * 3
    found = figures(double, [5], [5, 5])
    assert found["loc_pr"] == found["loc_a"] == 0.5
    assert found["loc_re"] == found["cls_a"] == 1
    stray = [frame([0], [0, 1], [[1.0, 0.4]])] * 3
    found = figures(stray, [5], [5, 5])
    assert found["loc_a"] == found["loc_pr"] == 1
    assert found["cls_pr"] == found["cls_a"] == 0.5
    other_class = figures(stray, [5], [5, 8])
    assert other_class["cls_a"] == 1, "class 8 has no object, so it is not scored"


def test_a_prediction_on_another_class_is_no_false_location() -> None:
    """Object 1 overlaps both; prediction 1 belongs to object 1, which is of another class than object 0."""
    shared = [frame([0, 1], [0, 1], [[1.0, 0.6], [0.0, 1.0]])] * 2
    found = figures(shared, [5, 6], [5, 6], of=5)
    assert found["loc_pr"] == 1
    assert figures(shared, [5, 5], [5, 5])["loc_pr"] == 1
    alone = [frame([0], [0, 1], [[1.0, 0.6]])] * 2
    assert figures(alone, [5], [5, 6], of=5)["loc_pr"] == 0.5


def test_an_overlap_of_one_half_is_enough_to_belong_to_another_object() -> None:
    half = [frame([0, 1], [0, 1], [[1.0, 0.5], [0.0, 0.5]])] * 2
    assert figures(half, [5, 6], [5, 6], of=5)["loc_pr"] == 1
    less = [frame([0, 1], [0, 1], [[1.0, 0.5], [0.0, 0.49]])] * 2
    assert figures(less, [5, 6], [5, 6], of=5)["loc_pr"] == 0.5


def test_at_threshold_zero_anything_that_is_assigned_is_located() -> None:
    """In the second frame the prediction that was on the object is elsewhere."""
    counts = score_classes([frame([0], [0], [[0.5]]), frame([0], [0], [[0.0]])], np.array([5]), np.array([5]))[5]
    assert counts.located.tolist() == [2] + [1] * 10 + [0] * 9
    assert counts.classified.tolist() == [1] + [0] * 9
    assert counts.class_errors.tolist() == [1] * 10, "that prediction names the class where no object of it is"


def test_frames_without_any_object_count_for_nothing() -> None:
    empty = frame([], [0, 1], [])
    assert figures([*ONE_TO_ONE, empty], [5, 6], [5, 6]) == figures(ONE_TO_ONE, [5, 6], [5, 6])


def test_a_class_that_nothing_lies_on_forgets_what_lower_classes_said_of_it() -> None:
    """Both classes have an object; the prediction on the one is called the other. As the released evaluator has it."""
    one_found = [frame([0, 1], [0], [[1.0], [0.0]])] * 3
    counts = score_classes(one_found, np.array([5, 6]), np.array([6]))
    assert counts[6].class_errors.tolist() == [3] * 10, "3 strangers, and not 3 more from class 5"
    counts = score_classes(one_found, np.array([5, 4]), np.array([4]))
    assert counts[4].class_errors.tolist() == [6] * 10


def test_nothing_predicted_is_all_missed_and_nothing_to_find_is_no_figure() -> None:
    counts = score_classes([frame([0, 1], [], [])] * 2, np.array([5, 5]), np.zeros(0, int))
    assert counts[5].missed.tolist() == [4] * 20
    assert set(mean_figures(counts.values()).values()) == {0}
    nothing = score_classes([frame([], [0], [])], np.zeros(0, int), np.array([5]))
    assert set(mean_figures(nothing.values()).values()) == {-1}
    assert set(mean_figures([]).values()) == {-1}


def test_videos_add_up() -> None:
    whole = ClassCounts.zero()
    for _ in range(2):
        whole = whole + score_classes(ONE_TO_ONE, np.array([5, 5]), np.array([5, 5]))[5]
    twice = [
        frame([i.truth_ids[0] + k, i.truth_ids[1] + k], [k, k + 1], i.iou.tolist()) for k in (0, 2) for i in ONE_TO_ONE
    ]
    together = score_classes(twice, np.full(4, 5), np.full(4, 5))[5]
    assert whole.figures() == pytest.approx(together.figures())
