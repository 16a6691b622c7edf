from dataclasses import replace

import numpy as np
import torch
from frame_results import make, rectangle

from masklet.inference.image.image_result import ImageResult
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


def test_a_image_smaller_than_its_tags_is_drawn():
    crowd(3, side=2).plot()
    crowd(3, phrases=3, side=60).plot(scale=1)


def test_a_clicked_object_bears_no_phrase_in_a_video():
    mask, image = rectangle((300, 400), 100, 100, 300, 250), np.zeros((300, 400, 3), dtype=np.uint8)
    dog, thing = (make([mask], [0.9], concepts=[name]) for name in ("dog", "object"))
    clicked = replace(dog, clicked=frozenset({1}))
    assert np.array_equal(clicked.plot(image), thing.plot(image))
    assert not np.array_equal(clicked.plot(image), dog.plot(image))
