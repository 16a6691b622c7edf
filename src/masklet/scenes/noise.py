"""Randomness that is cheap to draw: banks of noise are made once a process and read at random places."""

from collections.abc import Sequence
from functools import cache
from typing import TypeVar

import numpy as np
from jaxtyping import Float32, Int16
from scipy import ndimage

T = TypeVar("T")

_SIDE = 512


@cache
def _smooth_bank() -> np.ndarray:
    """Four tiling fields of fractal noise, standard deviation 1, from cloudy to grainy."""
    rng = np.random.default_rng(20240)
    fields = []
    for decay in (0.35, 0.55, 0.75, 0.95):
        total = np.zeros((_SIDE, _SIDE), np.float32)
        for octave in range(7):
            white = rng.standard_normal((_SIDE, _SIDE)).astype(np.float32)
            field = ndimage.gaussian_filter(white, 64 / 2**octave, mode="wrap")
            total += decay**octave * field / field.std()
        fields.append((total - total.mean()) / total.std())
    bank = np.stack(fields)
    return np.tile(bank, (1, 2, 2))


@cache
def _grain_bank() -> np.ndarray:
    """White normal noise with standard deviation 16, tiled so that any crop fits."""
    grain = np.random.default_rng(20241).normal(0, 16, (_SIDE, _SIDE, 3)).astype(np.int16)
    return np.tile(grain, (2, 2, 1))


def one_of(rng: np.random.Generator, options: Sequence[T]) -> T:
    """A member of a sequence; `Generator.choice` would turn it into an array first, which costs more than the draw."""
    return options[int(rng.integers(len(options)))]


def noise_patch(seed: int, height: int, width: int) -> Float32[np.ndarray, "height width"]:
    """Fractal noise with standard deviation about 1; the same seed and size give the same patch."""
    which, top, left = seed % 4, seed // 4 % _SIDE, seed // 2048 % _SIDE
    field = _smooth_bank()[which]
    if max(height, width) > _SIDE:
        field = np.pad(field, ((0, max(0, height - _SIDE)), (0, max(0, width - _SIDE))), mode="wrap")
    return field[top : top + height, left : left + width]


def grain_patch(rng: np.random.Generator, height: int, width: int) -> Int16[np.ndarray, "height width 3"]:
    """Sensor noise with standard deviation 16 a channel."""
    top, left = (int(value) for value in rng.integers(0, _SIDE, 2))
    bank = _grain_bank()
    if max(height, width) <= _SIDE:
        return bank[top : top + height, left : left + width]
    return bank[np.ix_(np.arange(top, top + height) % len(bank), np.arange(left, left + width) % len(bank))]
