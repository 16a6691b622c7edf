import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masklet.eval.concept import ConceptCounts, best_annotator, score_boxes, score_masks, score_overlaps, total
from masklet.ops.masks import rle_decode

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("cgf1_case*.json"))


def read(objects, kind, image):
    if kind == "bbox":
        boxes = np.array([each["bbox"] for each in objects], dtype=np.float64).reshape(-1, 4)
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
    masks = [rle_decode(each["segmentation"]["counts"], *each["segmentation"]["size"]) for each in objects]
    return np.stack(masks) if masks else np.zeros((0, image["height"], image["width"]), dtype=bool)


def score_case(case, kind):
    """The evaluator's reading of the files: who is evaluated, crowds out, foreign categories out."""
    categories = {each["id"] for each in case["ground_truths"][0]["categories"]}
    predictions = defaultdict(list)
    for prediction in case["predictions"]:
        if prediction["category_id"] in categories:
            predictions[prediction["image_id"]].append(prediction)
    by_image = defaultdict(list)
    score = score_boxes if kind == "bbox" else score_masks
    for truth in case["ground_truths"]:
        objects = defaultdict(list)
        for annotation in truth["annotations"]:
            if not annotation["iscrowd"]:
                objects[annotation["image_id"]].append(annotation)
        for image in truth["images"]:
            scores = np.array([each["score"] for each in predictions[image["id"]]], dtype=np.float64)
            found = read(predictions[image["id"]], kind, image)
            pair = score(read(objects[image["id"]], kind, image), found, scores)
            by_image[image["id"]].append((image["is_instance_exhaustive"], pair))
    kept = {key: pairs for key, pairs in by_image.items() if all(exhaustive for exhaustive, _ in pairs)}
    return {key: best_annotator(pair for _, pair in pairs) for key, pairs in kept.items()}


@pytest.mark.parametrize("kind", ["segm", "bbox"])
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_figures_equal_the_official_evaluator(path, kind):
    case = json.loads(path.read_text())
    pairs = score_case(case, kind)
    expected = case["expected"]
    assert sorted(pairs) == sorted(expected[f"{kind}_evaluated_ids"])
    counts = total(pairs.values())
    for name, field in (
        ("TPs", "true_positives"),
        ("FPs", "false_positives"),
        ("positive_micro_FPs", "positive_false_positives"),
        ("FNs", "false_negatives"),
    ):
        assert getattr(counts, field).tolist() == expected[f"{kind}_counts"][name]
    metrics = counts.metrics()
    assert set(metrics) == set(expected[kind])
    for name, value in expected[kind].items():
        assert metrics[name] == pytest.approx(value, rel=0, abs=1e-12), name


@pytest.mark.parametrize("kind", ["segm", "bbox"])
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_pair_equals_the_one_the_official_evaluator_selected(path, kind):
    case = json.loads(path.read_text())
    expected = case["expected_selected_per_datapoint"][kind]
    for key, pair in score_case(case, kind).items():
        counts = ConceptCounts.of(pair)
        row = expected[str(key)]
        flags = {"IL_TP": counts.image_tp, "IL_FP": counts.image_fp, "IL_TN": counts.image_tn, "IL_FN": counts.image_fn}
        assert flags == {name: row[name] for name in flags}
        if "TPs" in row:
            assert pair.matches.tolist() == row["TPs"]
            np.testing.assert_allclose(pair.local_f1, row["local_F1s"], rtol=0, atol=1e-9)


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
    metrics = ConceptCounts.zero().metrics()
    assert metrics["cgF1"] == metrics["IL_MCC"] == metrics["positive_micro_F1"] == 0
    assert metrics["positive_macro_F1"] == -1


def test_a_score_of_one_half_counts_and_less_does_not():
    iou = np.eye(2)
    assert score_overlaps(iou, np.array([0.5, 0.4999])).num_predictions == 1


def test_perfect_predictions_score_just_below_one():
    present, absent = score_overlaps(np.eye(3)), score_overlaps(np.zeros((0, 0)))
    assert total([present] * 100 + [absent] * 100).metrics()["cgF1"] == pytest.approx(1, abs=1e-4)
