"""Labels of Ultralytics: outlines and boxes become pixels, what has no label is absent, and lines are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.labels.yolo import YoloSource
from masklet.data.sources import QueryConfig
from masklet.errors import InputError

NAMES = "names: {0: mug, 2: yellow bus, 3: pig}\n"


def write(folder: Path, labels: str | None = "0 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n2 0.5 0.5 0.2 0.4\n\n") -> Path:
    for place in ("images/train", "labels/train"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for name in ("a", "b"):
        Image.new("RGB", (40, 20)).save(folder / f"images/train/{name}.jpg")
    (folder / "labels/train/b.txt").write_text("")
    if labels is not None:
        (folder / "labels/train/a.txt").write_text(labels)
    (folder / "data.yaml").write_text(f"path: ../elsewhere\ntrain: ../images/train\nval: val.txt\n{NAMES}")
    return folder / "data.yaml"


def open_yolo(data: Path, part: str = "train", **changes) -> YoloSource:
    return YoloSource(data, part, QueryConfig(**{"split": "all", **changes}))


def test_outlines_and_boxes_become_pixels(tmp_path) -> None:
    example = open_yolo(write(tmp_path)).example(0, np.random.default_rng(0))
    mask = np.zeros((20, 40), bool)
    mask[4:12, 4:20] = True
    np.testing.assert_array_equal(example.masks[0], mask)
    np.testing.assert_allclose(example.boxes_xyxy, [[4, 4, 20, 12], [16, 6, 24, 14]], atol=1e-4)
    assert example.mask_valid.tolist() == [True, False]
    asked = {query.phrase: (query.object_index, query.exhaustive) for query in example.queries}
    assert asked == {"mug": ((0,), True), "yellow bus": ((1,), True), "pig": ((), True)}
    assert example.absent == {"pig"}


def test_a_picture_without_labels_shows_nothing_of_all_that(tmp_path) -> None:
    data = write(tmp_path)
    (tmp_path / "labels/train/b.txt").unlink()
    example = open_yolo(data).example(1, np.random.default_rng(0))
    assert len(example.boxes_xyxy) == 0
    assert {query.phrase for query in example.queries} == {"mug", "yellow bus", "pig"}
    assert open_yolo(data, complete=False).example(1, np.random.default_rng(0)).queries == ()


def test_a_part_may_be_a_list_of_pictures_and_classes_a_list_of_names(tmp_path) -> None:
    data = write(tmp_path)
    (tmp_path / "val.txt").write_text("./images/train/a.jpg\n\n")
    data.write_text(data.read_text().replace(NAMES, "names: [mug, cup, yellow bus]\n"))
    source = open_yolo(data, "val")
    assert len(source) == 1
    assert source.name(0) == "images/train/a.jpg"
    assert {q.phrase for q in source.example(0, np.random.default_rng(0)).queries} == {"mug", "cup", "yellow bus"}


@pytest.mark.parametrize(
    ("labels", "named"),
    [
        ("0 0.1 0.2 0.5\n", "line 1: 3 numbers"),
        ("0 0.1 0.2 0.5 0.2 0.5\n", "line 1: 5 numbers"),
        ("\n1 0.1 0.2 0.5 0.2\n", "line 2: class 1 is not among the 3 names"),
        ("0 0.1 0.2 many 0.2\n", "line 1: 'many' is no number"),
        ("0 12 30 10 8\n", "line 1: .* outside the image; coordinates are fractions"),
        ("0 nan 0.2 0.5 0.2\n", "line 1: nan is outside"),
    ],
)
def test_broken_lines_are_named(tmp_path, labels, named) -> None:
    source = open_yolo(write(tmp_path, labels))
    with pytest.raises(InputError, match=rf"labels/train/a\.txt: {named}"):
        source.example(0, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("train: images/train\n", "lacks names"),
        ("names: 5\ntrain: images/train\n", "neither a list nor a table"),
        ("names: [[a]]\ntrain: images/train\n", "neither a list nor a table"),
        ("names: [a\n", "not readable as YAML at line 2"),
        (f"train: {{a: 1}}\n{NAMES}", "train names no folder"),
        (f"train: nowhere\n{NAMES}", "is not a folder"),
        (f"train: images/../../other\n{NAMES}", "leads out"),
        (f"train: /etc\n{NAMES}", "leads out"),
        (f"train: bad.txt\n{NAMES}", r"bad\.txt: line 2: .* leads out"),
        (
            f"train: text.txt\n{NAMES}",
            r"text\.txt: line 1: .*labels/train/a\.txt is not a folder of images, nor an image",
        ),
        (f"train: labels\n{NAMES}", "no image"),
    ],
)
def test_a_broken_description_is_named(tmp_path, text, named) -> None:
    data = write(tmp_path)
    (tmp_path / "bad.txt").write_text("images/train/a.jpg\n/etc/passwd.jpg\n")
    (tmp_path / "text.txt").write_text("labels/train/a.txt\n")
    data.write_text(text)
    with pytest.raises(InputError, match=named):
        open_yolo(data)


def test_pictures_none_of_which_has_labels_are_refused(tmp_path) -> None:
    data = write(tmp_path, None)
    (tmp_path / "labels/train/b.txt").unlink()
    with pytest.raises(InputError, match="none of 2 images has a text file under labels/"):
        open_yolo(data)


def test_labels_lie_beside_the_innermost_folder_of_pictures(tmp_path) -> None:
    for place in ("images/set/images", "images/set/labels"):
        (tmp_path / place).mkdir(parents=True)
    Image.new("RGB", (40, 20)).save(tmp_path / "images/set/images/a.jpg")
    (tmp_path / "images/set/labels/a.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    (tmp_path / "data.yaml").write_text(f"train: images/set/images\n{NAMES}")
    assert len(open_yolo(tmp_path / "data.yaml").example(0, np.random.default_rng(0)).boxes_xyxy) == 1
