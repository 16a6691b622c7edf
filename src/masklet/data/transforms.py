"""Augmentation: `Example` to a square `Example`, with boxes recomputed and queries kept true.

One geometric step does everything: a window of the image is resized into a rectangle of a square canvas. Crop, change
of aspect, padding and plain resizing are choices of window and rectangle. Masks are taken by nearest pixel, which is
fast for a hundred objects; boxes are measured before that, at full resolution.
"""

import re
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageEnhance

from masklet.data.schema import Example, PhraseQuery
from masklet.media.images import resize_window

MIRRORED_WORDS = {"left": "right", "right": "left", "leftmost": "rightmost", "rightmost": "leftmost"}
# Words after which the mirror image shows something that has no name: what is written, and which way it turns.
UNMIRRORED_WORDS = frozenset(
    {"letter", "digit", "number", "word", "text", "logo", "clockwise", "counterclockwise", "anticlockwise"}
)
LEAST_WINDOW_OF_LABEL = 0.6  # of an image, for what it is labelled with as a whole to be still in sight
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """Probabilities per image; the defaults change size and place a lot and colour a little.

    Published is that images are cropped, change their aspect, are padded at a random place, mirrored unless sides are
    named, and put into mosaics; how often is not, but for fine-tuning, where all are squashed to 480 ... 992 of 1008
    pixels and padded: `pad_probability=1, least_scale=0.476`, and 0 for the other probabilities. Hence:

    - crop, aspect: in 4 of 10 images, and half of them squashed, as at inference, half not: the parts of a model that
      is small or new see whole images often enough and small things large now and then.
    - `least_scale` as published; `pad_probability` 0.3, because a padded image wastes tokens on black.
    - colour: not in the published list; weak, and hue never, because phrases name colours.
    - `least_visible`: what a crop leaves less of is a sliver that annotators would not have labelled.
    - `mosaic_probability`: 0, because every tile costs another image to read; SAM 2 used 0.1 on videos.
    """

    crop_probability: float = 0.4
    least_crop: float = 0.5
    pad_probability: float = 0.3
    least_scale: float = 480 / 1008
    keep_aspect_probability: float = 0.5
    flip_probability: float = 0.5
    color_probability: float = 0.5
    color_strength: float = 0.3
    least_visible: float = 0.05
    mosaic_probability: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Which window of the image lands in which rectangle of the canvas; left, top, right, bottom in pixels."""

    window: tuple[int, int, int, int]
    rectangle: tuple[int, int, int, int]


def augment(example: Example, image_size: int, config: AugmentConfig, rng: np.random.Generator) -> Example:
    """A random square view of `image_size` pixels, with the same queries where they are still true."""
    height, width = example.image.shape[:2]
    placement = draw_placement(height, width, image_size, config, rng)
    moved = place(example, placement, image_size, least_visible=config.least_visible)
    if rng.random() < config.flip_probability and not any(must_not_flip(query.phrase) for query in moved.queries):
        moved = flip(moved)
    return replace(moved, image=change_colors(moved.image, config, rng))


def must_not_flip(phrase: str) -> bool:
    """True when no phrase says what the mirror image shows."""
    return not UNMIRRORED_WORDS.isdisjoint(_WORD.findall(phrase.lower()))


def names_a_side(phrase: str) -> bool:
    """True when the phrase means a side of the image, or of a thing."""
    return not MIRRORED_WORDS.keys().isdisjoint(_WORD.findall(phrase.lower()))


def mirror_phrase(phrase: str) -> str:
    """What the phrase is called in the mirror image: left and right change places, capitals stay."""

    def swap(match: re.Match[str]) -> str:
        word = match.group()
        other = MIRRORED_WORDS.get(word.lower(), word)
        return other.capitalize() if word[0].isupper() and other != word else other

    return _WORD.sub(swap, phrase)


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

    An object of which less than `least_visible` remains is dropped too, and so is one that has no place in the image,
    by a broken label; a query for it is then no longer labelled in full, and is dropped itself if it has no
    other object, for it would be a false negative.
    """
    boxes, visible = _place_boxes(example, placement)
    kept = visible > max(least_visible, 0.0)
    height, width = example.image.shape[:2]
    has_no_place = ~example.mask_valid & (areas_of(np.clip(example.boxes_xyxy, 0, [width, height] * 2)) == 0)
    slivers = ((visible > 0) & ~kept) | has_no_place
    masks = place_masks(example.masks[kept], placement, image_size)
    for row in np.flatnonzero(example.mask_valid[kept] & ~masks.any(axis=(1, 2))):
        # thinner than a pixel, and missed: it fills its box
        x0, y0 = np.floor(boxes[kept][row][:2]).astype(int)
        x1, y1 = np.ceil(boxes[kept][row][2:]).astype(int)
        masks[row, y0:y1, x0:x1] = True
    return replace(
        example,
        image=place_image(example.image, placement, image_size),
        boxes_xyxy=boxes[kept].astype(np.float32),
        masks=masks,
        mask_valid=example.mask_valid[kept],
        queries=_keep_true(_still_shown(example, placement), kept, slivers),
    )


