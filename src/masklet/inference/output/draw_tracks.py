"""Overlays of video frames: fill, outline and tag of each object, in a colour that depends on its id alone.

The frame keeps its size, and no line of counts is added, since the frames of a video must all be alike.
"""

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageFont

from masklet.inference.output import draw
from masklet.inference.output.draw import Box, Colour, Tag
from masklet.inference.video.frame_result import FrameResult
from masklet.ops.masks import mask_to_box


def draw_tracks(result: FrameResult, image: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width 3"]:
    """A copy of the frame with its objects, large ones first, so that small ones in front of them stay visible."""
    unit = max(result.size) / 1000
    canvas = Image.fromarray(image)
    boxes: dict[int, Box] = {}
    for place in np.argsort(-result.areas, kind="stable").tolist():
        mask = result.mask(place)
        box = mask_to_box(mask)
        if box is None:
            continue
        x0, y0, x1, y1 = box
        opacity = _opacity(mask[y0:y1, x0:x1], max(1, round(1.6 * unit)))
        canvas.paste(object_colour(int(result.ids[place])), box, Image.fromarray(opacity))
        boxes[place] = (float(x0), float(y0), float(x1), float(y1))
    font = draw.load_font(max(10.0, 17 * unit))
    for tag in _place_tags(result, boxes, font):
        draw.draw_tag(canvas, tag, font)
    return np.array(canvas)


def _opacity(mask: Bool[np.ndarray, "height width"], thickness: int) -> UInt8[np.ndarray, "height width"]:
    """Of 255: all along the outline, some inside. A pixel is inside when the square around it is."""
    height, width = mask.shape
    inside = np.pad(mask, thickness)
    inside = np.logical_and.reduce([inside[shift : shift + height] for shift in range(2 * thickness + 1)])
    inside = np.logical_and.reduce([inside[:, shift : shift + width] for shift in range(2 * thickness + 1)])
    return np.where(inside, np.uint8(round(255 * draw.FILL_OPACITY)), mask * np.uint8(255))


def object_colour(object_id: int) -> Colour:
    """Hues a golden section of the wheel apart, so that ids next to each other look different."""
    return draw.from_hue(0.68 + object_id * draw.GOLDEN, (0.74, 0.66, 0.82)[object_id % 3])


def _place_tags(result: FrameResult, boxes: dict[int, Box], font: ImageFont.FreeTypeFont) -> list[Tag]:
    """A tag for each object where it hides no other one; those seen most surely choose first."""
    placed: list[Tag] = []
    for place in sorted(boxes, key=lambda each: -result.object_scores[each]):
        box = boxes[place]
        text, width = _fitting_text(result.concepts[place], int(result.ids[place]), box[2] - box[0], font)
        height = font.size * 1.3
        corners = draw.corners(box, width, height)
        candidates = [draw.inside(corner, width, height, (result.size[1], result.size[0])) for corner in corners]
        costs = [sum(draw.overlap(candidate, tag.box) for tag in placed) for candidate in candidates]
        placed.append(Tag(text, candidates[int(np.argmin(costs))], object_colour(int(result.ids[place]))))
    return placed


def _fitting_text(phrase: str, object_id: int, room: float, font: ImageFont.FreeTypeFont) -> tuple[str, float]:
    text, width = f"#{object_id}", 0.0
    for text in (f"{phrase} #{object_id}".strip(), f"#{object_id}"):
        width = font.getlength(text) + font.size * 0.8
        if width <= room * 1.25:
            break
    return text, width
