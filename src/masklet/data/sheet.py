"""A contact sheet of labelled images: labels drawn over their images, to be checked before training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from masklet.data.schema import Example
from masklet.data.sources import IndexedSource
from masklet.errors import InputError

COLUMNS, TILE, CAPTION = 4, 320, 76  # pixels of a tile's side, and of the lines below it
MOST_TILES = 24
_MARGIN, _LINE, _OPACITY = 8, 17, 0.45
_GROUND, _INK, _MUTED, _ALARM = (24, 25, 30), (236, 237, 240), (140, 143, 152), (255, 105, 40)
_COLOURS = (  # told apart with any kind of colour vision; a phrase has one
    (64, 160, 255),
    (255, 165, 40),
    (90, 220, 160),
    (255, 110, 200),
    (250, 230, 80),
    (175, 130, 255),
)

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class _Tile:
    image: Image.Image
    title: str
    phrases: Sequence[tuple[str, Colour]]
    last_line: tuple[str, Colour]


def contact_sheet(sources: Mapping[str, IndexedSource]) -> Image.Image:
    """Images of all sources, at even distances, with masks, boxes, phrases, and what is said to be absent.

    The sheet has `COLUMNS` tiles in a row. An image that cannot be used is a grey tile with the reason.
    """
    share = max(1, MOST_TILES // max(1, len(sources)))
    tiles = []
    for name, source in sources.items():
        count = min(share, len(source))
        tiles += [_tile(name, source, index * len(source) // count) for index in range(count)]
    rows = max(1, -(-len(tiles) // COLUMNS))
    sheet = Image.new(
        "RGB", (COLUMNS * (TILE + _MARGIN) + _MARGIN, rows * (TILE + CAPTION + _MARGIN) + _MARGIN), _GROUND
    )
    for number, tile in enumerate(tiles):
        x = _MARGIN + number % COLUMNS * (TILE + _MARGIN)
        y = _MARGIN + number // COLUMNS * (TILE + CAPTION + _MARGIN)
        _draw_tile(sheet, tile, x, y)
    return sheet


def _tile(source_name: str, source: IndexedSource, index: int) -> _Tile:
    title = f"{source_name}: {source.name(index)}"
    try:
        example = source.example(index, np.random.default_rng(index))
    except InputError as error:
        return _Tile(Image.new("RGB", (TILE, TILE), (92, 96, 104)), title, [], (str(error), _ALARM))
    asked = [query for query in example.queries if query.object_index]
    colours = {query.phrase: _COLOURS[row % len(_COLOURS)] for row, query in enumerate(asked)}
    colour_of_row = [_MUTED] * len(example.boxes_xyxy)
    for query in asked:
        for row in query.object_index:
            colour_of_row[row] = colours[query.phrase]
    phrases = [
        (f"{query.phrase} x{len(query.object_index)}{'' if query.exhaustive else '+'}", colours[query.phrase])
        for query in asked
    ]
    absent = ", ".join(query.phrase for query in example.queries if not query.object_index)
    return _Tile(_paint(example, colour_of_row), title, phrases, (f"not: {absent}" if absent else "", _MUTED))


def _paint(example: Example, colours: Sequence[Colour]) -> Image.Image:
    """The image at the size of a tile, masks as tints, boxes as frames."""
    height, width = example.image.shape[:2]
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = np.array(Image.fromarray(example.image).resize(size, Image.Resampling.BILINEAR), np.float32)
    for mask, colour in zip(example.masks, colours, strict=True):
        small = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        pixels[small] = (1 - _OPACITY) * pixels[small] + _OPACITY * np.array(colour, np.float32)
    image = Image.fromarray(pixels.round().astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for box, colour in zip(example.boxes_xyxy, colours, strict=True):
        x0, y0, x1, y1 = (np.clip(box, -width, 2 * width + 2 * height) * scale).tolist()
        draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline=colour, width=2)
    return image


def _draw_tile(sheet: Image.Image, tile: _Tile, x: int, y: int) -> None:
    sheet.paste(tile.image, (x + (TILE - tile.image.width) // 2, y + (TILE - tile.image.height) // 2))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    draw.text((x, y + TILE + 2), _fitting(draw, tile.title, font, TILE), fill=_INK, font=font)
    text, colour = tile.last_line
    draw.text((x, y + TILE + 2 + 3 * _LINE), _fitting(draw, text, font, TILE), fill=colour, font=font)
    left, line = x, 1
    for text, colour in tile.phrases:
        if left > x and left + draw.textlength(text, font) > x + TILE:
            left, line = x, line + 1
        if line == 3:
            return
        shown = _fitting(draw, text, font, x + TILE - left)
        draw.text((left, y + TILE + 2 + line * _LINE), shown, fill=colour, font=font)
        left += round(draw.textlength(shown, font)) + 10


def _fitting(
    draw: ImageDraw.ImageDraw, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> str:
    """As much of a line as fits."""
    text = " ".join(text.split())
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(text + "…", font) > width:
        text = text[:-1]
    return text + "…"
