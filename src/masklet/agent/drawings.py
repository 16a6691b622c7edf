"""What a planner is shown. Drawings are the same bytes for the same candidates, at sizes that servers do not resize."""

import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from masklet.agent.pool import Box, Mark, box_of
from masklet.llm.messages import Picture
from masklet.protocols import Pixels
from masklet.render.marks import outline_width, paint_mask, unit_of
from masklet.render.palettes import object_colour
from masklet.render.tags import TagRequest, draw_tag, load_font, place_tags

LONGEST_SIDE = 1120
UNIT = 224  # least common multiple of the 28 and 32 pixels that servers round to
PADDING = (128, 128, 128)
LEAST_FONT, FONT_SHARE = 12.0, 0.02
ZOOM_MARGIN = 0.2  # of the box, on each side
LEAST_MARGIN = 16  # pixels
TILE, TILES_ACROSS = 320, 3


def fit(image: Pixels) -> UInt8[np.ndarray, "shown_height shown_width 3"]:
    """The image made small enough, padded right and below to whole units: no server then changes its size."""
    picture = Image.fromarray(image)
    picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
    width, height = (-(-side // UNIT) * UNIT for side in picture.size)
    canvas = Image.new("RGB", (width, height), PADDING)
    canvas.paste(picture)
    return np.asarray(canvas)


def shown_share(image: Pixels) -> tuple[float, float]:
    """How much of the sides of `fit(image)` the image takes: across and down. Places in a drawing are shares of it."""
    height, width = image.shape[:2]
    scale = min(1.0, LONGEST_SIDE / max(height, width))
    sides = [max(1, round(side * scale)) for side in (width, height)]
    return sides[0] / (-(-sides[0] // UNIT) * UNIT), sides[1] / (-(-sides[1] // UNIT) * UNIT)


def plain(image: Pixels) -> Picture:
    """The image as it is."""
    return Picture(data=png(fit(image)), note="the image")


def marked(image: Pixels, marks: Sequence[Mark]) -> Picture:
    """The image with candidates outlined and named."""
    return Picture(data=png(fit(painted(image, marks))), note=f"a view of {', '.join(mark.id for mark in marks)}")


def painted(image: Pixels, marks: Sequence[Mark]) -> UInt8[np.ndarray, "height width 3"]:
    """Outlines and names at the size of the image; the colour of a candidate follows from its id."""
    canvas = Image.fromarray(image)
    thickness = outline_width(unit_of(*canvas.size))
    colours = {mark.id: object_colour(colour_number(mark.id)) for mark in marks}
    for mark in marks:
        paint_mask(canvas, mark.mask, colours[mark.id], thickness)
    font = load_font(max(LEAST_FONT, FONT_SHARE * max(canvas.size)))
    requests = [TagRequest(texts=(mark.id,), box=box_of(mark.box), colour=colours[mark.id]) for mark in marks]
    for tag in place_tags(requests, font, canvas.size):
        draw_tag(canvas, tag, font)
    return np.asarray(canvas)


def colour_number(key: str) -> int:
    """A number that differs for ids shown together: letters count in steps of a palette."""
    letter = key.rstrip("0123456789")
    return int(key[len(letter) :]) + 7 * sum(
        26**place * (ord(each) - ord("A")) for place, each in enumerate(letter[::-1])
    )


def zoomed(image: Pixels, marks: Sequence[Mark]) -> Picture:
    """Each candidate enlarged in a tile of its own, with what is around it."""
    tiles = [_tile(image, mark) for mark in marks]
    across = min(TILES_ACROSS, len(tiles))
    sheet = Image.new("RGB", (across * TILE, -(-len(tiles) // across) * TILE), PADDING)
    for place, tile in enumerate(tiles):
        sheet.paste(tile, (place % across * TILE, place // across * TILE))
    return Picture(data=png(fit(np.asarray(sheet))), note=f"{', '.join(mark.id for mark in marks)} enlarged")


def _tile(image: Pixels, mark: Mark) -> Image.Image:
    x0, y0, x1, y1 = around(mark.box, image.shape[1], image.shape[0])
    shifted = (mark.box[0] - x0, mark.box[1] - y0, mark.box[2] - x0, mark.box[3] - y0)
    part = Mark(id=mark.id, phrases=mark.phrases, score=mark.score, box=shifted, mask=mark.mask[y0:y1, x0:x1])
    scale = TILE / max(x1 - x0, y1 - y0)
    size = (max(1, round(scale * (x1 - x0))), max(1, round(scale * (y1 - y0))))
    tile = Image.fromarray(painted(image[y0:y1, x0:x1], [part])).resize(size, Image.Resampling.BICUBIC)
    canvas = Image.new("RGB", (TILE, TILE), PADDING)
    canvas.paste(tile)
    return canvas


def around(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """A box in whole pixels with some of what is around it, inside the image."""
    across, down = (max(LEAST_MARGIN, ZOOM_MARGIN * (box[k + 2] - box[k])) for k in (0, 1))
    x0, y0 = max(0, int(box[0] - across)), max(0, int(box[1] - down))
    return x0, y0, max(x0 + 1, min(width, int(box[2] + across))), max(y0 + 1, min(height, int(box[3] + down)))


def png(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """The bytes of a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG", compress_level=6)
    return stream.getvalue()
