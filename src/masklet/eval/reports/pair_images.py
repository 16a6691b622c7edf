"""Thumbnails of pairs: labelled instances as outlines, predictions as fills, coloured by whether they are right.

Names of images come from label files and are not trusted: only names that stay inside a given folder are opened. An
image that is missing or cannot be read is replaced by a grey background, because the masks still show what happened.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps
from scipy.ndimage import binary_dilation, binary_erosion

from masklet.errors import InputError
from masklet.eval.analysis.mistakes import LOOSE, MEANINGS, RIGHT, Verdict
from masklet.eval.concepts.outcomes import PairOutcome
from masklet.eval.predict.predict import find_image
from masklet.eval.reports.page import Card
from masklet.ops.masks import rle_decode

SIDE = 480  # pixels of the long side
MOST_SHOWN = 60  # instances on each side, wrong ones first
MOST_SCORES = 16
MAX_PIXELS = 2**26  # of an image or mask that is decoded
_SMALL, _FRAME = 14, 4  # pixels; smaller instances are outlined at that distance
_OPACITY = 0.5

Colour = tuple[int, int, int]
_GREY, _BAR, _INK = (92, 96, 104), (24, 25, 30), (236, 237, 240)
_LEGEND: dict[str, tuple[Colour, str]] = {  # distinguishable with any colour vision
    "right": ((64, 160, 255), "predicted, right"),
    "loose": ((250, 215, 60), "predicted, poor outline"),
    "wrong": ((255, 105, 40), "predicted, wrong"),
    "found": ((255, 255, 255), "labelled, found"),
    "lost": ((255, 70, 220), "labelled, not found"),
}
_OUTLINES = ("found", "lost")


def find_or_none(name: str, folders: Sequence[Path]) -> Path | None:
    """The first file of that name; None when there is none or the name leads out of its folder."""
    try:
        return find_image(name, folders)
    except (InputError, OSError):  # missing, outside, or longer than a name may be
        return None


def draw_pair(outcome: PairOutcome, verdict: Verdict, folders: Sequence[Path]) -> Image.Image:
    """The image from the folders with its instances, as `draw_pair_on` draws them."""
    size = _thumbnail_size(outcome)
    return draw_pair_on(_read_image(outcome, folders, size) or _placeholder(outcome.image, size), outcome, verdict)


def draw_pair_on(image: Image.Image, outcome: PairOutcome, verdict: Verdict) -> Image.Image:
    """The image with its instances, above a legend of the colours in it; at most `SIDE` pixels wide or high."""
    size = _thumbnail_size(outcome)
    pixels = np.array(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    shapes = _shapes(outcome, verdict, size)
    for shape in shapes:
        _paint(pixels, shape)
    canvas = Image.fromarray(pixels)
    scored = [shape for shape in shapes if shape.score is not None]
    for shape in sorted(scored, key=lambda shape: shape.role == "right")[:MOST_SCORES]:
        _write_score(canvas, shape)
    return _with_legend(canvas, list(dict.fromkeys(shape.role for shape in shapes)))


def beside(left: Image.Image, right: Image.Image, titles: tuple[str, str]) -> Image.Image:
    """Two images under their titles."""
    bar, gap = 24, 6
    canvas = Image.new("RGB", (left.width + gap + right.width, bar + max(left.height, right.height)), _BAR)
    draw = ImageDraw.Draw(canvas)
    for image, x, title in ((left, 0, titles[0]), (right, left.width + gap, titles[1])):
        canvas.paste(image, (x, bar))
        draw.text(
            (x + 8, bar / 2), _fitting(title, image.width - 16, _font(14)), font=_font(14), fill=_INK, anchor="lm"
        )
    return canvas


def pair_card(image: Image.Image, outcome: PairOutcome, verdict: Verdict, *tags: str) -> Card:
    """The card of a gallery for a pair that was drawn; errors of the pair are tags, too."""
    return Card(to_bytes(image), outcome.phrase, (*tags, *verdict.counts()), describe_pair(outcome, verdict))


def describe_pair(outcome: PairOutcome, verdict: Verdict) -> str:
    """Errors, numbers and image of a pair, in three lines."""
    counts = verdict.counts()
    errors = ", ".join(f"{counts[kind]} {kind}" for kind in MEANINGS if counts[kind]) or "no error"
    presence = "" if outcome.presence is None else f", presence {outcome.presence:.2f}"
    return (
        f"{errors}\n{len(verdict.truths)} labelled, {len(verdict.predictions)} predicted{presence}\n"
        f"{outcome.subset}: {outcome.image}"
    )


def to_bytes(image: Image.Image) -> bytes:
    """JPEG without colour subsampling, which would blur thin outlines."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80, subsampling=0, optimize=True)
    return file.getvalue()


