"""Stills set in motion, and where clips come from.

A labelled photo becomes a clip by a camera that wanders over it while copies of its own objects cross it: real texture
and real outlines, with masks as exact as the labels. Sources map a random generator to a `Clip`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from masklet.data.clip_transforms import ClipAugmentConfig, augment_clip
from masklet.data.schema import Clip, Example
from masklet.data.sources import ExampleSource
from masklet.errors import InputError
from masklet.scenes.camera import sample_camera
from masklet.scenes.moving.actors import Actor, World, cut_out, make_ground
from masklet.scenes.moving.clips import exchange, film, sample_pace
from masklet.scenes.moving.motion import sample_camera_path, sample_course
from masklet.scenes.scene import Setting

MAX_OBJECTS = 6
MAX_COPIES = 3
_LEAST_AREA = 100  # pixels of the clip


@runtime_checkable
class ClipSource(Protocol):
    """Anything that can draw a clip."""

    def sample(self, rng: np.random.Generator) -> Clip:
        """A clip that depends on nothing but the source and the state of `rng`."""
        ...


@dataclass(frozen=True)
class GeneratedClips:
    """Clips made on the spot by `render(seed)`."""

    render: Callable[[int], Clip]

    def sample(self, rng: np.random.Generator) -> Clip:
        """A clip of a random seed."""
        return self.render(int(rng.integers(2**31)))


@dataclass(frozen=True, kw_only=True)
class StillClips:
    """Photos of a source, each as a clip of `num_frames` square frames of `size` pixels, augmented."""

    source: ExampleSource
    size: int
    num_frames: int
    augment: ClipAugmentConfig | None = None
    tries: int = 50

    def sample(self, rng: np.random.Generator) -> Clip:
        """A clip of a random photo that has masks.

        Raises: InputError when `tries` photos in a row have none that is large enough.
        """
        for _ in range(self.tries):
            clip = still_clip(int(rng.integers(2**31)), self.source.sample(rng), self.size, self.num_frames)
            if clip is not None and self.augment is not None:
                clip = augment_clip(clip, self.augment, rng)
            if clip is not None and clip.frames[0].masks.any():
                return clip
        raise InputError(f"none of {self.tries} photos has a mask of {_LEAST_AREA} pixels or more")


def still_clip(seed: int, example: Example, size: int, num_frames: int) -> Clip | None:
    """A labelled photo in motion; the same arguments always give the same clip. None when no mask is large enough.

    The first objects of the clip lie in the photo, the rest are copies that move over it. No phrases are asked.
    """
    rng = np.random.default_rng([seed, 5])
    image, masks = _resized(rng, example, size)
    masks = masks[masks.sum(axis=(1, 2)) >= _LEAST_AREA]
    if not len(masks):
        return None
    chosen = masks[rng.permutation(len(masks))[:MAX_OBJECTS]]
    chosen = chosen[np.argsort(-chosen.sum(axis=(1, 2)), kind="stable")]  # small ones lie on large ones
    margin = size // 2
    # Each object in its place, drawn over itself so that it has an index
    cut = [cut_out(image, mask) for mask in chosen]
    lying = [Actor(tiles=tiles, x=x + margin, y=y + margin) for tiles, x, y in cut]
    start = _start(rng, lying, image.shape[:2], size, margin)
    copies = [_copy(rng, lying, start, size) for _ in range(int(rng.integers(0, MAX_COPIES + 1)))]
    ground = image.transpose(2, 0, 1).astype(np.float32)
    camera = sample_camera(rng, 0.4, greyscale=False)
    setting = Setting(ground=ground, light=(0.0, 1.0), shadow=None, camera=camera)
    world = World(
        ground=make_ground(ground, margin),
        actors=(*lying, *exchange(rng, copies)),
        camera=sample_camera_path(rng, size, start, 0.3 * size),
        pace=sample_pace(rng),
        size=size,
        cast=None,
        greyscale=False,
    )
    return film(rng, world, setting, (), num_frames, example.source)


def _resized(
    rng: np.random.Generator, example: Example, size: int
) -> tuple[UInt8[np.ndarray, "height width 3"], Bool[np.ndarray, "object height width"]]:
    """Image and masks with a short side a little longer than the clip's, so that the camera has room."""
    height, width = example.image.shape[:2]
    scale = size * rng.uniform(1.0, 1.5) / min(height, width)
    shape = (max(size, round(width * scale)), max(size, round(height * scale)))
    image = np.asarray(Image.fromarray(example.image).resize(shape, Image.Resampling.BILINEAR))
    masks = [
        np.asarray(Image.fromarray(mask.astype(np.uint8) * 255).resize(shape, Image.Resampling.BILINEAR)) > 127
        for mask in example.masks[example.mask_valid]
    ]
    return image, np.array(masks, bool).reshape(-1, *image.shape[:2])


def _start(
    rng: np.random.Generator, lying: list[Actor], shape: tuple[int, ...], size: int, margin: int
) -> tuple[float, float]:
    """A first view that holds the middle of one object and as much of the photo as it can."""
    anchor = lying[int(rng.integers(len(lying)))]
    offset = rng.uniform(-0.35, 0.35, 2) * size
    low = np.full(2, margin + size / 2)
    high = margin + np.array([shape[1], shape[0]]) - size / 2
    x, y = np.clip(np.array([anchor.x, anchor.y]) + offset, low, high).tolist()
    return x, y


def _copy(rng: np.random.Generator, lying: list[Actor], start: tuple[float, float], size: int) -> Actor:
    """One of the photo's objects again, somewhere in the first view, on its own way."""
    model = lying[int(rng.integers(len(lying)))]
    x, y = (np.array(start) + rng.uniform(-0.4, 0.4, 2) * size).tolist()
    gain = rng.uniform(0.85, 1.1)
    return replace(
        model,
        x=x,
        y=y,
        scale=float(min(rng.uniform(0.6, 1.3), 0.6 * size / model.size)),
        rotation=float(rng.normal(0, 0.2)),
        flip=bool(rng.random() < 0.5),
        gain=(gain, gain, gain),
        course=sample_course(rng, size, spins=False),
    )
