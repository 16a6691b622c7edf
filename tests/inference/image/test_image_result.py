import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from masklet.errors import InputError
from masklet.inference.output.export import CocoWriter
from masklet.ops.masks import mask_iou, polygons_to_mask, rle_decode


def test_fields_are_pixels_of_the_image(result):
    assert len(result) == 2
    assert result.masks.shape == (2, 40, 60)
    assert result.masks[0].sum() == 12 * 18
    assert result.boxes[1].tolist() == [10, 20, 60, 36]  # cut at the border
    assert result.ids.tolist() == [1, 2]
    assert result.phrases == ("cat", "cat")
    assert result.presence == pytest.approx({"cat": 0.97, "dog": 0.02})
    assert repr(result) == "ImageResult(60 x 40: cat 2, dog absent (presence 0.02))"


def test_one_mask_at_a_time_equals_all_at_once(result):
    for index, mask in enumerate(result.iterate_masks()):
        np.testing.assert_array_equal(mask, result.masks[index])


def test_selection_keeps_rows_together(result):
    for selected in (result[1], result[-1:], result[[1]], result[np.array([False, True])]):
        assert selected.scores.tolist() == pytest.approx([0.6])
        np.testing.assert_array_equal(selected.masks, result.masks[1:])
        assert selected.presence == result.presence
    assert len(result.above(0.7)) == 1
    assert [float(one.scores[0]) for one in result] == pytest.approx([0.9, 0.6])


def test_one_phrase_can_be_taken_out(result):
    assert len(result.for_phrase("cat")) == 2
    nothing = result.for_phrase("dog")
    assert len(nothing) == 0
    assert nothing.presence == pytest.approx({"dog": 0.02})
    with pytest.raises(ValueError, match="'bird' was not asked for"):
        result.for_phrase("bird")


def test_json_holds_every_phrase_and_masks_that_decode(result):
    data = json.loads(json.dumps(result.to_json()))
    cat, dog = data["phrases"]
    assert dog == {"phrase": "dog", "presence": 0.02, "detections": []}
    assert [each["score"] for each in cat["detections"]] == [0.9, 0.6]
    assert cat["detections"][1]["box"] == [10, 20, 60, 36]
    mask = cat["detections"][0]["mask"]
    np.testing.assert_array_equal(rle_decode(mask["counts"], *mask["size"]), result.masks[0])


def test_coco_ids_are_unique_over_images(result):
    writer = CocoWriter()
    writer.add(result, "a.png")
    writer.add(result.for_phrase("dog"), "b.png")
    writer.add(result)
    data = json.loads(json.dumps(writer.to_dict()))
    assert [each["id"] for each in data["annotations"]] == [1, 2, 3, 4]
    assert [each["image_id"] for each in data["annotations"]] == [1, 1, 3, 3]
    assert [each["file_name"] for each in data["images"]] == ["a.png", "b.png", "image-3"]
    assert data["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    assert data["annotations"][0]["bbox"] == [6, 4, 18, 12]
    assert data["annotations"][0]["area"] == 216
    assert result.to_coco()["annotations"] == data["annotations"][:2]


def test_yolo_outlines_fill_to_the_masks(result):
    for line, mask in zip(result.to_yolo(["dog", "cat"]), result.masks, strict=True):
        number, *values = line.split()
        assert number == "1"
        points = np.array(values, dtype=float).reshape(-1, 2)
        assert points.min() >= 0
        assert points.max() <= 1
        assert mask_iou(polygons_to_mask([points * [60, 40]], 40, 60)[None], mask[None])[0, 0] > 0.97
    with pytest.raises(InputError, match="'cat' is not among the classes"):
        result.to_yolo(["dog"])


def test_label_studio_task_is_in_percent(result):
    task = result.to_labelstudio("http://host/a.png")
    assert task["data"] == {"image": "http://host/a.png"}
    region = task["predictions"][0]["result"][0]
    assert region["value"]["polygonlabels"] == ["cat"]
    assert np.max(region["value"]["points"]) <= 100


def test_supervision_is_named_when_it_is_missing(result, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ImportError, match="pip install supervision"):
        result.to_supervision()
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    detections = result.to_supervision()
    assert detections.class_id.tolist() == [0, 0]
    assert detections.mask.shape == (2, 40, 60)
    assert not hasattr(detections, "tracker_id"), "nothing was tracked"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp"])
def test_overlay_is_written_by_suffix(result, tmp_path, suffix):
    path = result.save(tmp_path / f"overlay{suffix}")
    with Image.open(path) as image:
        image.load()
    assert json.loads(result.save(tmp_path / "x.json").read_text()) == result.to_json()


def test_unknown_suffix_is_named(result, tmp_path):
    with pytest.raises(InputError, match=r"one of \.png"):
        result.save(tmp_path / "overlay.gif")


def test_masks_are_written_one_by_one(result, tmp_path):
    paths = result.save_masks(tmp_path / "masks")
    assert [path.name for path in paths] == ["001-cat.png", "002-cat.png"]
    np.testing.assert_array_equal(np.asarray(Image.open(paths[1])) > 0, result.masks[1])


def test_overlay_keeps_the_size_when_told_to_and_colours_only_the_masks(result):
    picture = np.asarray(result.above(0.7).plot(legend=False, scale=1))
    assert picture.shape == result.image.shape
    assert (picture[20:] == 128).all()
    assert (picture[8, 12] != 128).any()


def test_small_pictures_are_enlarged_and_the_legend_stands_below(result):
    plain, with_legend = result.plot(legend=False), result.plot()
    assert plain.size == (240, 160)
    assert with_legend.width == 240
    assert with_legend.height > 160


def test_nothing_found_draws_the_picture_and_exports_empty_lists(result):
    nothing = result.above(0.99)
    assert nothing.masks.shape == (0, 40, 60)
    assert (np.asarray(nothing.plot(legend=False, scale=1)) == result.image).all()
    assert nothing.to_yolo() == []
    assert nothing.to_coco()["annotations"] == []
    assert nothing.to_labelstudio()["predictions"][0]["result"] == []


def test_an_empty_mask_is_a_detection_without_an_outline(result):
    result.detections.mask_logits[0] = torch.tensor(-1.0)
    assert len(result.to_yolo()) == 1
    assert result.to_coco()["annotations"][0]["area"] == 0
    result.plot()


def test_absent_by_presence_is_said_otherwise_than_by_the_threshold(result):
    assert result.above(0.99).summary() == ("cat none above the threshold (presence 0.97), dog absent (presence 0.02)")
    assert result.for_phrase("DOG").queries == ("dog",)


def test_holes_survive_export(result):
    y, x = np.mgrid[:40, :60]
    ring = torch.from_numpy(np.where((np.hypot(y - 20, x - 30) < 18) & (np.hypot(y - 20, x - 30) > 9), 4.0, -4.0))
    logits = ring[None].repeat(2, 1, 1).float()
    holed = replace(result, detections=replace(result.detections, mask_logits=logits))
    truth = holed.masks[0]
    number, *values = holed.to_yolo()[0].split()
    assert number == "0"
    points = [np.array(values, float).reshape(-1, 2)]
    (region, _) = holed.to_labelstudio()["predictions"][0]["result"]
    points.append(np.array(region["value"]["points"]) / 100)
    for each in points:
        assert mask_iou(polygons_to_mask([each * [60, 40]], 40, 60)[None], truth[None])[0, 0] > 0.95