def _thumbnail_size(outcome: PairOutcome) -> tuple[int, int]:
    """Width and height."""
    scale = SIDE / max(outcome.height, outcome.width)
    return max(1, round(outcome.width * scale)), max(1, round(outcome.height * scale))


@dataclass(frozen=True, kw_only=True)
class _Shape:
    """An instance in the thumbnail."""

    role: str  # a key of the legend
    mask: Bool[np.ndarray, "height width"]
    score: float | None


def _read_image(outcome: PairOutcome, folders: Sequence[Path], size: tuple[int, int]) -> Image.Image | None:
    path = find_or_none(outcome.image, folders)
    if path is None:
        return None
    try:
        with Image.open(path) as image:
            stored = image.size
            if stored[0] * stored[1] > MAX_PIXELS:
                return None
            image.draft("RGB", (2 * size[0], 2 * size[1]))  # a JPEG is decoded at a fraction of its size
            as_labelled = image if stored == (outcome.width, outcome.height) else ImageOps.exif_transpose(image)
            return as_labelled.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises for damaged files
        return None


def _placeholder(name: str, size: tuple[int, int]) -> Image.Image:
    canvas = Image.new("RGB", size, _GREY)
    text = _fitting(f"no image: {name}", size[0] - 12, _font(13))
    ImageDraw.Draw(canvas).text((size[0] / 2, size[1] - 12), text, font=_font(13), fill=_INK, anchor="mm")
    return canvas


def _shapes(outcome: PairOutcome, verdict: Verdict, size: tuple[int, int]) -> list[_Shape]:
    """Instances in the order they are drawn: predictions below labels, large below small."""
    predicted = [
        ({RIGHT: "right", LOOSE: "loose"}.get(label, "wrong"), int(row))
        for label, row in zip(verdict.predictions, verdict.kept, strict=True)
    ]
    labelled = [("found" if label in (RIGHT, LOOSE) else "lost", row) for row, label in enumerate(verdict.truths)]
    sides = (
        (predicted, outcome.predicted_counts, outcome.predicted_boxes_xyxy, outcome.predicted_areas, outcome.scores),
        (labelled, outcome.truth_counts, outcome.truth_boxes_xyxy, outcome.truth_areas, None),
    )
    shapes = []
    for roles, counts, boxes, areas, scores in sides:
        shown = sorted(roles, key=lambda item: item[0] in ("right", "found"))[:MOST_SHOWN]
        for role, row in sorted(shown, key=lambda item: -areas[item[1]]):
            mask = _thumbnail_mask(outcome, counts[row] if row < len(counts) else None, boxes[row], size)
            shapes.append(_Shape(role=role, mask=mask, score=None if scores is None else float(scores[row])))
    return shapes


