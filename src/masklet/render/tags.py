"""Labels beside what they name: short where there is little room, inside the image, and off one another."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from masklet.render.palettes import Colour, text_colour

_MOST_LETTERS = 200  # of a line that is measured

Box = tuple[float, float, float, float]  # x0, y0, x1, y1


@dataclass(frozen=True)
class TagRequest:
    """What to label: `texts` from the fullest to the shortest, the box of the object in pixels, and its colour."""

    texts: tuple[str, ...]
    box: Box
    colour: Colour


@dataclass(frozen=True)
class Tag:
    """A label in its place."""

    text: str
    box: Box
    colour: Colour


def load_font(size: float) -> ImageFont.FreeTypeFont:
    """Pillow's own font at a height in pixels."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def fit_text(text: str, width: float | int, font: ImageFont.FreeTypeFont) -> str:
    """One line with as much of a text as there is room for in pixels, cut with an ellipsis."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text[:_MOST_LETTERS]).split())
    if font.getlength(line) <= width:
        return line
    fitting = bisect_right(range(len(line)), width, key=lambda length: font.getlength(line[:length] + "…"))
    return line[: fitting - 1].rstrip() + "…" if fitting else ""


def place_tags(requests: Sequence[TagRequest], font: ImageFont.FreeTypeFont, size: tuple[int, int]) -> list[Tag]:
    """A tag for each request on a canvas of `size` (width, height), where it hides no earlier one if that can be."""
    placed: list[Tag] = []
    height = font.size * 1.3
    for request in requests:
        # The longest text that the object has room for
        room, text, width = request.box[2] - request.box[0], "", 0.0
        for text in request.texts:
            width = font.getlength(text) + font.size * 0.8
            if width <= room * 1.25:
                break
        # The place with the least overlap
        candidates = [_inside(corner, width, height, size) for corner in _corners(request.box, width, height)]
        costs = [sum(_overlap(candidate, tag.box) for tag in placed) for candidate in candidates]
        placed.append(Tag(text, candidates[int(np.argmin(costs))], request.colour))
    return placed


def draw_tag(canvas: Image.Image, tag: Tag, font: ImageFont.FreeTypeFont) -> None:
    """Paints a tag in its colour, with letters that can be read on it."""
    x0, y0, x1, y1 = (round(value) for value in tag.box)
    fill_rounded(canvas, (x0, y0, x1, y1), font.size * 0.3, tag.colour)
    middle = (x0 + x1) / 2, (y0 + y1) / 2
    ImageDraw.Draw(canvas).text(middle, tag.text, font=font, fill=text_colour(tag.colour), anchor="mm")


def fill_rounded(canvas: Image.Image, box: tuple[int, int, int, int], radius: float, colour: Colour) -> None:
    """A filled box with round corners, drawn four times larger and shrunk so that they are smooth."""
    x0, y0, x1, y1 = box
    size = max(1, x1 - x0), max(1, y1 - y0)
    shape = Image.new("L", (size[0] * 4, size[1] * 4))
    ImageDraw.Draw(shape).rounded_rectangle((0, 0, size[0] * 4 - 1, size[1] * 4 - 1), radius * 4, fill=255)
    canvas.paste(colour, (x0, y0), shape.resize(size, Image.Resampling.BOX))


def _corners(box: Box, width: float, height: float) -> list[tuple[float, float]]:
    """Where a tag may start, best first: on the top edge, inside the top, inside the bottom, the middle, around it."""
    x0, y0, x1, y1 = box
    middle_x, middle_y = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2
    fits = x1 - x0 > 1.4 * width and y1 - y0 > 2 * height
    small = x1 - x0 < 2.2 * width and y1 - y0 < 4 * height
    around = [(x0, y0 - height), (x0, y0), (x1 - width, y0), (x0, y1 - height), (x1 - width, y1 - height), (x0, y1)]
    around += [(x1, middle_y), (x0 - width, middle_y), (middle_x, y0 - height), (middle_x, y1)]
    return [(middle_x, middle_y), *around] if small and fits else [*around, (middle_x, middle_y)]


def _inside(corner: tuple[float, float], width: float, height: float, size: tuple[int, int]) -> Box:
    """The box of a tag at a corner, moved until it lies within the canvas."""
    x = min(max(corner[0], 0.0), max(0.0, size[0] - width))
    y = min(max(corner[1], 0.0), max(0.0, size[1] - height))
    return x, y, x + width, y + height


def _overlap(a: Box, b: Box) -> float:
    """Area that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
