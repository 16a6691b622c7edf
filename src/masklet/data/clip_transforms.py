"""Augmentation of clips: what is the same for all frames of a clip, and what flickers from frame to frame.

Generated clips move by themselves and need none. Masks are taken by nearest pixel, and boxes are measured from them.

Source: Ravi et al., SAM 2, and the released training code of both models (kinds and strengths).
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64
from PIL import Image

from masklet.data.schema import Clip, Example
from masklet.data.transforms import Placement, enhance, place_image, place_masks
from masklet.ops.masks import mask_to_box

AFFINE_TRIES = 10
MOSAIC_CELLS = 2  # a side


@dataclass(frozen=True, kw_only=True)
class ClipAugmentConfig:
    """Probabilities per clip, and strengths as published. How often clips are mirrored or run backwards is not: half.

    `degrees` and `shear` (sideways, in degrees, too) bound the turn of the whole clip. `color` bounds how far
    brightness, contrast and saturation are from 1 in the whole clip, `flicker` in each frame. In a mosaic the clip
    stands four times, each a quarter as large, and the objects are those of one of them: the others look alike, and
    are not meant.
    """

    flip_probability: float = 0.5
    reverse_probability: float = 0.5
    degrees: float = 25.0
    shear: float = 20.0
    color: tuple[float, float, float] = (0.1, 0.03, 0.03)
    grey_probability: float = 0.05
    flicker: tuple[float, float, float] = (0.1, 0.05, 0.05)
    mosaic_probability: float = 0.15


def augment_clip(clip: Clip, config: ClipAugmentConfig, rng: np.random.Generator) -> Clip:
    """A random view of a clip of square frames; no phrases are asked of it.

    An object that the first frame showed may be gone from it afterwards where it was tiny, or the clip ran backwards.
    """
    frames = clip.frames[::-1] if rng.random() < config.reverse_probability else clip.frames
    if rng.random() < config.flip_probability:
        frames = tuple(with_masks(frame, frame.image[:, ::-1], frame.masks[:, :, ::-1]) for frame in frames)
    frames = _turned(frames, config, rng)
    if rng.random() < config.mosaic_probability:
        cell = int(rng.integers(MOSAIC_CELLS**2))
        frames = tuple(_tiled(frame, cell) for frame in frames)
    factors, grey = _factors(config.color, rng), rng.random() < config.grey_probability
    coloured = []
    for frame in frames:
        image = enhance(Image.fromarray(frame.image), factors)
        image = enhance(image.convert("L").convert("RGB") if grey else image, _factors(config.flicker, rng))
        coloured.append(replace(frame, image=np.asarray(image)))
    return Clip(frames=tuple(coloured))


def random_affine(size: int, config: ClipAugmentConfig, rng: np.random.Generator) -> Float64[np.ndarray, "2 3"]:
    """Where each pixel of the result comes from, as x y of the source: a turn and a shear about the middle."""
    angle, slant = np.radians([rng.uniform(-config.degrees, config.degrees), rng.uniform(-config.shear, config.shear)])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = np.linalg.inv(turn @ np.array([[1.0, np.tan(slant)], [0.0, 1.0]]))
    middle = np.full(2, size / 2)
    return np.column_stack([linear, middle - linear @ middle])


def _turned(frames: tuple[Example, ...], config: ClipAugmentConfig, rng: np.random.Generator) -> tuple[Example, ...]:
    """All frames turned and sheared alike; drawn again while that loses an object of the first frame, or left alone."""
    if config.degrees == 0 and config.shear == 0:
        return frames
    size = frames[0].image.shape[0]
    before = frames[0].masks.any(axis=(1, 2))
    for _ in range(AFFINE_TRIES):
        affine = random_affine(size, config, rng)
        if np.array_equal(_turn_masks(frames[0].masks, affine).any(axis=(1, 2)), before):
            images = [
                Image.fromarray(frame.image).transform(
                    (size, size), Image.Transform.AFFINE, affine.ravel().tolist(), Image.Resampling.BILINEAR
                )
                for frame in frames
            ]
            return tuple(
                with_masks(frame, np.asarray(image), _turn_masks(frame.masks, affine))
                for frame, image in zip(frames, images, strict=True)
            )
    return frames


def _turn_masks(
    masks: Bool[np.ndarray, "object height width"], affine: np.ndarray
) -> Bool[np.ndarray, "object height width"]:
    """By nearest pixel; nothing comes from outside."""
    height, width = masks.shape[1:]
    y, x = np.mgrid[:height, :width] + 0.5
    columns = np.floor(affine[0, 0] * x + affine[0, 1] * y + affine[0, 2]).astype(np.int64)
    rows = np.floor(affine[1, 0] * x + affine[1, 1] * y + affine[1, 2]).astype(np.int64)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    return masks[:, np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)] & inside


def _tiled(frame: Example, cell: int) -> Example:
    """The frame in every cell of a grid, its objects in one of them alone."""
    size = frame.image.shape[0]
    edges = [round(index * size / MOSAIC_CELLS) for index in range(MOSAIC_CELLS + 1)]
    placements = [
        Placement(window=(0, 0, size, size), rectangle=(edges[x], edges[y], edges[x + 1], edges[y + 1]))
        for y in range(MOSAIC_CELLS)
        for x in range(MOSAIC_CELLS)
    ]
    tiles = [place_image(frame.image, placement, size) for placement in placements]
    return with_masks(frame, np.max(tiles, axis=0), place_masks(frame.masks, placements[cell], size))


def _factors(strengths: tuple[float, float, float], rng: np.random.Generator) -> tuple[float, float, float]:
    brightness, contrast, saturation = (1 + rng.uniform(-1, 1, 3) * np.array(strengths)).tolist()
    return brightness, contrast, saturation


def with_masks(frame: Example, image: np.ndarray, masks: np.ndarray) -> Example:
    """The frame with another image and other masks of the same objects; no phrases are asked of it."""
    masks = np.ascontiguousarray(masks)
    return replace(
        frame,
        image=np.ascontiguousarray(image),
        boxes_xyxy=boxes_of(masks),
        masks=masks,
        mask_valid=np.atleast_1d(masks.any(axis=(1, 2))),
        queries=(),
    )


def boxes_of(masks: Bool[np.ndarray, "object height width"]) -> np.ndarray:
    """Boxes xyxy; zeros for an empty mask."""
    return np.array([mask_to_box(mask) or (0, 0, 0, 0) for mask in masks], np.float32).reshape(-1, 4)