def _thumbnail_mask(outcome: PairOutcome, counts: str | None, box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask at the size of the thumbnail, or its box where there is no mask that can be drawn."""
    rows = ((np.arange(size[1]) + 0.5) * outcome.height / size[1]).astype(int)
    columns = ((np.arange(size[0]) + 0.5) * outcome.width / size[0]).astype(int)
    if counts is not None and outcome.height * outcome.width <= MAX_PIXELS:
        try:
            return rle_decode(counts, outcome.height, outcome.width)[rows[:, None], columns]
        except ValueError:  # damaged, or of another size
            pass
    x0, y0, x1, y1 = box
    return ((rows >= np.floor(y0)) & (rows < y1))[:, None] & (columns >= np.floor(x0)) & (columns < x1)


def _paint(pixels: UInt8[np.ndarray, "height width 3"], shape: _Shape) -> None:
    """Fills a prediction or outlines a label, within the window of the mask, which is far faster than everywhere."""
    rows, columns = np.flatnonzero(shape.mask.any(axis=1)), np.flatnonzero(shape.mask.any(axis=0))
    if not rows.size:
        return
    window = tuple(slice(max(0, each[0] - _FRAME - 2), each[-1] + _FRAME + 3) for each in (rows, columns))
    mask, pixels = shape.mask[window], pixels[window]
    outlined = mask
    if max(np.ptp(rows), np.ptp(columns)) < _SMALL:  # too small to be noticed
        outlined = np.asarray(binary_dilation(mask, np.ones((3, 3)), iterations=_FRAME), bool)
    thickness = 2 if shape.role == "lost" else 1
    edge = outlined & ~np.asarray(binary_erosion(outlined, iterations=thickness), bool)
    colour = np.array(_LEGEND[shape.role][0])
    if shape.role in _OUTLINES:
        halo = np.asarray(binary_dilation(edge), bool) & ~edge
        pixels[halo] = (pixels[halo] * 0.25).astype(np.uint8)
    else:
        pixels[mask] = (pixels[mask] * (1 - _OPACITY) + colour * _OPACITY).astype(np.uint8)
    pixels[edge] = colour


def _write_score(canvas: Image.Image, shape: _Shape) -> None:
    """Writes the score near the middle of the mask, on a dark background."""
    rows, columns = np.nonzero(shape.mask)
    if not rows.size:
        return
    nearest = np.argmin((rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2)
    x, y = float(columns[nearest]), float(rows[nearest])
    if np.ptp(rows) < _SMALL or np.ptp(columns) < 2 * _SMALL:  # no room inside
        y = float(rows.min()) - 12 if rows.min() > 20 else float(rows.max()) + 12
    draw, text, font = ImageDraw.Draw(canvas), f"{shape.score:.2f}", _font(12)
    width = font.getlength(text) + 6
    x, y = min(max(x, width / 2), canvas.width - width / 2), min(max(y, 8.0), canvas.height - 8.0)
    draw.rounded_rectangle((x - width / 2, y - 8, x + width / 2, y + 8), 3, fill=_BAR)
    draw.text((x, y), text, font=font, fill=_LEGEND[shape.role][0], anchor="mm")


def _with_legend(canvas: Image.Image, roles: Sequence[str]) -> Image.Image:
    """The image above a legend with as many lines as it needs."""
    font, line, places = _font(13), 20, []
    x, y = 8.0, 0
    for role in (role for role in _LEGEND if role in roles):
        width = 18 + font.getlength(_LEGEND[role][1]) + 14
        if x > 8 and x + width > canvas.width:
            x, y = 8.0, y + line
        places.append((role, x, y))
        x += width
    tall = Image.new("RGB", (canvas.width, canvas.height + y + line + 4), _BAR)
    tall.paste(canvas, (0, 0))
    draw = ImageDraw.Draw(tall)
    for role, left, top in places:
        colour, text = _LEGEND[role]
        middle = canvas.height + 2 + top + line / 2
        corners = (left, middle - 5, left + 11, middle + 5)
        draw.rectangle(corners, outline=colour, width=2, fill=None if role in _OUTLINES else colour)
        draw.text((left + 18, middle), text, font=font, fill=_INK, anchor="lm")
    return tall


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _fitting(text: str, width: float | int, font: ImageFont.FreeTypeFont) -> str:
    """One line with as much of the text as there is room for."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text[:200])
    while shown and font.getlength(shown) > width:
        shown = shown[: max(0, len(shown) - 5)].rstrip(" ….") + "…" if len(shown) > 5 else ""
    return shown
