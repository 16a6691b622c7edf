"""Images of which single objects are pointed at, by a click or a box: the training data of click queries.

Nothing is named, so any image with masks will do. Corrections follow in training, as they depend on predictions.

Source: SAM 3 paper, appendix (training, stages 2 and 3); Ravi et al., SAM 2 (how objects are pointed at).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32

from masklet.data.collate import (
    CollateConfig,
    Dressed,
    Encoder,
    TrainingBatch,
    assemble,
    jitter_boxes,
    normalised_boxes,
)
from masklet.data.schema import Example
from masklet.types import bundle

POINTED_PHRASE = "geometric"  # the published name of a prompt without words that means one object


@dataclass(frozen=True, kw_only=True)
class ClicksConfig:
    """How often and how single objects are pointed at.

    A `share` of the updates learns from nothing else; it is not published. Up to `objects` of an image are pointed at,
    a `box_share` of them by a box, the others by a click inside, and `steps` corrections follow: 4 in the paper's
    second stage, 7 in its third. `weights` say how often each source is drawn, as those of the phase do, whose are
    taken where there are none.
    """

    share: float = 0.0
    steps: int = 4
    objects: int = 8
    box_share: float = 0.5
    weights: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (0 <= self.share <= 1 and 0 <= self.box_share <= 1):
            raise ValueError("share and box_share of clicks are between 0 and 1")
        if self.steps < 0 or self.objects < 1:
            raise ValueError("clicks have at least 0 steps and 1 object")


@bundle
class PointedBatch(TrainingBatch):
    """A batch whose prompts mean one object each: target i is that of prompt i."""


def collate_pointed(
    examples: Sequence[Example],
    tokenizer: Encoder,
    collate: CollateConfig,
    config: ClicksConfig,
    rng: np.random.Generator,
) -> PointedBatch:
    """A batch of objects pointed at. Which, and how, is decided by `rng`.

    Raises: ValueError when the examples are not square images of one size.
    """
    asked = [point_at_objects(example, collate, config, rng) for example in examples]
    batch = assemble(examples, asked, tokenizer, collate)
    return PointedBatch(images=batch.images, prompts=batch.prompts, targets=batch.targets)


def point_at_objects(
    example: Example, collate: CollateConfig, config: ClicksConfig, rng: np.random.Generator
) -> list[Dressed]:
    """Some objects that have a mask, each with its box, moved a little, or a random pixel of it."""
    boxes = normalised_boxes(example)
    there = np.flatnonzero(example.mask_valid & example.masks.any(axis=(1, 2)))
    prompts = []
    for index in rng.permutation(there)[: config.objects].tolist():
        by_box = rng.random() < config.box_share
        shown = jitter_boxes(boxes[[index]], collate, rng) if by_box else np.zeros((0, 4), np.float32)
        points = np.zeros((0, 2), np.float32) if by_box else click_inside(example.masks[index], rng)
        prompts.append(
            Dressed(
                phrase=POINTED_PHRASE,
                object_index=(index,),
                exhaustive=True,
                boxes=shown,
                labels=np.ones(len(shown), np.int64),
                points=points,
            )
        )
    return prompts


def click_inside(mask: Bool[np.ndarray, "height width"], rng: np.random.Generator) -> Float32[np.ndarray, "1 2"]:
    """The centre of a pixel of the object, x y in fractions of the image, all of them equally likely."""
    pixels = np.argwhere(mask)
    row, column = pixels[int(rng.integers(len(pixels)))]
    return np.array([[(column + 0.5) / mask.shape[1], (row + 0.5) / mask.shape[0]]], np.float32)
