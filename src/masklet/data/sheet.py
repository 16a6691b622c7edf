"""A contact sheet of labelled images: labels drawn over their images, to be checked before training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from masklet.data.schema import Example
from masklet.data.sources import IndexedSource
from masklet.errors import InputError
from masklet.render.marks import outline_width, paint_mask, unit_of
from masklet.render.palettes import BAR, BAR_MUTED, BAR_TEXT, Colour
from masklet.render.tags import fit_text, load_font

COLUMNS, TILE, CAPTION = 4, 320, 76  # pixels of a tile's side, and of the lines below it
MOST_TILES = 24
_MARGIN, _LINE, _ALARM = 8, 17, (255, 105, 40)
_COLOURS = (  # told apart with any kind of colour vision; a phrase has one
    (64, 160, 255),
    (255, 165, 40),
    (90, 220, 160),
    (255, 110, 200),
    (250, 230, 80),
    (175, 130, 255),
)


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
    sheet = Image.new("RGB", (COLUMNS * (TILE + _MARGIN) + _MARGIN, rows * (TILE + CAPTION + _MARGIN) + _MARGIN), BAR)
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
    colour_of_row = [BAR_MUTED] * len(example.boxes_xyxy)
    for query in asked:
        for row in query.object_index:
            colour_of_row[row] = colours[query.phrase]
    phrases = [
        (f"{query.phrase} x{len(query.object_index)}{'' if query.exhaustive else '+'}", colours[query.phrase])
        for query in asked
    ]
    absent = ", ".join(query.phrase for query in example.queries if not query.object_index)
    return _Tile(_paint(example, colour_of_row), title, phrases, (f"not: {absent}" if absent else "", BAR_MUTED))


def _paint(example: Example, colours: Sequence[Colour]) -> Image.Image:
    height, width = example.image.shape[:2]
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(example.image).resize(size, Image.Resampling.BILINEAR)
    for mask, colour in zip(example.masks, colours, strict=True):
        small = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
        paint_mask(image, small, colour, outline_width(unit_of(*size)))
    draw = ImageDraw.Draw(image)
    for box, colour in zip(example.boxes_xyxy, colours, strict=True):
        x0, y0, x1, y1 = (np.clip(box, -width, 2 * width + 2 * height) * scale).tolist()
        draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline=colour, width=2)
    return image


def _draw_tile(sheet: Image.Image, tile: _Tile, x: int, y: int) -> None:
    sheet.paste(tile.image, (x + (TILE - tile.image.width) // 2, y + (TILE - tile.image.height) // 2))
    draw, font = ImageDraw.Draw(sheet), load_font(13.0)
    draw.text((x, y + TILE + 2), fit_text(tile.title, TILE, font), fill=BAR_TEXT, font=font)
    text, colour = tile.last_line
    draw.text((x, y + TILE + 2 + 3 * _LINE), fit_text(text, TILE, font), fill=colour, font=font)
    left, line = x, 1
    for text, colour in tile.phrases:
        if left > x and left + draw.textlength(text, font) > x + TILE:
            left, line = x, line + 1
        if line == 3:
            return
        shown = fit_text(text, x + TILE - left, font)
        draw.text((left, y + TILE + 2 + line * _LINE), shown, fill=colour, font=font)
        left += round(draw.textlength(shown, font)) + 10
