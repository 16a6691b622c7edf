"""What objects lie on: gradients, cloudy and grainy textures, faint patterns, blotches, or a crop of a photo."""

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from masklet.scenes.noise import noise_patch, one_of
from masklet.scenes.objects.paint import PATTERNS, pattern_weight


def _quiet_colour(rng: np.random.Generator) -> np.ndarray:
    """Never saturated, so that "red thing" never means the ground."""
    grey = rng.uniform(20, 240)
    return (grey + rng.uniform(0.0, 0.12) * (rng.uniform(0, 255, 3) - grey)).astype(np.float32)


def draw_ground(rng: np.random.Generator, size: int) -> Float32[np.ndarray, "3 height width"]:
    """A square ground in [0, 255]."""
    first, second = _quiet_colour(rng), _quiet_colour(rng)
    contrast = rng.uniform(0.1, 1.0)
    second = first + contrast * (second - first)
    weight = _ramp(rng, size)
    style = one_of(rng, ("ramp", "cloudy", "cloudy", "patterned", "blotched"))
    if style == "cloudy":
        weight = np.clip(0.5 * weight + 0.25 * noise_patch(int(rng.integers(2**22)), size, size) + 0.25, 0, 1)
    elif style == "patterned":
        second = first + 0.3 * (second - first)
        axis = np.linspace(-1, 1, size, dtype=np.float32)
        scale, turn = float(rng.uniform(4, 24)), float(rng.uniform(0, 3))
        weight = pattern_weight(one_of(rng, PATTERNS[1:]), scale, turn, *np.meshgrid(axis, axis))
    elif style == "blotched":
        # Random colours on a coarse grid, blown up: out-of-focus surroundings
        cells = int(rng.integers(3, 9))
        weights = rng.random((cells, cells, 1), dtype=np.float32)
        small = np.clip(first + weights * (second - first) + rng.normal(0, 6, (cells, cells, 3)), 0, 255)
        return _planes(Image.fromarray(small.astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC))
    ground = first[:, None, None] + weight * (second - first)[:, None, None]
    if rng.random() < 0.7:
        ground += rng.uniform(2, 12) * noise_patch(int(rng.integers(2**22)), size, size)
    return ground


def draw_tray(rng: np.random.Generator, size: int) -> Float32[np.ndarray, "3 height width"]:
    """The dark, unevenly lit cloth or the bright bench that coins and cells are photographed on."""
    base = rng.uniform(25, 95) if rng.random() < 0.7 else rng.uniform(170, 230)
    tint = rng.uniform(0.93, 1.07, 3)
    field = base + rng.uniform(-45, 45) * (_ramp(rng, size) - 0.5)
    field += rng.uniform(2, 10) * noise_patch(int(rng.integers(2**22)), size, size)
    return field * tint.astype(np.float32)[:, None, None]


def crop_photo(
    rng: np.random.Generator, photo: UInt8[np.ndarray, "photo_height photo_width 3"], size: int
) -> Float32[np.ndarray, "3 height width"]:
    """A random square crop, at least 60 % of the short side, as a ground."""
    height, width = photo.shape[:2]
    side = int(min(height, width) * rng.uniform(0.6, 1.0))
    top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    crop = photo[top : top + side, left : left + side]
    crop = crop[:, ::-1] if rng.random() < 0.5 else crop
    resized = Image.fromarray(np.ascontiguousarray(crop)).resize((size, size), Image.Resampling.BILINEAR)
    return _planes(resized)


def _planes(image: Image.Image) -> np.ndarray:
    return np.asarray(image).transpose(2, 0, 1).astype(np.float32, order="C")


def _ramp(rng: np.random.Generator, size: int) -> np.ndarray:
    """A gradient over the image in a random direction, in [0, 1]."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = np.float32(np.cos(angle)) * axis + np.float32(np.sin(angle)) * axis[:, None]
    return ramp * np.float32(0.35) + np.float32(0.5)
