"""Colours: hues of equal lightness for instances and objects, and text that stands out on them."""

from collections.abc import Sequence

import numpy as np

Colour = tuple[int, int, int]

BAR, BAR_TEXT, BAR_MUTED = (24, 25, 30), (236, 237, 240), (140, 143, 152)
_GOLDEN = 0.6180339887
_FIRST_HUE = 0.68  # blue, which few photographs are full of
_LIGHTNESS = (0.74, 0.66, 0.82)


def from_hue(hue: float, lightness: float = 0.74, chroma: float = 0.15) -> Colour:
    """OKLCH to sRGB: equal lightness is equally light in every hue. Source: Ottosson, A perceptual colour space."""
    a, b = chroma * np.cos(2 * np.pi * hue), chroma * np.sin(2 * np.pi * hue)
    to_cones = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.291485548]]
    )
    to_rgb = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip(to_rgb @ (to_cones @ np.array([lightness, a, b])) ** 3, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (round(255 * float(value)) for value in encoded)
    return red, green, blue


def family_colour(family: int, num_families: int) -> Colour:
    """The middle of the sector of the colour wheel that belongs to one of several families."""
    return from_hue(_FIRST_HUE + family / max(1, num_families))


def instance_colours(families: Sequence[int], num_families: int) -> list[Colour]:
    """A colour for each instance: a sector of the wheel for its family, within it a hue and lightness of its own."""
    sector = 1 / max(1, num_families)
    width = sector if num_families == 1 else 0.55 * sector
    seen = dict.fromkeys(families, 0)
    colours = []
    for family in families:
        step = (seen[family] * _GOLDEN + 0.5) % 1 - 0.5
        lightness = _LIGHTNESS[seen[family] % len(_LIGHTNESS)]
        colours.append(from_hue(_FIRST_HUE + family * sector + step * width, lightness))
        seen[family] += 1
    return colours


def object_colour(object_id: int) -> Colour:
    """A colour that depends on the id alone: hues a golden section apart, so that neighbouring ids differ."""
    return from_hue(_FIRST_HUE + object_id * _GOLDEN, _LIGHTNESS[object_id % len(_LIGHTNESS)])


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever stands out more (WCAG relative luminance)."""
    linear = [(value / 255 / 12.92) if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in background]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)
