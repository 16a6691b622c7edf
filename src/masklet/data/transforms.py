"""Augmentation: `Example` to a square `Example`, with boxes recomputed and queries kept true.

One geometric step does everything: a window of the picture is resized into a rectangle of a square canvas. Crop, change
of aspect, padding and plain resizing are choices of window and rectangle. Masks are taken by nearest pixel, which is
fast for a hundred objects; boxes are measured before that, at full resolution.
"""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageEnhance

from masklet.data.schema import Example, PhraseQuery

# Words after which the mirror image shows something else: sides, and what is written.
SIDED_WORDS = frozenset({"left", "right", "leftmost", "rightmost", "letter", "digit", "number", "word", "text"})


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Probabilities per image; the defaults change size and place a lot and colour a little."""

    crop_probability: float = 0.4
    least_crop: float = 0.5
    pad_probability: float = 0.3
    least_scale: float = 0.5
    keep_aspect_probability: float = 0.5
    flip_probability: float = 0.5
    color_probability: float = 0.5
    color_strength: float = 0.3
    least_visible: float = 0.05


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Which window of the picture lands in which rectangle of the canvas; left, top, right, bottom in pixels."""

    window: tuple[int, int, int, int]
    rectangle: tuple[int, int, int, int]


def augment(example: Example, image_size: int, config: AugmentConfig, rng: np.random.Generator) -> Example:
    """A random square view of `image_size` pixels, with the same questions where they can still be answered."""
    height, width = example.image.shape[:2]
    placement = draw_placement(height, width, image_size, config, rng)
    moved = place(example, placement, image_size, least_visible=config.least_visible)
    if rng.random() < config.flip_probability and not any(names_a_side(query.phrase) for query in moved.queries):
        moved = flip(moved)
    return replace(moved, image=change_colors(moved.image, config, rng))


def resize_square(example: Example, image_size: int) -> Example:
    """The whole picture squeezed to a square, as at inference."""
    height, width = example.image.shape[:2]
    whole = Placement(window=(0, 0, width, height), rectangle=(0, 0, image_size, image_size))
    return place(example, whole, image_size, least_visible=0.0)


def names_a_side(phrase: str) -> bool:
    """True when mirroring the picture could change the answer."""
    return not SIDED_WORDS.isdisjoint(phrase.lower().replace("-", " ").split())


def draw_placement(
    height: int, width: int, image_size: int, config: AugmentConfig, rng: np.random.Generator
) -> Placement:
    """A random window and a random rectangle for it."""
    window_width, window_height = width, height
    if rng.random() < config.crop_probability:
        window_width = max(1, round(width * rng.uniform(config.least_crop, 1)))
        window_height = max(1, round(height * rng.uniform(config.least_crop, 1)))
    left = int(rng.integers(width - window_width + 1))
    top = int(rng.integers(height - window_height + 1))
    scale = rng.uniform(config.least_scale, 1) if rng.random() < config.pad_probability else 1.0
    shape = np.array([scale, scale])
    if rng.random() < config.keep_aspect_probability:
        shape *= np.array([window_width, window_height]) / max(window_width, window_height)
    placed_width, placed_height = np.maximum(1, np.round(shape * image_size)).astype(int).tolist()
    x = int(rng.integers(image_size - placed_width + 1))
    y = int(rng.integers(image_size - placed_height + 1))
    return Placement(
        window=(left, top, left + window_width, top + window_height),
        rectangle=(x, y, x + placed_width, y + placed_height),
    )


