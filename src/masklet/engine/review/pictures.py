"""What people and verifiers are shown: one way to draw a pair, a mask from near, and all accepted masks.

Source: SAM 3 paper, appendix D: a mask is judged beside the whole image with its box, and from near; exhaustivity by
all accepted masks together.
"""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from masklet.engine.records import MaskRow
from masklet.ops.masks import rle_decode
from masklet.protocols import Pixels
from masklet.render.marks import outline_width, paint_mask, unit_of
from masklet.render.palettes import Colour, object_colour

SIDE = 320  # of the longer side, in pixels
MARGIN = 0.25  # of a mask's box, at least, around it in the view from near
LEAST_MARGIN = 16
QUALITY = 80
MARKS: tuple[Colour, ...] = ((255, 0, 220), (0, 230, 60), (30, 120, 255))  # the one least like the mask's surroundings


def whole(image: Pixels, masks: Sequence[MaskRow], side: int = SIDE) -> Image.Image:
    """The image with all masks in colours of their own, its longer side `side` pixels."""
    canvas = shrunk(image, side)
    size = canvas.height, canvas.width
    width = outline_width(unit_of(canvas.width, canvas.height) * 2)
    for number, mask in enumerate(masks):
        paint_mask(canvas, decoded(mask, size), object_colour(number), width)
    return canvas


def from_near(image: Pixels, mask: MaskRow, side: int = SIDE) -> Image.Image:
    """Two panels: the image with the mask's box, and the mask from near with some of what is around it."""
    context = shrunk(image, side)
    colour = _mark_of(image, mask)
    scale = context.width / image.shape[1]
    x0, y0, x1, y1 = mask.box
    ImageDraw.Draw(context).rectangle([value * scale for value in (x0, y0, x1, y1)], outline=colour, width=2)
    margin_x, margin_y = (max(LEAST_MARGIN, MARGIN * length) for length in (x1 - x0, y1 - y0))
    height, width = image.shape[:2]
    left, top = max(0, int(x0 - margin_x)), max(0, int(y0 - margin_y))
    right, bottom = min(width, int(x1 + margin_x) + 1), min(height, int(y1 + margin_y) + 1)
    zoom = min(side / (right - left), side / (bottom - top))
    size = max(1, round((bottom - top) * zoom)), max(1, round((right - left) * zoom))
    near = Image.fromarray(image[top:bottom, left:right]).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    cut = rle_decode(mask.counts, *mask.size)[top:bottom, left:right]
    pixels = np.asarray(Image.fromarray(cut).resize((size[1], size[0]), Image.Resampling.NEAREST), bool)
    paint_mask(near, pixels, colour, outline_width(unit_of(side, side) * 2))
    both = Image.new("RGB", (context.width + 4 + near.width, max(context.height, near.height)), (24, 25, 30))
    both.paste(context, (0, 0))
    both.paste(near, (context.width + 4, 0))
    return both


def _mark_of(image: Pixels, mask: MaskRow) -> Colour:
    x0, y0, x1, y1 = (int(value) for value in mask.box)
    mean = image[max(0, y0) : y1 + 1, max(0, x0) : x1 + 1].reshape(-1, 3).mean(axis=0)
    return max(MARKS, key=lambda each: float(np.abs(np.array(each) - mean).sum()))


def decoded(mask: MaskRow, size: tuple[int, int]) -> np.ndarray:
    """The pixels of a mask in an image of another size."""
    pixels = rle_decode(mask.counts, *mask.size)
    if mask.size == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.NEAREST), bool)


def jpeg(picture: Image.Image) -> bytes:
    """The bytes of a picture; the same picture gives the same bytes."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()


def shrunk(image: Pixels, side: int) -> Image.Image:
    """The image with its longer side `side` pixels."""
    picture = Image.fromarray(image)
    scale = side / max(picture.size)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.BILINEAR if scale > 1 else Image.Resampling.BOX)
