import numpy as np
import pytest
import torch
from PIL import ImageFont

from masklet.inference.image.image_result import ImageResult
from masklet.inference.output.draw import instance_colours, place_tags, text_colour
from masklet.types import Detections


def crowd(count, phrases=1, side=400):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator) * side * 1.1 - 20
    size = torch.rand(count, 2, generator=generator) * 80 + 4
    detections = Detections(
        boxes_xyxy=torch.cat([corner, corner + size], dim=1),
        scores=torch.linspace(0.99, 0.5, count),
        mask_logits=torch.zeros(count, 8, 8),
        prompt_index=torch.arange(count) % phrases,
        presence=torch.ones(phrases),
    )
    names = tuple(f"rather long phrase {index}" for index in range(phrases))
    return ImageResult(image=np.zeros((side, side, 3), np.uint8), detections=detections, queries=names)


def test_tags_stay_in_the_picture_and_seldom_overlap():
    result = crowd(30)
    tags = place_tags(result, instance_colours(result), ImageFont.load_default(14), (800, 800), 2)
    boxes = np.array([tag.box for tag in tags])
    assert boxes.min() >= 0
    assert boxes.max() <= 800
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    overlaps = (high - low).clip(0).prod(-1)
    np.fill_diagonal(overlaps, 0)
    assert overlaps.sum() / 2 < 0.05 * (boxes[:, 2:] - boxes[:, :2]).prod(-1).sum()


@pytest.mark.parametrize("phrases", [1, 3])
def test_instances_of_a_phrase_differ_in_colour(phrases):
    colours = instance_colours(crowd(12, phrases))
    assert len(set(colours)) == 12


def test_tag_text_stands_out():
    assert text_colour((255, 255, 0)) == (0, 0, 0)
    assert text_colour((0, 0, 120)) == (255, 255, 255)


def test_a_picture_smaller_than_its_tags_is_drawn():
    crowd(3, side=2).plot()
    crowd(3, phrases=3, side=60).plot(scale=1)
