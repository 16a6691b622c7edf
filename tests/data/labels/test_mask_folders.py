"""Masks as plain pictures: numbers are instances, a missing mask is an absent phrase, and wrong pictures are named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.labels.mask_folders import MaskFolderSource
from masklet.data.sources import QueryConfig
from masklet.errors import InputError


def numbers(**instances: tuple[int, int]) -> np.ndarray:
    """A picture of 20 x 30 with vertical bars: `name_value=(first, last column)`."""
    pixels = np.zeros((20, 30), np.uint8)
    for name, (first, last) in instances.items():
        pixels[5:10, first:last] = int(name.removeprefix("n"))
    return pixels


def write(folder: Path) -> Path:
    for place in ("images", "masks/coffee mug", "masks/plate", "masks/pig"):
        (folder / place).mkdir(parents=True, exist_ok=True)
    for name in ("a.jpg", "b.png"):
        Image.new("RGB", (30, 20)).save(folder / "images" / name)
    Image.fromarray(numbers(n1=(2, 6), n3=(10, 15))).save(folder / "masks/coffee mug/a.png")
    Image.fromarray(numbers(n255=(20, 28))).save(folder / "masks/plate/a.png")
    Image.fromarray(numbers()).save(folder / "masks/pig/a.png")
    return folder


def open_folder(folder: Path, **changes) -> MaskFolderSource:
    return MaskFolderSource(folder, QueryConfig(**{"split": "all", **changes}))


def asked(source: MaskFolderSource, index: int) -> dict[str, tuple[tuple[int, ...], bool]]:
    queries = source.example(index, np.random.default_rng(0)).queries
    return {query.phrase: (query.object_index, query.exhaustive) for query in queries}


def test_values_are_instances_and_boxes_fit_them(tmp_path) -> None:
    source = open_folder(write(tmp_path))
    example = source.example(0, np.random.default_rng(0))
    np.testing.assert_array_equal(example.boxes_xyxy, [[2, 5, 6, 10], [10, 5, 15, 10], [20, 5, 28, 10]])
    np.testing.assert_array_equal(example.masks[1], numbers(n1=(10, 15)) > 0)
    assert example.mask_valid.all()
    assert asked(source, 0) == {"coffee mug": ((0, 1), True), "plate": ((2,), True), "pig": ((), True)}


def test_a_missing_mask_is_an_absent_phrase_only_where_labels_are_complete(tmp_path) -> None:
    assert asked(open_folder(write(tmp_path)), 1) == {name: ((), True) for name in ("coffee mug", "plate", "pig")}
    partial = open_folder(tmp_path, complete=False)
    assert asked(partial, 1) == {}
    assert asked(partial, 0) == {"coffee mug": ((0, 1), False), "plate": ((2,), False), "pig": ((), True)}


def test_palettes_and_wide_numbers_are_read_as_numbers(tmp_path) -> None:
    write(tmp_path)
    indexed = Image.fromarray(numbers(n2=(2, 6)), "P")
    indexed.putpalette([0, 0, 0, 9, 9, 9, 200, 0, 0])
    indexed.save(tmp_path / "masks/coffee mug/a.png")
    Image.fromarray(numbers(n2=(2, 6)).astype(np.uint16) * 300).save(tmp_path / "masks/plate/a.png")
    example = open_folder(tmp_path).example(0, np.random.default_rng(0))
    np.testing.assert_array_equal(example.boxes_xyxy, [[2, 5, 6, 10]] * 2)


def test_wrong_masks_are_named(tmp_path) -> None:
    path = write(tmp_path) / "masks/plate/a.png"
    source = open_folder(tmp_path)

    def message() -> str:
        with pytest.raises(InputError) as caught:
            source.example(0, np.random.default_rng(0))
        return str(caught.value)

    Image.new("L", (31, 20)).save(path)
    assert message() == f"{path}: the mask has 31 x 20 pixels, its image 30 x 20"
    Image.new("RGB", (30, 20)).save(path)
    assert "one whole number for each pixel is expected, this file has colours (RGB)" in message()
    Image.fromarray(np.linspace(0, 255, 600).astype(np.uint8).reshape(20, 30)).save(path)
    assert "must not be smoothed" in message()
    Image.fromarray((np.arange(600) * 5 + 3000).astype(np.uint16).reshape(20, 30)).save(path)
    source.example(0, np.random.default_rng(0))  # 600 instances are many, and possible
    path.write_bytes(b"no picture")
    assert message() == f"{path} is not an image, or of a kind that cannot be read"
    (tmp_path / "images/a.jpg").write_bytes(b"no picture")
    assert "a.jpg is not an image" in message()


def test_wrong_folders_are_named(tmp_path) -> None:
    write(tmp_path)
    Image.new("RGB", (30, 20)).save(tmp_path / "images/a.png")
    with pytest.raises(InputError, match="differ in their ending"):
        open_folder(tmp_path)
    for mask in tmp_path.glob("masks/*/*.png"):
        mask.unlink()
    (tmp_path / "images/a.png").unlink()
    with pytest.raises(InputError, match=r"no mask at PHRASE/NAME\.png"):
        open_folder(tmp_path)
    with pytest.raises(InputError, match="images is not a folder"):
        open_folder(tmp_path / "masks")
