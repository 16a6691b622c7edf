"""Overlays: instances in colour with a thin outline, a readable tag each, and a line that says what was found.

Everything is measured in one unit, a fraction of the picture's size, so a phone photo and a thumbnail look alike. Small
pictures are enlarged first, because a tag needs its pixels; outlines are drawn from the logits at that size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from masklet.inference.image.image_result import ImageResult
from masklet.ops.masks import mask_to_box

Colour = tuple[int, int, int]
Box = tuple[float, float, float, float]

READABLE_SIDE = 1000  # shorter pictures are enlarged by a whole factor until the long side reaches this
MAX_ENLARGEMENT = 4
FILL_OPACITY = 0.42
BAR, BAR_TEXT, BAR_MUTED = (24, 25, 30), (236, 237, 240), (140, 143, 152)
GOLDEN = 0.6180339887


@dataclass(frozen=True)
class Tag:
    """A label in its place."""

    text: str
    box: Box
    colour: Colour


def overlay(result: ImageResult, *, legend: bool = True, scale: int | None = None) -> Image.Image:
    """The picture with its instances; `scale` enlarges by a whole factor, None chooses one that makes tags readable."""
    height, width = result.image.shape[:2]
    if scale is None:
        scale = min(MAX_ENLARGEMENT, max(1, round(READABLE_SIDE / max(height, width))))
    canvas = Image.fromarray(result.image)
    if scale > 1:
        canvas = canvas.resize((width * scale, height * scale), Image.Resampling.LANCZOS)
    unit = max(canvas.size) / 1000
    colours = instance_colours(result)
    pixels = _paint(np.array(canvas), result, colours, thickness=max(1, round(1.6 * unit)))
    canvas = Image.fromarray(pixels)
    font = load_font(max(10.0, 17 * unit))
    for tag in place_tags(result, colours, font, canvas.size, scale):
        draw_tag(canvas, tag, font)
    return _with_legend(canvas, result, load_font(max(11.0, 20 * unit))) if legend else canvas


def load_font(size: float) -> ImageFont.FreeTypeFont:
    """Pillow's own font at a height in pixels."""
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def instance_colours(result: ImageResult) -> list[Colour]:
    """A sector of the colour wheel for each phrase, within it a hue and lightness for each instance."""
    families = {phrase: index for index, phrase in enumerate(result.presence)}
    sector = 1 / max(1, len(families))
    seen = dict.fromkeys(families, 0)
    colours = []
    for phrase in result.phrases:
        step = (seen[phrase] * GOLDEN + 0.5) % 1 - 0.5
        lightness = (0.74, 0.66, 0.82)[seen[phrase] % 3]
        width = sector if len(families) == 1 else 0.55 * sector
        colours.append(from_hue(_family_hue(families[phrase], sector) + step * width, lightness))
        seen[phrase] += 1
    return colours


def _family_hue(index: int, sector: float) -> float:
    return 0.68 + index * sector  # the first family is blue, which few photographs are full of


def from_hue(hue: float, lightness: float = 0.74, chroma: float = 0.15) -> Colour:
    """OKLCH to sRGB: equal lightness looks equally light for every hue. Source: Ottosson, A perceptual colour space."""
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


def text_colour(background: Colour) -> Colour:
    """Black or white, whichever stands out more (WCAG relative luminance)."""
    linear = [(value / 255 / 12.92) if value <= 10 else ((value / 255 + 0.055) / 1.055) ** 2.4 for value in background]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def _paint(
    pixels: UInt8[np.ndarray, "height width 3"], result: ImageResult, colours: list[Colour], thickness: int
) -> UInt8[np.ndarray, "height width 3"]:
    """Large instances first, so that small ones in front of them stay visible."""
    for index in np.argsort(-result.areas, kind="stable"):
        mask = result.mask(int(index), size=pixels.shape[:2])
        box = mask_to_box(mask)
        if box is None:
            continue
        x0, y0, x1, y1 = box
        _blend(pixels[y0:y1, x0:x1], mask[y0:y1, x0:x1], colours[index], thickness)
    return pixels


def _blend(
    window: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"], colour: Colour, thickness: int
) -> None:
    inside = np.asarray(binary_erosion(mask, iterations=thickness), dtype=bool)
    window[inside] = (window[inside] * (1 - FILL_OPACITY) + np.array(colour) * FILL_OPACITY).astype(np.uint8)
    window[mask & ~inside] = colour


def place_tags(
    result: ImageResult, colours: Sequence[Colour], font: ImageFont.FreeTypeFont, canvas: tuple[int, int], scale: int
) -> list[Tag]:
    """A tag for each instance, the best first to choose: short on small ones, inside the picture, off other tags."""
    placed: list[Tag] = []
    for index, (phrase, score) in enumerate(zip(result.phrases, result.scores, strict=True)):
        box = [float(value) * scale for value in result.boxes[index]]
        text, width, height = _fitting_text(index + 1, phrase, float(score), box[2] - box[0], font)
        candidates = [inside(corner, width, height, canvas) for corner in corners(box, width, height)]
        costs = [sum(overlap(candidate, tag.box) for tag in placed) for candidate in candidates]
        placed.append(Tag(text, candidates[int(np.argmin(costs))], colours[index]))
    return placed


