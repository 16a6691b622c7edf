"""Average precision of rankings: by counting, and against pycocotools."""

import numpy as np
import pytest

from masklet.eval.analysis.ranking import MAX_PREDICTIONS, RECALLS, average_precision, best_first, match_by_score

THRESHOLDS = np.linspace(0.5, 0.95, 10)


def test_one_hit_below_one_false_alarm_is_half_precise() -> None:
    precision = average_precision(np.array([0.9, 0.8]), np.array([[False, True], [True, False]]), 1)
    assert precision == pytest.approx([0.5, 1.0])


def test_objects_never_found_cut_the_curve_short() -> None:
    precision = average_precision(np.array([0.9]), np.array([[True]]), 2)
    assert precision == pytest.approx([51 / 101])
    assert average_precision(np.zeros(0), np.zeros((1, 0), bool), 2).tolist() == [0]


def test_a_later_hit_lifts_the_precision_before_it() -> None:
    hits = np.array([[True, False, True, True]])
    precision = average_precision(np.array([0.9, 0.8, 0.7, 0.6]), hits, 3)
    assert precision == pytest.approx([(34 * 1 + 67 * 3 / 4) / 101])


def test_rankings_are_joined_by_score() -> None:
    """The order in which predictions are given says nothing, but for equal scores."""
    hits = np.array([[True, False, True]])
    scores = np.array([0.2, 0.9, 0.5])
    order = np.array([2, 0, 1])
    assert average_precision(scores, hits, 2) == average_precision(scores[order], hits[:, order], 2)


def test_each_object_is_taken_once_and_the_last_of_equals_first() -> None:
    iou = np.array([[0.8, 0.7, 0.9], [0.8, 0.2, 0.6]])
    hits = match_by_score(iou, np.array([0.5, 0.75]))
    assert hits.tolist() == [[True, True, False], [True, False, True]]
    assert match_by_score(np.zeros((0, 3)), THRESHOLDS).any() == np.False_
    assert match_by_score(np.zeros((3, 0)), THRESHOLDS).shape == (10, 0)


def test_an_overlap_on_the_threshold_is_a_hit() -> None:
    assert match_by_score(np.array([[0.5, 0.5]]), THRESHOLDS)[0].tolist() == [True, False]


def test_the_best_come_first_and_are_limited() -> None:
    assert best_first(np.array([0.1, 0.7, 0.7, 0.9])).tolist() == [3, 1, 2, 0]
    assert best_first(np.linspace(0, 1, MAX_PREDICTIONS + 5))[-1] == 5


def test_random_rankings_equal_pycocotools() -> None:
    """Boxes in rows, so that overlaps are those wanted: matching and interpolation are what is compared."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(3)
    for _ in range(10):
        truths = [{"id": k + 1, "image_id": int(rng.integers(3)), "x": float(rng.integers(0, 40))} for k in range(8)]
        found = [
            {"image_id": int(rng.integers(3)), "x": float(rng.integers(0, 40)), "score": float(rng.integers(1, 6)) / 10}
            for _ in range(20)
        ]
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image} for image in range(3)],
            "categories": [{"id": 1}],
            "annotations": [
                {
                    "id": t["id"],
                    "image_id": t["image_id"],
                    "category_id": 1,
                    "bbox": [t["x"], 0, 10, 10],
                    "area": 100,
                    "iscrowd": 0,
                }
                for t in truths
            ],
        }
        coco.createIndex()
        results = [
            {"image_id": p["image_id"], "category_id": 1, "bbox": [p["x"], 0, 10, 10], "score": p["score"]}
            for p in found
        ]
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        expected = evaluation.eval["precision"][:, :, 0, 0, 2].mean(axis=1)
        assert _average_precision(truths, found) == pytest.approx(expected, abs=1e-12)
    assert len(RECALLS) == evaluation.eval["precision"].shape[1]


def _average_precision(truths: list[dict], found: list[dict]) -> np.ndarray:
    scores, hits = [], []
    for image in range(3):
        own = np.array([truth["x"] for truth in truths if truth["image_id"] == image])
        places = np.array([each["x"] for each in found if each["image_id"] == image])
        values = np.array([each["score"] for each in found if each["image_id"] == image])
        shared = np.maximum(10 - np.abs(own[:, None] - places), 0) * 10
        best = best_first(values)
        scores.append(values[best])
        hits.append(match_by_score((shared / (200 - shared))[:, best], THRESHOLDS))
    return average_precision(np.concatenate(scores), np.concatenate(hits, axis=1), len(truths))


def test_the_better_score_takes_the_object() -> None:
    iou = np.array([[0.9, 0.6, 0.0], [0.0, 0.55, 0.4]])
    at_one_half = np.array([0.5])
    assert match_by_score(iou[:, [1, 2, 0]], at_one_half).tolist() == [[True, False, False]]
    assert match_by_score(iou, at_one_half).tolist() == [[True, True, False]]
    assert match_by_score(np.zeros((0, 2)), at_one_half).tolist() == [[False, False]]
