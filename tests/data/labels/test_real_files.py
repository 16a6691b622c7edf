"""Labels as tools and people leave them: nothing is lost in silence, and what is odd is told by the doctor."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from masklet.data.doctor import Findings, examine
from masklet.data.everyday import WithEverydayNegatives
from masklet.data.labels.coco import CocoSource
from masklet.data.labels.mask_folders import MaskFolderSource
from masklet.data.labels.saco import SacoSource
from masklet.data.labels.yolo import YoloSource
from masklet.data.labels.ytvis import YtvisVideos
from masklet.data.sources import CocoConfig, IndexedSource, QueryConfig
from masklet.errors import InputError

ALL = QueryConfig(split="all")
SQUARE = [[10, 10, 40, 10, 40, 30, 10, 30]]


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (60, 80, 3)).astype(np.uint8)).save(path)


def label(image: int, category: int, **changes: Any) -> dict[str, Any]:
    box = {"bbox": [10, 10, 30, 20], "segmentation": SQUARE}
    return {"id": f"{image}-{category}", "image_id": image, "category_id": category, **box, **changes}


def open_coco(folder: Path, names: list[str], labels: list[dict], **changes: Any) -> CocoSource:
    """Two images; categories 1, 2, ... of these names."""
    document = {
        "images": [{"id": key, "file_name": f"{key}.png", "width": 80, "height": 60} for key in (1, 2)],
        "categories": [{"id": key, "name": name} for key, name in enumerate(names, start=1)],
        "annotations": labels,
    }
    for key in (1, 2):
        picture(folder / f"{key}.png", key)
    (folder / "a.json").write_text(json.dumps(document | changes))
    return CocoSource(folder / "a.json", folder, CocoConfig(split="all", synonym_probability=0.0))


def asked(source: IndexedSource, index: int = 0) -> dict[str, int]:
    """Objects of each phrase that is asked of an image, 0 of one that is absent."""
    queries = source.example(index, np.random.default_rng(0)).queries
    assert len({query.phrase for query in queries}) == len(queries)
    return {query.phrase: len(query.object_index) for query in queries}


def found(source: IndexedSource) -> Findings:
    return examine({"mine": source}, 336)


def kinds(source: IndexedSource) -> dict[str, int]:
    return {each.kind: each.count for each in found(source).findings}


def test_the_head_of_a_group_is_not_asked_and_the_doctor_says_so(tmp_path) -> None:
    names = [(0, "mug", "none"), (1, "red mug", "mug"), (2, "blue mug", "mug")]
    categories = [{"id": key, "name": name, "supercategory": group} for key, name, group in names]
    source = open_coco(tmp_path, [], [label(1, 1), label(2, 2)], categories=categories)
    assert asked(source) == {"red mug": 1, "blue mug": 0}
    assert "mug" not in source.example(0, np.random.default_rng(0)).absent
    assert kinds(source) == {"group": 1}
    assert kinds(WithEverydayNegatives(source, 2))["group"] == 1


@pytest.mark.parametrize("names", [["spoon", "Spoon"], ["spoon", " spoon "], ["red_mug", "red mug"]])
def test_phrases_that_say_the_same_are_one_in_every_layout(tmp_path, names) -> None:
    first = names[0]
    assert asked(open_coco(tmp_path / "coco", names, [label(1, 1), label(1, 2), label(2, 1)])) == {first: 2}
    picture(tmp_path / "images/1.png", 1)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/1.txt").write_text("0 .2 .2 .6 .2 .6 .6\n1 .2 .2 .6 .2 .6 .5\n")
    (tmp_path / "data.yaml").write_text(f"train: images\nnames: {json.dumps(names)}\n")
    assert asked(YoloSource(tmp_path / "data.yaml", "train", ALL)) == {first: 2}
    for place, name in enumerate(names):
        picture_of = np.zeros((60, 80), np.uint8)
        picture_of[place * 10 : place * 10 + 5, 3:9] = 255
        (tmp_path / "masks" / name).mkdir(parents=True)
        Image.fromarray(picture_of).save(tmp_path / "masks" / name / "1.png")
    assert sum(asked(MaskFolderSource(tmp_path, ALL)).values()) == 2
    assert len(asked(MaskFolderSource(tmp_path, ALL))) == 1
    pairs = [{"id": key, "file_name": "images/1.png", "width": 80, "height": 60} for key in (1, 2)]
    pairs = [pair | {"text_input": name} for pair, name in zip(pairs, names, strict=True)]
    labels = [{"id": 1, "image_id": 2, "bbox": [0.1, 0.1, 0.2, 0.2]}]
    (tmp_path / "saco.json").write_text(json.dumps({"images": pairs, "annotations": labels}))
    assert asked(SacoSource(tmp_path / "saco.json", tmp_path, "all")) == {first: 1}


def test_hard_negatives_and_claims_are_compared_cleaned(tmp_path) -> None:
    images = [
        {"id": 1, "file_name": "1.png", "exhaustive": ["MUG"], "hard_negatives": ["Toy_Mug"]},
        {"id": 2, "file_name": "2.png", "exhaustive": "Mugs", "hard_negatives": ["toy mug"]},
    ]
    source = open_coco(tmp_path, ["mug"], [label(1, 1), label(2, 1)], images=images)
    for index in (0, 1):
        queries = source.example(index, np.random.default_rng(0)).queries
        assert [(each.phrase, each.exhaustive) for each in queries if each.object_index] == [("mug", True)]
        assert asked(source, index) == {"mug": 1, "Toy_Mug": 0}


def test_two_records_of_an_image_are_taken_together(tmp_path) -> None:
    images = [{"id": key, "file_name": name} for key, name in ((1, "1.png"), (2, "./1.png"))]
    source = open_coco(tmp_path, ["mug", "spoon"], [label(1, 1), label(2, 2)], images=images)
    assert len(source) == 1
    assert asked(source) == {"mug": 1, "spoon": 1}
    (finding,) = [each for each in found(source).findings if each.kind == "two records"]
    assert finding.examples == ("1.png (records 1, 2)",)


def test_what_only_one_of_two_records_calls_complete_is_not(tmp_path) -> None:
    images = [
        {"id": 1, "file_name": "1.png", "exhaustive": ["mug", "spoon"]},
        {"id": 2, "file_name": "1.png", "exhaustive": ["spoon"]},
    ]
    source = open_coco(tmp_path, ["mug", "spoon"], [label(1, 1)], images=images)
    queries = source.example(0, np.random.default_rng(0)).queries
    assert {query.phrase: query.exhaustive for query in queries} == {"mug": False, "spoon": True}


def test_objects_labelled_twice_are_counted(tmp_path) -> None:
    boxes = [label(2, 1, segmentation=None), label(2, 1, segmentation=None), label(2, 2, segmentation=None)]
    source = open_coco(tmp_path, ["mug", "spoon"], [label(1, 1), label(1, 1), *boxes])
    assert kinds(source)["doubled"] == 2


def test_crowds_that_are_left_out_are_counted(tmp_path) -> None:
    source = open_coco(tmp_path, ["mug", "pot"], [label(1, 1, iscrowd=1), label(2, 1, iscrowd="0")])
    (finding,) = [each for each in found(source).findings if each.kind == "crowd"]
    assert (finding.count, finding.examples) == (1, ("annotation 1-1",))
    assert found(source).tallies["mine"].objects == 1
    assert kinds(source).get("unlabelled", 0) == 0, "an image of a crowd is labelled"


def test_images_without_labels_are_counted_where_they_teach_that_nothing_is_there(tmp_path) -> None:
    source = open_coco(tmp_path, ["mug", "pot"], [label(1, 1)])
    (finding,) = [each for each in found(source).findings if each.kind == "unlabelled"]
    assert finding.examples == ("2.png",)
    source.config = CocoConfig(split="all", complete=False)
    assert "unlabelled" not in kinds(source)


def test_phrases_too_long_for_the_text_encoder_are_counted(tmp_path) -> None:
    source = open_coco(tmp_path, ["red " * 40, "pot"], [label(1, 1), label(2, 2)])
    assert kinds(source)["long"] == 1


@pytest.mark.parametrize("box", [{}, {"bbox": None}, {"bbox": []}])
def test_a_missing_box_is_that_of_the_mask(tmp_path, box) -> None:
    bare = {name: value for name, value in label(1, 1).items() if name != "bbox"}
    example = open_coco(tmp_path, ["mug"], [bare | box]).example(0, np.random.default_rng(0))
    np.testing.assert_array_equal(example.boxes_xyxy, [[10, 10, 40, 30]])


def test_a_missing_size_is_that_of_the_image_and_names_are_read_as_on_windows(tmp_path) -> None:
    picture(tmp_path / "sub" / "1.png", 1)
    images = [{"id": "x", "file_name": "sub\\1.png"}]
    source = open_coco(tmp_path, ["mug"], [label("x", 1)], images=images)  # type: ignore[arg-type]
    assert source.example(0, np.random.default_rng(0)).masks.shape == (1, 60, 80)


def test_ids_may_be_numbers_and_texts_in_one_file(tmp_path) -> None:
    categories = [{"id": key, "name": name} for key, name in ((0, "mug"), ("b", "pot"))]
    source = open_coco(tmp_path, [], [label(1, 0), label(1, "b")], categories=categories)  # type: ignore[arg-type]
    assert asked(source) == {"mug": 1, "pot": 1}


def test_yolo_goes_into_subfolders_and_takes_labels_of_any_case(tmp_path) -> None:
    for place, day in enumerate((".", "day1", "day2/late")):
        picture(tmp_path / "images/train" / day / "1.png", place)
        (tmp_path / "labels/train" / day).mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels/train" / day / ("1.TXT" if place else "1.txt")).write_text("0 .5 .5 .4 .4\n")
    picture(tmp_path / "images/train/._1.png", 9)
    (tmp_path / "data.yaml").write_text("train: ./images/train\nnames: [mug]\n", encoding="utf-8-sig")
    source = YoloSource(tmp_path / "data.yaml", "train", ALL)
    assert len(source) == 3
    assert sum(asked(source, index)["mug"] for index in range(3)) == 3
    (tmp_path / "data.yaml").write_text("train: .\nnames: [mug]\n")
    assert len(YoloSource(tmp_path / "data.yaml", "train", ALL)) == 3


def test_labels_of_no_image_are_counted(tmp_path) -> None:
    for key in (1, 2, 3):
        picture(tmp_path / f"images/{key}.png", key)
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels/1.txt").write_text("0 .2 .2 .6 .2 .6 .6\n")
    (tmp_path / "labels/pic_2.txt").write_text("0 .2 .2 .6 .2 .6 .6\n")
    (tmp_path / "labels/classes.txt").write_text("mug\n")
    (tmp_path / "data.yaml").write_text("train: images\nnames: [mug, spoon]\n")
    found_kinds = kinds(YoloSource(tmp_path / "data.yaml", "train", ALL))
    assert (found_kinds["stray"], found_kinds["unlabelled"]) == (1, 2)
    mask = Image.fromarray(np.pad(np.full((20, 20), 255, np.uint8), ((10, 30), (10, 50))))
    (tmp_path / "masks/mug").mkdir(parents=True)
    for name in ("1.PNG", "2.tif", "pic_3.png", "._3.png"):
        mask.save(tmp_path / "masks/mug" / name)
    source = MaskFolderSource(tmp_path, ALL)
    assert found(source).tallies["mine"].objects == 2
    assert (kinds(source)["stray"], kinds(source)["unlabelled"]) == (1, 1)
    for name in ("1.PNG", "2.tif"):
        (tmp_path / "masks/mug" / name).unlink()
    with pytest.raises(InputError, match=r"pic_3\.png: no image is called so"):
        MaskFolderSource(tmp_path, ALL)


def test_ids_of_videos_may_be_texts(tmp_path) -> None:
    for frame in (0, 1):
        picture(tmp_path / f"v/{frame}.png", frame)
    masks = [{"size": [60, 80], "counts": [0, 10, 4790]}, None]
    document = {
        "videos": [{"id": "v", "file_names": ["v/0.png", "v/1.png"], "width": 80, "height": 60, "length": 2}],
        "categories": [{"id": "m", "name": "mug"}, {"id": 2, "name": "Mug"}],
        "annotations": [{"id": "a", "video_id": "v", "category_id": "m", "segmentations": masks}],
    }
    (tmp_path / "a.json").write_text(json.dumps(document))
    (frame,) = YtvisVideos(tmp_path / "a.json", tmp_path, ALL).frames(0, [0], np.random.default_rng(0))
    assert [(query.phrase, query.object_index) for query in frame.queries] == [("mug", (0,))]
