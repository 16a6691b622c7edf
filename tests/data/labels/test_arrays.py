"""Labelled objects become boxes and masks, images are read as records state them, and what is broken is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.labels.arrays import ObjectLabel, decode_objects, read_example
from masklet.errors import InputError
from masklet.formats.records import Polygons, RunLengths

SIZE = (20, 30)


def label(segmentation: RunLengths | Polygons | None, box: list[float] | None = None) -> ObjectLabel:
    return ObjectLabel(record="annotation 7", box_xywh=box, segmentation=segmentation)


def test_a_box_that_is_left_out_is_that_of_the_mask() -> None:
    square = [[2.0, 3.0, 12.0, 3.0, 12.0, 8.0, 2.0, 8.0]]
    boxes, masks, valid = decode_objects(
        [label(square), label(square, [1, 1, 5, 5]), label(None)], SIZE, Path("a.json")
    )
    assert boxes.tolist() == [[2, 3, 12, 8], [1, 1, 6, 6], [0, 0, 0, 0]]
    assert masks.sum(axis=(1, 2)).tolist() == [50, 50, 0]
    assert valid.tolist() == [True, True, False]


@pytest.mark.parametrize("counts", ["", []])
def test_counts_without_runs_are_no_mask(counts) -> None:
    _, _, valid = decode_objects([label(RunLengths(size=[20, 30], counts=counts))], SIZE, Path("a.json"))
    assert valid.tolist() == [False]


@pytest.mark.parametrize(
    ("segmentation", "named"),
    [
        (RunLengths(size=[20, 31], counts=[620]), r"size is \[20, 31\], the image is \[20, 30\]"),
        (RunLengths(size=[20, 30], counts="zz"), ""),
        ([[1.0, 2.0, 3.0]], "three points"),
    ],
)
def test_broken_masks_are_named(segmentation, named) -> None:
    with pytest.raises(InputError, match=rf"a\.json: annotation 7: segmentation: .*{named}"):
        decode_objects([label(segmentation)], SIZE, Path("a.json"))


def test_more_masks_than_memory_are_refused_before_they_are_made() -> None:
    with pytest.raises(InputError, match="too many for one image"):
        decode_objects([label(None)] * 10_000, (10_000, 10_000), Path("a.json"))


def test_an_image_that_cannot_be_used_is_named_with_its_record(tmp_path) -> None:
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "a.png")
    for name, size, message in (
        ("a.png", (8, 9), r"has 30 x 20 pixels, and its labels state 9 x 8"),
        ("b.png", SIZE, "no such file"),
        ("../a.png", SIZE, "leads out"),
        (None, SIZE, "file_name: is missing"),
    ):
        with pytest.raises(InputError, match=rf"labels\.json: image 3: .*{message}"):
            read_example(tmp_path, name, size, [], Path("labels.json"), "image 3")
