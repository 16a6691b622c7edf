"""The pen that draws unit shapes, and the catalogue entry that says what a shape is called and how it may be bent.

A unit shape is drawn once a process, three times finer than it is kept, and then only resampled: this is what makes
scenes cheap. It is kept as three uint8 channels: cover (0 outside, 255 inside), tone (a factor on the colour, 128 is
one) and height (the relief that light falls on).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

TILE = 128
_FINE = 3 * TILE

Number = float | int
Points = list[tuple[Number, Number]]


class Pen:
    """Draws in coordinates from -1 to 1, y down. Without `tone` it adds to the shape; with `tone` it marks the inside.

    `tone` is a factor on the colour times 128: 60 is a dark mark, 190 a light one. `cut` takes away from the shape.
    """

    def __init__(self) -> None:
        self.cover = Image.new("L", (_FINE, _FINE), 0)
        self.tone = Image.new("L", (_FINE, _FINE), 128)
        self._cover_draw = ImageDraw.Draw(self.cover)
        self._tone_draw = ImageDraw.Draw(self.tone)

    def _target(self, tone: int | None, *, cut: bool) -> tuple[ImageDraw.ImageDraw, int]:
        if tone is not None:
            return self._tone_draw, tone
        return self._cover_draw, 0 if cut else 255

    def poly(self, points: Points, tone: int | None = None, *, cut: bool = False) -> None:
        """A filled polygon."""
        draw, fill = self._target(tone, cut=cut)
        draw.polygon([_pixel(x, y) for x, y in points], fill=fill)

    def oval(self, x: Number, y: Number, rx: Number, ry: Number, tone: int | None = None, *, cut: bool = False) -> None:
        """A filled ellipse around (x, y)."""
        draw, fill = self._target(tone, cut=cut)
        draw.ellipse([_pixel(x - rx, y - ry), _pixel(x + rx, y + ry)], fill=fill)

    def hoop(self, x: Number, y: Number, rx: Number, ry: Number, width: Number, tone: int | None = None) -> None:
        """The outline of an ellipse, `width` thick inwards."""
        draw, fill = self._target(tone, cut=False)
        draw.ellipse([_pixel(x - rx, y - ry), _pixel(x + rx, y + ry)], outline=fill, width=round(width * _FINE / 2))

    def box(
        self, low: tuple[Number, Number], high: tuple[Number, Number], round_by: Number = 0.0, tone: int | None = None
    ) -> None:
        """A filled upright rectangle, its corners rounded."""
        draw, fill = self._target(tone, cut=False)
        draw.rounded_rectangle([_pixel(*low), _pixel(*high)], radius=round_by * _FINE / 2, fill=fill)

    def line(self, points: Points, width: Number, tone: int | None = None) -> None:
        """A thick line with round ends and joints."""
        draw, fill = self._target(tone, cut=False)
        draw.line([_pixel(x, y) for x, y in points], fill=fill, width=max(1, round(width * _FINE / 2)), joint="curve")
        for x, y in (points[0], points[-1]):
            self.oval(x, y, width / 2, width / 2, tone)

    def text(self, character: str, tone: int | None = None, scale: Number = 1.0) -> None:
        """One letter or digit in the middle, as tall as the tile times `scale`."""
        draw, fill = self._target(tone, cut=False)
        font = ImageFont.load_default(size=_FINE * 1.2 * scale)
        stroke = round(_FINE * 0.02 * scale)
        draw.text((_FINE / 2, _FINE / 2), character, fill=fill, font=font, anchor="mm", stroke_width=stroke)


def _pixel(x: Number, y: Number) -> tuple[float, float]:
    return (x * 0.96 + 1) * _FINE / 2, (y * 0.96 + 1) * _FINE / 2


def around(count: int, radius: Number, start: Number = -90.0, squash: Number = 1.0) -> Points:
    """`count` points on a circle, from `start` degrees (-90 is the top); `squash` scales the height."""
    angles = np.deg2rad(start + np.arange(count) * 360 / count)
    return [(float(radius * np.cos(a)), float(radius * squash * np.sin(a))) for a in angles]


Drawing = Callable[[Pen, np.random.Generator], None]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A sort of object: its names, its drawing, and how far it may be bent before the name stops being true.

    `nouns[0]` is the usual name, the rest are other or broader names. `rotation` is in degrees either way, `aspect` is
    the largest change of width over height as a logarithm, `colours` empty means any colour.
    """

    nouns: tuple[str, ...]
    draw: Drawing
    rotation: float = 35.0
    aspect: float = 0.15
    shear: float = 0.12
    flip: bool = True
    relief: str = "bevel"
    colours: tuple[str, ...] = ()
    variants: int = 3
    patterned: bool = True


def draw_tile(kind: Kind, variant: int) -> UInt8[np.ndarray, "height width 3"]:
    """Cover, tone and height of one variant of a kind; the same for every process."""
    rng = np.random.default_rng([variant, *kind.nouns[0].encode()])
    pen = Pen()
    kind.draw(pen, rng)
    cover = np.asarray(pen.cover.reduce(3))
    tone = np.asarray(pen.tone.reduce(3))
    height = _height(cover, tone, kind.relief)
    if kind.relief == "coin":  # what is struck into metal shows by its relief more than by its colour
        tone = (128 + (tone.astype(np.int16) - 128) // 2).astype(np.uint8)
    return np.stack([cover, tone, height], axis=-1)


def _height(cover: np.ndarray, tone: np.ndarray, relief: str) -> np.ndarray:
    """Relief from the distance to the rim: a narrow bevel, a full dome, or a struck coin with its raised rim."""
    depth = np.asarray(ndimage.distance_transform_edt(cover > 127))
    if relief == "coin":
        rim = np.clip(depth / 2, 0, 1) - 0.35 * np.clip((depth - 5) / 2, 0, 1)
        struck = ndimage.gaussian_filter(tone.astype(np.float32) - 128, 0.8) / 128
        height = rim + 0.9 * struck
    else:
        reach = max(depth.max(), 1.0) if relief == "dome" else 0.1 * TILE
        share = np.clip(depth / reach, 0, 1)
        height = np.sqrt(1 - (1 - share) ** 2)
    return np.clip(height * 200, 0, 255).astype(np.uint8)
