"""Marks on images: what they cover, where tags go, and colours that can be told apart."""

import numpy as np
import pytest
from PIL import Image

from masklet.render.legends import LegendEntry, with_legend
from masklet.render.marks import FILL_OPACITY, paint_mask
from masklet.render.palettes import instance_colours, object_colour, text_colour
from masklet.render.tags import TagRequest, load_font, place_tags


def test_a_mask_is_filled_inside_and_opaque_along_its_outline() -> None:
    canvas, mask = Image.new("RGB", (20, 20)), np.zeros((20, 20), dtype=bool)
    mask[5:15, 4:16] = True
    paint_mask(canvas, mask, (200, 100, 50), thickness=2)
    pixels = np.asarray(canvas)
    assert (pixels[~mask] == 0).all()
    assert (pixels[5:7, 4:16] == (200, 100, 50)).all()
    np.testing.assert_allclose(pixels[7:13, 6:14], np.broadcast_to([200, 100, 50], (6, 8, 3)) * FILL_OPACITY, atol=1)
    paint_mask(canvas, np.zeros((20, 20), dtype=bool), (9, 9, 9), thickness=2)
    assert (np.asarray(canvas) == pixels).all()


def test_tags_stay_in_the_image_and_seldom_overlap() -> None:
    random = np.random.default_rng(0)
    corners, sizes = random.uniform(-40, 840, (30, 2)), random.uniform(8, 168, (30, 2))
    requests = [
        TagRequest((f"rather long phrase 0.{row:02d}", f"0.{row:02d}", f"#{row}"), (*low, *(low + size)), (0, 0, 0))
        for row, (low, size) in enumerate(zip(corners, sizes, strict=True))
    ]
    boxes = np.array([tag.box for tag in place_tags(requests, load_font(14.0), (800, 800))])
    assert boxes.min() >= 0
    assert boxes.max() <= 800
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlaps = (high - low).clip(0).prod(-1)
    np.fill_diagonal(overlaps, 0)
    assert overlaps.sum() / 2 < 0.05 * (boxes[:, 2:] - boxes[:, :2]).prod(-1).sum()


def test_a_tag_is_as_long_as_its_object_has_room_for() -> None:
    texts = ("a long phrase 0.90", "0.90", "#1")
    wide, narrow = ((0.0, 0.0, width, 40.0) for width in (300.0, 8.0))
    tags = place_tags([TagRequest(texts, box, (0, 0, 0)) for box in (wide, narrow)], load_font(12.0), (400, 300))
    assert [tag.text for tag in tags] == ["a long phrase 0.90", "#1"]


@pytest.mark.parametrize("families", [1, 3])
def test_instances_of_a_phrase_differ_in_colour(families: int) -> None:
    assert len(set(instance_colours([row % families for row in range(12)], families))) == 12
    assert len({object_colour(object_id) for object_id in range(12)}) == 12


def test_tag_text_stands_out() -> None:
    assert text_colour((255, 255, 0)) == (0, 0, 0)
    assert text_colour((0, 0, 120)) == (255, 255, 255)


def test_a_legend_grows_with_its_entries() -> None:
    canvas, font = Image.new("RGB", (200, 50)), load_font(12.0)
    heights = [with_legend(canvas, [LegendEntry("some phrase 3", (9, 9, 9))] * count, font).height for count in (1, 6)]
    assert 50 < heights[0] < heights[1]
    with_legend(canvas, [LegendEntry("cat: absent", None)], font)
