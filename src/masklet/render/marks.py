"""Masks on an image: a translucent fill with an opaque outline."""

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from masklet.ops.masks import mask_to_box
from masklet.render.palettes import Colour

FILL_OPACITY = 0.42


def unit_of(width: int, height: int) -> float:
    """A thousandth of the long side, in pixels: the unit of every mark, so images of all sizes look alike."""
    return max(width, height) / 1000


def outline_width(unit: float) -> int:
    """Thickness of outlines in pixels."""
    return max(1, round(1.6 * unit))


def paint_mask(canvas: Image.Image, mask: Bool[np.ndarray, "height width"], colour: Colour, thickness: int) -> None:
    """Paints a mask of the canvas's size in place; an empty one changes nothing."""
    box = mask_to_box(mask)
    if box is not None:
        x0, y0, x1, y1 = box
        canvas.paste(colour, box, Image.fromarray(_opacity(mask[y0:y1, x0:x1], thickness)))


def _opacity(mask: Bool[np.ndarray, "height width"], thickness: int) -> UInt8[np.ndarray, "height width"]:
    """Of 255: all along the outline, some inside. A pixel is inside when the square around it is."""
    height, width = mask.shape
    inside = np.pad(mask, thickness)
    inside = np.logical_and.reduce([inside[shift : shift + height] for shift in range(2 * thickness + 1)])
    inside = np.logical_and.reduce([inside[:, shift : shift + width] for shift in range(2 * thickness + 1)])
    return np.where(inside, np.uint8(round(255 * FILL_OPACITY)), mask * np.uint8(255))
