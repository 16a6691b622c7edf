"""From a unit shape to a sprite: placed, bent, coloured, patterned and lit, with its cover as the exact mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Float32, UInt8
from PIL import Image

from masklet.scenes.camera import LUMA
from masklet.scenes.noise import noise_patch
from masklet.scenes.objects.silhouettes import TILE, Kind, draw_tile

# Far enough apart that light, shadow and a mild colour cast do not carry one into another.
COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (212, 30, 34),
    "orange": (246, 132, 20),
    "yellow": (246, 218, 40),
    "green": (36, 150, 52),
    "turquoise": (52, 205, 200),
    "blue": (32, 78, 205),
    "purple": (124, 44, 168),
    "pink": (250, 130, 185),
    "brown": (112, 66, 34),
    "black": (28, 28, 30),
    "white": (244, 244, 242),
    "grey": (132, 132, 134),
    "gold": (214, 170, 74),
    "silver": (186, 188, 192),
    "bronze": (160, 98, 58),
}
COLOUR_WORDS = tuple(COLOURS)[:12]
METAL_WORDS = tuple(COLOURS)[12:]
# What a colour could also be called under some light.
NEAR_COLOURS: dict[str, frozenset[str]] = {
    "gold": frozenset({"yellow", "orange", "brown", "bronze"}),
    "silver": frozenset({"grey", "white"}),
    "bronze": frozenset({"brown", "orange", "gold", "red"}),
    "turquoise": frozenset({"green", "blue"}),
    "yellow": frozenset({"gold"}),
    "orange": frozenset({"gold", "bronze"}),
    "brown": frozenset({"gold", "bronze"}),
    "grey": frozenset({"silver"}),
    "white": frozenset({"silver"}),
}
PATTERNS = ("plain", "striped", "dotted", "checkered", "zigzag")


@dataclass(frozen=True, kw_only=True)
class Look:
    """The surface of an object: colours are RGB in [0, 255], `pattern_scale` counts periods over the object."""

    rgb: tuple[float, float, float]
    pattern: str = "plain"
    accent_rgb: tuple[float, float, float] = (0.0, 0.0, 0.0)
    pattern_scale: float = 5.0
    pattern_turn: float = 0.0
    shine: float = 0.0
    relief: float = 0.4
    texture: float = 0.0
    texture_seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Placed:
    """One object with everything needed to draw it: `x`, `y` are its centre and `size` its side in pixels.

    `rotation` is in radians, `aspect` a logarithm of width over height, `warp` the perspective share over the object.
    """

    kind: Kind
    variant: int
    colour: str
    look: Look
    x: float
    y: float
    size: float
    rotation: float = 0.0
    aspect: float = 0.0
    shear: float = 0.0
    flip: bool = False
    warp: tuple[float, float] = (0.0, 0.0)

    def matrix(self) -> np.ndarray:
        """Unit coordinates to pixels around the centre."""
        stretch = np.exp(self.aspect / 2)
        bend = np.array([[(-1 if self.flip else 1) * stretch, self.shear], [0.0, 1 / stretch]])
        return rotation(self.rotation) @ bend * (self.size / 2)


def rotation(angle: float) -> Float[np.ndarray, "2 2"]:
    """A turn, y down."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


@dataclass(frozen=True)
class Sprite:
    """A drawn object: `cover` in [0, 1] is how much of a pixel is its own; `left`, `top` may be outside the image."""

    rgb: Float32[np.ndarray, "3 height width"]
    cover: Float32[np.ndarray, "height width"]
    left: int
    top: int


@cache
def _tiles(kind: Kind, variant: int) -> tuple[Image.Image, ...]:
    """The unit shape at three scales; the RGB mode only serves to resample three channels at once."""
    tile = Image.fromarray(draw_tile(kind, variant))
    return tile, tile.reduce(2), tile.reduce(4)


def alpha_tiles(rgba: UInt8[np.ndarray, "height width 4"]) -> tuple[Image.Image, ...]:
    """An image at full, half and quarter scale, colours multiplied by alpha.

    CMYK only serves to resample four channels at once; Pillow would convert RGBA to and fro at every transform.
    """
    pixels = rgba.astype(np.uint16)
    pixels[..., :3] = pixels[..., :3] * pixels[..., 3:] // 255
    full = Image.frombytes("CMYK", (rgba.shape[1], rgba.shape[0]), pixels.astype(np.uint8).tobytes())
    return full, full.reduce(2), full.reduce(4)


def alpha_sprite(
    moved: UInt8[np.ndarray, "height width 4"], left: int, top: int, gain: Sequence[float], *, greyscale: bool
) -> Sprite:
    """The sprite of a transformed alpha tile; its soft rim is kept as cover."""
    planes = moved.transpose(2, 0, 1).astype(np.float32, order="C")
    cover = planes[3] / 255
    rgb = planes[:3] / np.maximum(cover, 1 / 255) * np.array(gain, np.float32)[:, None, None]
    if greyscale:
        rgb = np.tensordot(LUMA, rgb, 1)[None].repeat(3, axis=0)
    return Sprite(np.clip(rgb, 0, 255), cover, left, top)