def place(example: Example, placement: Placement, image_size: int, *, least_visible: float) -> Example:
    """The example seen through a placement. Objects out of sight are dropped.

    An object of which less than `least_visible` remains is dropped too; what asked for it is then no longer labelled in
    full, and is dropped itself if nothing else answers it, for it would be a false negative.
    """
    boxes, visible = _place_boxes(example, placement)
    kept = visible > max(least_visible, 0.0)
    slivers = (visible > 0) & ~kept
    masks = np.zeros((int(kept.sum()), image_size, image_size), bool)
    left, top, right, bottom = placement.rectangle
    columns, rows = _sources(placement, axis=0), _sources(placement, axis=1)
    masks[:, top:bottom, left:right] = example.masks[kept][:, rows[:, None], columns[None]]
    for row in np.flatnonzero(example.mask_valid[kept] & ~masks.any(axis=(1, 2))):
        # thinner than a pixel, and missed: it fills its box
        x0, y0 = np.floor(boxes[kept][row][:2]).astype(int)
        x1, y1 = np.ceil(boxes[kept][row][2:]).astype(int)
        masks[row, y0:y1, x0:x1] = True
    return Example(
        image=_place_image(example.image, placement, image_size),
        boxes_xyxy=boxes[kept].astype(np.float32),
        masks=masks,
        mask_valid=example.mask_valid[kept],
        queries=_keep_true(example.queries, kept, slivers),
        source=example.source,
    )


def _sources(placement: Placement, axis: int) -> np.ndarray:
    """Source pixel of each pixel of the rectangle, along x (0) or y (1)."""
    low, high = placement.window[axis], placement.window[axis + 2]
    count = placement.rectangle[axis + 2] - placement.rectangle[axis]
    return low + ((np.arange(count) + 0.5) * (high - low) / count).astype(int)


def _place_image(image: np.ndarray, placement: Placement, image_size: int) -> np.ndarray:
    left, top, right, bottom = placement.rectangle
    view = Image.fromarray(image).resize(
        (right - left, bottom - top), Image.Resampling.BILINEAR, box=placement.window, reducing_gap=2.0
    )
    canvas = np.zeros((image_size, image_size, 3), np.uint8)
    canvas[top:bottom, left:right] = np.asarray(view)
    return canvas


def _place_boxes(example: Example, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Boxes on the canvas, and the share of each object (of its mask, or of its box) that is in the window."""
    left, top, right, bottom = placement.window
    window = np.array([left, top, right, bottom], np.float64)
    clipped = np.clip(example.boxes_xyxy.astype(np.float64), window[[0, 1, 0, 1]], window[[2, 3, 2, 3]])
    visible = _areas(clipped) / np.maximum(_areas(example.boxes_xyxy), 1e-9)
    for row in np.flatnonzero(example.mask_valid):
        inside = example.masks[row, top:bottom, left:right]
        columns, rows = np.flatnonzero(inside.any(axis=0)), np.flatnonzero(inside.any(axis=1))
        if columns.size == 0:
            visible[row] = 0.0
            continue
        clipped[row] = [left + columns[0], top + rows[0], left + columns[-1] + 1, top + rows[-1] + 1]
        visible[row] = inside.sum() / example.masks[row].sum()
    rectangle = np.array(placement.rectangle, np.float64)
    scale = (rectangle[2:] - rectangle[:2]) / (window[2:] - window[:2])
    moved = (clipped.reshape(-1, 2, 2) - window[:2]) * scale + rectangle[:2]
    return moved.reshape(-1, 4), visible


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def _keep_true(queries: tuple[PhraseQuery, ...], kept: np.ndarray, slivers: np.ndarray) -> tuple[PhraseQuery, ...]:
    new_index = np.cumsum(kept) - 1
    result = []
    for query in queries:
        answers = tuple(int(new_index[i]) for i in query.object_index if kept[i])
        exhaustive = query.exhaustive and not any(slivers[i] for i in query.object_index)
        if answers or not query.object_index or exhaustive:
            result.append(PhraseQuery(phrase=query.phrase, object_index=answers, exhaustive=exhaustive))
    return tuple(result)


def flip(example: Example) -> Example:
    """The mirror image."""
    width = example.image.shape[1]
    boxes = example.boxes_xyxy.copy()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return replace(
        example,
        image=np.ascontiguousarray(example.image[:, ::-1]),
        boxes_xyxy=boxes,
        masks=np.ascontiguousarray(example.masks[:, :, ::-1]),
    )


def change_colors(image: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and saturation by random factors.

    Hue stays: phrases name colours.
    """
    factors = 1 + rng.uniform(-config.color_strength, config.color_strength, 3)
    if rng.random() >= config.color_probability:
        return image
    picture = Image.fromarray(image)
    for enhance, factor in zip(
        (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), factors, strict=True
    ):
        picture = enhance(picture).enhance(float(factor))
    return np.asarray(picture)
