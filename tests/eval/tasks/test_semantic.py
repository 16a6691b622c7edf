"""Semantic segmentation: confusion counted by hand, painting of instances, folders of label maps."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.errors import InputError
from masklet.eval.predict.prediction_cache import PhrasePrediction
from masklet.eval.tasks.semantic import (
    ConfusionTally,
    image_of,
    paint,
    score_folders,
)
from masklet.formats.benchmarks import UNJUDGED, read_classes, write_label_map
from masklet.ops.masks import rle_encode

TRUTH = np.array([[0, 0, 1, 1], [0, 2, 2, UNJUDGED]], np.uint8)
FOUND = np.array([[0, 1, 1, 1], [0, 2, UNJUDGED, 3]], np.uint8)


def test_iou_by_hand():
    tally = ConfusionTally.of(TRUTH, FOUND)
    assert tally.iou() == pytest.approx({0: 2 / 3, 1: 2 / 3, 2: 1 / 2})  # what lies on unjudged pixels is no class
    assert tally.metrics() == pytest.approx({"mIoU": (2 / 3 + 2 / 3 + 1 / 2) / 3, "pixel_accuracy": 5 / 7})
    assert ConfusionTally.of(np.full_like(TRUTH, UNJUDGED), FOUND).metrics() == {"mIoU": -1.0, "pixel_accuracy": 0.0}


def test_a_class_found_but_not_there_has_an_iou_of_0_and_is_not_in_the_mean():
    tally = ConfusionTally.of(np.zeros((2, 2), np.uint8), np.array([[0, 0], [0, 5]], np.uint8))
    assert tally.iou() == {0: 0.75, 5: 0.0}
    assert tally.metrics()["mIoU"] == 0.75


def test_pictures_add_up():
    parts = ConfusionTally.of(TRUTH[:1], FOUND[:1]) + ConfusionTally.of(TRUTH[1:], FOUND[1:])
    np.testing.assert_array_equal(parts.pixels, ConfusionTally.of(TRUTH, FOUND).pixels)


def answer(presence: float, *instances: tuple[float, slice]) -> PhrasePrediction:
    masks = []
    for _, columns in instances:
        mask = np.zeros((4, 8), dtype=bool)
        mask[:, columns] = True
        masks.append(rle_encode(mask))
    return PhrasePrediction(
        height=4,
        width=8,
        presence=presence,
        scores=np.array([score for score, _ in instances]),
        boxes_xyxy=np.zeros((len(instances), 4)),
        masks={0.5: tuple(masks)},
    )


def test_the_surest_is_on_top_and_what_is_unsure_or_absent_is_not_painted():
    sky = answer(0.9, (0.6, slice(0, 6)), (0.4, slice(6, 8)))
    tree = answer(0.9, (0.8, slice(3, 5)))
    absent = answer(0.2, (0.9, slice(0, 8)))
    labels = paint([(1, sky), (2, tree), (3, absent)])
    assert labels[0].tolist() == [1, 1, 1, 2, 2, 1, UNJUDGED, UNJUDGED]


def test_folders_are_compared_name_by_name(tmp_path):
    for folder, labels in (("truth", TRUTH), ("found", FOUND)):
        write_label_map(tmp_path / folder / "street" / "one.png", labels)
    ((name, tally),) = score_folders(tmp_path / "truth", tmp_path / "found")
    assert name == "street/one.png"
    assert tally.metrics()["mIoU"] == pytest.approx(11 / 18)


def test_what_is_wrong_with_a_folder_is_told(tmp_path):
    with pytest.raises(InputError, match=r"no \.png file in"):
        list(score_folders(tmp_path, tmp_path))
    write_label_map(tmp_path / "truth" / "one.png", TRUTH)
    with pytest.raises(InputError, match=r"no such file: .*one\.png"):
        list(score_folders(tmp_path / "truth", tmp_path / "found"))
    write_label_map(tmp_path / "found" / "one.png", FOUND[:1])
    with pytest.raises(InputError, match=r"one\.png: is not 4 x 2 pixels"):
        list(score_folders(tmp_path / "truth", tmp_path / "found"))
    Image.new("RGB", (4, 2)).save(tmp_path / "found" / "one.png")
    with pytest.raises(InputError, match=r"one\.png: one whole number for each pixel is expected"):
        list(score_folders(tmp_path / "truth", tmp_path / "found"))


def test_a_picture_is_found_whatever_its_suffix(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one[1].jpg").touch()
    assert image_of(Path("a/one[1].png"), [tmp_path / "none", tmp_path]) == "a/one[1].jpg"
    with pytest.raises(InputError, match=r"there is no image of a/two\.png"):
        image_of(Path("a/two.png"), [tmp_path])


@pytest.mark.parametrize("document", [{}, [1], {"300": "tree"}, {"x": "tree"}, {"1": ""}, {"1": 2}])
def test_classes_are_numbers_and_names(document, tmp_path):
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"classes\.json: "):
        read_classes(path)
    path.write_text('{"3": "tree"}')
    assert read_classes(path) == {3: "tree"}