def _fitting_text(
    number: int, phrase: str, score: float, room: float, font: ImageFont.FreeTypeFont
) -> tuple[str, float, float]:
    padding = font.size * 0.4
    height = font.size * 1.3
    width = 0.0
    text = ""
    for text in (f"{phrase} {score:.2f}", f"{score:.2f}", f"#{number}"):
        width = font.getlength(text) + 2 * padding
        if width <= room * 1.25:
            break
    return text, width, height


def corners(box: Sequence[float], width: float, height: float) -> list[tuple[float, float]]:
    """Where a tag may start, best first: on the top edge, inside the top, inside the bottom, the middle, around it."""
    x0, y0, x1, y1 = box
    middle_x, middle_y = (x0 + x1 - width) / 2, (y0 + y1 - height) / 2
    fits = x1 - x0 > 1.4 * width and y1 - y0 > 2 * height
    small = x1 - x0 < 2.2 * width and y1 - y0 < 4 * height
    around = [(x0, y0 - height), (x0, y0), (x1 - width, y0), (x0, y1 - height), (x1 - width, y1 - height), (x0, y1)]
    around += [(x1, middle_y), (x0 - width, middle_y), (middle_x, y0 - height), (middle_x, y1)]
    return [(middle_x, middle_y), *around] if small and fits else [*around, (middle_x, middle_y)]


def inside(corner: tuple[float, float], width: float, height: float, canvas: tuple[int, int]) -> Box:
    """The tag's box at a corner, moved until it lies within the canvas (width, height)."""
    x = min(max(corner[0], 0.0), max(0.0, canvas[0] - width))
    y = min(max(corner[1], 0.0), max(0.0, canvas[1] - height))
    return x, y, x + width, y + height


def overlap(a: Box, b: Box) -> float:
    """Area that two boxes share."""
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def draw_tag(canvas: Image.Image, tag: Tag, font: ImageFont.FreeTypeFont) -> None:
    """Paints a tag in its colour, with letters that can be read on it."""
    x0, y0, x1, y1 = (round(value) for value in tag.box)
    _fill_rounded(canvas, (x0, y0, x1, y1), font.size * 0.3, tag.colour)
    ImageDraw.Draw(canvas).text(
        ((x0 + x1) / 2, (y0 + y1) / 2), tag.text, font=font, fill=text_colour(tag.colour), anchor="mm"
    )


def _fill_rounded(canvas: Image.Image, box: tuple[int, int, int, int], radius: float, colour: Colour) -> None:
    """Drawn four times larger and shrunk, for smooth corners."""
    x0, y0, x1, y1 = box
    size = max(1, x1 - x0), max(1, y1 - y0)
    shape = Image.new("L", (size[0] * 4, size[1] * 4))
    ImageDraw.Draw(shape).rounded_rectangle((0, 0, size[0] * 4 - 1, size[1] * 4 - 1), radius * 4, fill=255)
    canvas.paste(colour, (x0, y0), shape.resize(size, Image.Resampling.BOX))


def _with_legend(canvas: Image.Image, result: ImageResult, font: ImageFont.FreeTypeFont) -> Image.Image:
    """A bar below the picture, with as many lines as the phrases need."""
    entries = list(result.counts().items())
    sector = 1 / max(1, len(entries))
    line = font.size * 1.75
    gap, dot = font.size * 1.4, font.size * 0.6
    x, y = font.size * 0.8, font.size * 0.35
    places = []
    for index, (phrase, count) in enumerate(entries):
        text = f"{phrase} {count}" if count else f"{phrase}: absent"
        width = dot * 1.6 + font.getlength(text)
        if x > font.size and x + width > canvas.width - font.size * 0.8:
            x, y = font.size * 0.8, y + line
        places.append((x, y, text, from_hue(_family_hue(index, sector)) if count else BAR_MUTED, count))
        x += width + gap
    tall = Image.new("RGB", (canvas.width, canvas.height + round(y + line + font.size * 0.35)), BAR)
    tall.paste(canvas, (0, 0))
    draw = ImageDraw.Draw(tall)
    for x, y, text, colour, count in places:
        middle = canvas.height + y + line / 2
        left, top, side = round(x), round(middle - dot / 2), round(dot)
        _fill_rounded(tall, (left, top, left + side, top + side), dot / 2, colour)
        draw.text((x + dot * 1.6, middle), text, font=font, fill=BAR_TEXT if count else BAR_MUTED, anchor="lm")
    return tall
