"""Files of others: names stay in their folder, pictures stand upright, and what is broken is named."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.reading import check_records, decode_objects, inside, list_pictures, read_image, read_json
from masklet.errors import InputError
from masklet.media.images import read_image as read_as_in_use


@pytest.mark.parametrize("name", ["../a.jpg", "/etc/passwd", "a/../../b", "C:\\a.jpg", "..\\a.jpg", "", "a\0.jpg"])
def test_names_that_leave_the_folder_are_refused(name) -> None:
    with pytest.raises(InputError, match=r"labels\.json: image 3: the file name .* leads out"):
        inside(Path("pictures"), name, "labels.json: image 3")


def test_names_below_the_folder_are_joined() -> None:
    assert inside(Path("pictures"), "train/a b.jpg", "here") == Path("pictures/train/a b.jpg")


def _turned(path: Path) -> Path:
    """A file of 30 x 20 pixels that a viewer shows as 20 x 30, with its left edge white as it is stored."""
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:, :5] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to look at it
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    return path


def test_pictures_stand_as_their_labels_say_and_upright_by_default(tmp_path) -> None:
    path = _turned(tmp_path / "a.jpg")
    for size in (None, (30, 20)):
        upright = read_image(path, "image 1", size)
        assert upright.shape == (30, 20, 3)
        assert upright[:4].min() > 200
        assert upright[8:].max() < 50
    stored = read_image(path, "image 1", (20, 30))
    assert stored[:, :4].min() > 200
    assert stored[:, 8:].max() < 50
    with pytest.raises(InputError, match=r"a\.jpg: image 1 states 9 x 8 pixels, the file has 30 x 20"):
        read_image(path, "image 1", (8, 9))


def test_huge_and_damaged_pictures_are_refused(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 50, 3)).astype(np.uint8)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match=r"a\.png: image 1 cannot be read: .*decompression bomb"):
        read_image(path, "image 1")
    monkeypatch.undo()
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputError, match=r"a\.png: image 1 cannot be read"):
        read_image(path, "image 1")


def test_deep_and_transparent_pictures_are_read_as_where_a_model_is_used(tmp_path) -> None:
    deep = np.linspace(0, 65535, 600).astype(np.uint16).reshape(20, 30)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    clear = np.random.default_rng(0).integers(0, 255, (20, 30, 4)).astype(np.uint8)
    Image.fromarray(clear).save(tmp_path / "clear.png")
    Image.fromarray(clear[..., :3]).quantize(9).save(tmp_path / "palette.png", transparency=3)
    for name in ("deep", "clear", "palette"):
        read = read_image(tmp_path / f"{name}.png", "image 1")
        np.testing.assert_array_equal(read, read_as_in_use(tmp_path / f"{name}.png"))
        assert len(np.unique(read)) > 5


def test_a_damaged_exif_block_leaves_the_picture_as_it_is(tmp_path) -> None:
    path = _turned(tmp_path / "a.jpg")
    content = path.read_bytes()
    assert b"Exif\0\0" in content
    path.write_bytes(content.replace(b"Exif\0\0MM\0*", b"Exif\0\0MM\0\xff"))
    assert read_image(path, "image 1").shape == (20, 30, 3)


def test_pictures_of_a_folder_are_listed_by_name(tmp_path) -> None:
    for name in ("b.JPG", "a.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in list_pictures(tmp_path)] == ["a.png", "b.JPG"]


@pytest.mark.parametrize(
    ("records", "named"),
    [
        ({}, "images is not a list"),
        ([{"id": 1}, 5], r"images\[1\] is not a table"),
        ([{"id": 1}, {"id": "x"}], r"images\[1\] \(id x\): field 'id' is 'x'"),
        ([{}], r"images\[0\] \(id None\): field 'id' is missing"),
    ],
)
def test_records_without_their_fields_are_named(records, named) -> None:
    with pytest.raises(InputError, match=f"a.json: {named}"):
        check_records(Path("a.json"), "images", records, {"id": int})


def test_deeply_nested_and_broken_json_is_refused(tmp_path) -> None:
    for text in ("[" * 200_000, "{", "\x00", json.dumps([1])):
        (tmp_path / "a.json").write_text(text)
        with pytest.raises(InputError, match=r"a\.json"):
            read_json(tmp_path / "a.json", ("images",))


@pytest.mark.parametrize(
    ("label", "named"),
    [
        ({}, "lacks 'bbox'"),
        ({"bbox": [1, 2, float("nan"), 4]}, "not finite"),
        ({"bbox": [1, 2, 3, 4], "segmentation": {"size": [20, 31], "counts": [620]}}, r"its mask is \[20, 31\]"),
        ({"bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 3]]}, "three points"),
    ],
)
def test_broken_labels_are_named(label, named) -> None:
    with pytest.raises(InputError, match=f"a.json: annotation 7 is broken: .*{named}"):
        decode_objects([{"id": 7, **label}], (20, 30), Path("a.json"))


def test_more_masks_than_memory_are_refused_before_they_are_made() -> None:
    with pytest.raises(InputError, match="too many for one picture"):
        decode_objects([{}] * 10_000, (10_000, 10_000), Path("a.json"))