def resample(
    tile: Image.Image, matrix: np.ndarray, x: float, y: float, warp: tuple[float, float]
) -> tuple[np.ndarray, int, int, np.ndarray]:
    """The tile seen through `matrix` around pixel (x, y): channels, left, top, pixel-to-unit coefficients [2, 3]."""
    pad = 1 + abs(warp[0]) + abs(warp[1])
    reach = np.abs(matrix).sum(axis=1) * pad
    left, top = int(np.floor(x - reach[0])), int(np.floor(y - reach[1]))
    width, height = (max(2, int(np.ceil(2 * r)) + 1) for r in reach)
    inverse = np.linalg.inv(matrix)
    centre = np.array([x - left, y - top])
    to_unit = np.column_stack([inverse, -inverse @ centre])
    scale = np.array([[tile.width / 2], [tile.height / 2]])
    affine = to_unit * scale
    affine[:, 2] += scale[:, 0]
    bend = warp[0] * to_unit[0] + warp[1] * to_unit[1] + np.array([0.0, 0.0, 1.0])
    # The centre must stay the centre: what the perspective adds to the denominator, it adds to the numerator's middle.
    affine += scale * (bend - np.array([0.0, 0.0, 1.0]))
    coefficients = np.concatenate([affine[0], affine[1], bend[:2]]) / bend[2]
    method = Image.Transform.PERSPECTIVE if any(warp) else Image.Transform.AFFINE
    data = coefficients[: 8 if any(warp) else 6].tolist()
    moved = tile.transform((width, height), method, data, Image.Resampling.BILINEAR)
    return np.asarray(moved), left, top, to_unit.astype(np.float32)


def draw_sprite(placed: Placed, light: tuple[float, float]) -> Sprite:
    """Draw one object lit from direction `light` (a unit vector in the image, y down)."""
    tiles = _tiles(placed.kind, placed.variant)
    tile = tiles[0] if placed.size > TILE / 2 else tiles[1] if placed.size > TILE / 4 else tiles[2]
    channels, left, top, to_unit = resample(tile, placed.matrix(), placed.x, placed.y, placed.warp)
    fields = channels.astype(np.float32)
    # Steepen the rim where the tile is magnified, so that large objects are as crisp as small ones.
    cover = (fields[..., 0] / 255 - 0.5) * max(1.0, 0.8 * placed.size / tile.width) + 0.5
    cover = np.clip(cover, 0, 1, out=cover)
    look = placed.look
    height, width = cover.shape
    columns, rows = np.arange(width, dtype=np.float32) + 0.5, np.arange(height, dtype=np.float32)[:, None] + 0.5
    u = to_unit[0, 0] * columns + to_unit[0, 1] * rows + to_unit[0, 2]
    v = to_unit[1, 0] * columns + to_unit[1, 1] * rows + to_unit[1, 2]
    shade, gloss = _light(fields[..., 2], placed, light, columns - width / 2, rows - height / 2)
    shade *= fields[..., 1] / 128
    if look.texture:
        shade *= 1 + look.texture * noise_patch(look.texture_seed, height, width)
    rgb = _column(look.rgb) * shade
    if look.pattern != "plain":
        accent = _column(look.accent_rgb) * shade
        rgb += pattern_weight(look.pattern, look.pattern_scale, look.pattern_turn, u, v) * (accent - rgb)
    if look.shine:
        rgb += gloss
    return Sprite(np.clip(rgb, 0, 255, out=rgb), cover, left, top)


def _column(rgb: tuple[float, float, float]) -> np.ndarray:
    return np.array(rgb, np.float32)[:, None, None]


def _light(
    height: np.ndarray, placed: Placed, light: tuple[float, float], x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Factor on the colour from the slope of the relief and a fall-off over the object, and the gloss added to it."""
    look = placed.look
    across = (x * light[0] + y * light[1]) / placed.size
    if not (look.relief or look.shine):
        return 1 - 0.15 * across, across
    slope = np.zeros_like(height)
    slope[:, 1:-1] += light[0] * (height[:, :-2] - height[:, 2:])
    slope[1:-1] += light[1] * (height[:-2] - height[2:])
    slope *= placed.size / (2 * TILE * 40)
    np.clip(slope, -1, 1, out=slope)
    gloss = look.shine * 255 * (np.clip(-slope - 0.25, 0, 1) + np.clip(1 - np.abs(across + 0.2) * 6, 0, 1) * 0.35)
    return 1 - look.relief * slope - (0.15 + 0.35 * look.shine) * across, gloss


def pattern_weight(
    pattern: str,
    scale: float,
    turn: float,
    u: Float32[np.ndarray, "height width"],
    v: Float32[np.ndarray, "height width"],
) -> Float32[np.ndarray, "height width"]:
    """How much of the accent colour shows at unit coordinates (u, v), in [0, 1].

    `scale` counts periods from -1 to 1, `turn` is in radians.
    """
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    s, t = (cos * u + sin * v) * np.float32(scale / 2), (cos * v - sin * u) * np.float32(scale / 2)
    if pattern == "striped":
        edge = 0.25 - np.abs(s - np.floor(s) - 0.5)
    elif pattern == "zigzag":
        s = s + np.float32(0.9) * np.abs(t - np.floor(t) - 0.5)
        edge = 0.25 - np.abs(s - np.floor(s) - 0.5)
    elif pattern == "dotted":
        s, t = s - np.floor(s) - 0.5, t - np.floor(t) - 0.5
        edge = (0.09 - s * s - t * t) * 2
    else:
        edge = np.sin(s * np.float32(np.pi)) * np.sin(t * np.float32(np.pi)) * 0.3
    return np.clip(edge * 20 + 0.5, 0, 1)