def place_masks(
    masks: Bool[np.ndarray, "object height width"], placement: Placement, image_size: int
) -> Bool[np.ndarray, "object side side"]:
    """The masks seen through a placement, by nearest pixel; empty where nothing of them is in the window."""
    placed = np.zeros((len(masks), image_size, image_size), bool)
    left, top, right, bottom = placement.rectangle
    columns, rows = _sources(placement, axis=0), _sources(placement, axis=1)
    placed[:, top:bottom, left:right] = masks[:, rows[:, None], columns[None]]
    return placed


def _sources(placement: Placement, axis: int) -> np.ndarray:
    """Source pixel of each pixel of the rectangle, along x (0) or y (1)."""
    low, high = placement.window[axis], placement.window[axis + 2]
    count = placement.rectangle[axis + 2] - placement.rectangle[axis]
    return low + ((np.arange(count) + 0.5) * (high - low) / count).astype(int)


def place_image(
    image: UInt8[np.ndarray, "height width 3"], placement: Placement, image_size: int
) -> UInt8[np.ndarray, "side side 3"]:
    """The image seen through a placement, on black."""
    left, top, right, bottom = placement.rectangle
    canvas = np.zeros((image_size, image_size, 3), np.uint8)
    canvas[top:bottom, left:right] = resize_window(image, placement.window, (right - left, bottom - top))
    return canvas


def _place_boxes(example: Example, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Boxes on the canvas, and the share of each object (of its mask, or of its box) that is in the window."""
    left, top, right, bottom = placement.window
    window = np.array([left, top, right, bottom], np.float64)
    clipped = np.clip(example.boxes_xyxy.astype(np.float64), window[[0, 1, 0, 1]], window[[2, 3, 2, 3]])
    visible = areas_of(clipped) / np.maximum(areas_of(example.boxes_xyxy), 1e-9)
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


def areas_of(boxes: np.ndarray) -> np.ndarray:
    """Areas of xyxy boxes, 0 for inverted ones."""
    return np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1)


def _keep_true(queries: tuple[PhraseQuery, ...], kept: np.ndarray, slivers: np.ndarray) -> tuple[PhraseQuery, ...]:
    new_index = np.cumsum(kept) - 1
    result = []
    for query in queries:
        objects = tuple(int(new_index[i]) for i in query.object_index if kept[i])
        exhaustive = query.exhaustive and not any(slivers[i] for i in query.object_index)
        if objects or not query.object_index or exhaustive:
            result.append(replace(query, object_index=objects, exhaustive=exhaustive))
    return tuple(result)


def _still_shown(example: Example, placement: Placement) -> tuple[PhraseQuery, ...]:
    """The queries without those of labels of the whole image, where the window is too small to be sure of them."""
    height, width = example.image.shape[:2]
    share = float(areas_of(np.array([placement.window]))[0]) / (height * width)
    return tuple(query for query in example.queries if query.located or share >= LEAST_WINDOW_OF_LABEL)


def flip(example: Example) -> Example:
    """The mirror image, with left and right exchanged in what is asked."""
    width = example.image.shape[1]
    boxes = example.boxes_xyxy.copy()
    boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    return replace(
        example,
        image=np.ascontiguousarray(example.image[:, ::-1]),
        boxes_xyxy=boxes,
        masks=np.ascontiguousarray(example.masks[:, :, ::-1]),
        queries=tuple(replace(query, phrase=mirror_phrase(query.phrase)) for query in example.queries),
        absent=frozenset(mirror_phrase(phrase) for phrase in example.absent),
    )


def change_colors(image: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Brightness, contrast and saturation by random factors.

    Hue stays: phrases name colours.
    """
    factors = 1 + rng.uniform(-config.color_strength, config.color_strength, 3)
    if rng.random() >= config.color_probability:
        return image
    brightness, contrast, saturation = factors.tolist()
    return np.asarray(enhance(Image.fromarray(image), (brightness, contrast, saturation)))


def enhance(image: Image.Image, factors: tuple[float, float, float]) -> Image.Image:
    """Brightness, contrast and saturation by these factors, in this order; 1 changes nothing."""
    for change, factor in zip(
        (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), factors, strict=True
    ):
        image = change(image).enhance(factor)
    return image
