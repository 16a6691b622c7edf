"""Every format of the tables is written, read back by the reader of its layout where there is one, and documented."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from frame_results import make
from PIL import Image
from test_video_export import at, write

from masklet.cli.arguments import parse_formats
from masklet.errors import InputError
from masklet.formats.coco import read_coco
from masklet.formats.mask_folders import split_instances
from masklet.formats.records import decode_mask
from masklet.formats.yolo import read_labels
from masklet.formats.ytvis import read_ytvis
from masklet.inference.output.registry import (
    IMAGE_FORMATS,
    VIDEO_FORMATS,
    ImageOutput,
    export,
    write_image_formats,
)
from masklet.media.images import read_numbers
from masklet.media.video_source import open_frames
from masklet.ops.masks import polygons_to_mask

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
SIZE = (40, 60)


def coco_masks(folder: Path) -> list[np.ndarray]:
    return [decode_mask(each.segmentation, SIZE) for each in read_coco(folder / "a.coco.json").annotations]


def yolo_masks(folder: Path) -> list[np.ndarray]:
    names = dict(enumerate((folder / "classes.txt").read_text().split()))
    objects = read_labels(folder / "a.txt", names)
    assert [each.phrase for each in objects] == ["cat", "cat"]
    return [polygons_to_mask([each.points * [SIZE[1], SIZE[0]]], *SIZE) for each in objects]


def png_masks(folder: Path) -> list[np.ndarray]:
    paths = sorted((folder / "a.masks").iterdir())
    return [split_instances(read_numbers(path), SIZE, path)[0] for path in paths]


READERS: dict[str, Callable[[Path], list[np.ndarray]] | None] = {
    "overlay": None,
    "json": None,
    "coco": coco_masks,
    "yolo": yolo_masks,
    "png": png_masks,
}


@pytest.mark.parametrize("name", IMAGE_FORMATS)
def test_every_format_of_images_is_written_read_back_and_documented(result, tmp_path, name) -> None:
    paths = write_image_formats(result, [name], ImageOutput(folder=tmp_path, stem="a"))
    assert paths
    assert all(path.exists() for path in paths)
    read = READERS[name]
    if read is not None:
        for found, mask in zip(read(tmp_path), result.masks, strict=True):
            assert (found ^ mask).mean() < 0.01
    assert name in README


def test_the_overlay_comes_first_whatever_was_asked_first(result, tmp_path) -> None:
    paths = write_image_formats(result, ["png", "coco", "overlay"], ImageOutput(folder=tmp_path, stem="b.c"))
    assert [path.name for path in paths] == ["b.c.overlay.png", "b.c.coco.json", "001-cat.png", "002-cat.png"]


@pytest.mark.parametrize("name", VIDEO_FORMATS)
def test_every_format_of_videos_is_made_from_a_journal_and_documented(tmp_path, name) -> None:
    results = [make([at(0), at(20)], [0.5, 0.6], index=index) for index in range(2)]
    journal = tmp_path / "frames.jsonl"
    write(journal, results)
    height, width = results[0].size
    with open_frames([Image.new("RGB", (width, height), "grey")] * 2) as source:
        paths = export(journal, tmp_path, [name], source)
    assert bool(paths) == (name != "json"), "the journal itself is there already"
    assert all(path.exists() for path in paths)
    if name == "ytvis":
        assert [each.video_id for each in read_ytvis(paths[0]).annotations] == [1, 1]
    assert name in README


def test_formats_are_names_of_the_table() -> None:
    assert parse_formats(" json, coco,json", IMAGE_FORMATS) == ("json", "coco")
    with pytest.raises(InputError, match="unknown format 'jpeg': choose from overlay, json, coco, yolo, png"):
        parse_formats("jpeg", IMAGE_FORMATS)
    assert parse_formats("", VIDEO_FORMATS) == ()
