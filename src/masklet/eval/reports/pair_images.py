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
from PIL import Image, ImageDraw, ImageOps
from scipy.ndimage import binary_dilation, binary_erosion

from masklet.errors import InputError
from masklet.eval.analysis.mistakes import LOOSE, MEANINGS, RIGHT, Verdict
from masklet.eval.concepts.outcomes import PairOutcome
from masklet.eval.predict.predict import find_image
from masklet.eval.reports.page import Card
from masklet.ops.masks import mask_to_box, rle_decode
from masklet.render.legends import LegendEntry, with_legend
from masklet.render.palettes import BAR, BAR_TEXT, Colour
from masklet.render.tags import TagRequest, draw_tag, fit_text, load_font, place_tags

SIDE = 480  # pixels of the long side
MOST_SHOWN = 60  # instances on each side, wrong ones first
MOST_SCORES = 16
MAX_PIXELS = 2**26  # of an image or mask that is decoded
_SMALL, _FRAME = 14, 4  # pixels; smaller instances are outlined at that distance
_OPACITY = 0.5

_GREY: Colour = (92, 96, 104)
_LEGEND = {  # distinguishable with any colour vision
    "right": LegendEntry("predicted, right", (64, 160, 255)),
    "loose": LegendEntry("predicted, poor outline", (250, 215, 60)),
    "wrong": LegendEntry("predicted, wrong", (255, 105, 40)),
    "found": LegendEntry("labelled, found", (255, 255, 255)),
    "lost": LegendEntry("labelled, not found", (255, 70, 220)),
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
    image = _read_image(outcome, folders, size)
    if image is None:
        image = Image.new("RGB", size, _GREY)
        font = load_font(13.0)
        text = fit_text(f"no image: {outcome.image}", size[0] - 12, font)
        ImageDraw.Draw(image).text((size[0] / 2, size[1] - 12), text, font=font, fill=BAR_TEXT, anchor="mm")
    return draw_pair_on(image, outcome, verdict)


def draw_pair_on(image: Image.Image, outcome: PairOutcome, verdict: Verdict) -> Image.Image:
    """The image with its instances, above a legend of the colours in it; at most `SIDE` pixels wide or high."""
    size = _thumbnail_size(outcome)
    pixels = np.array(image.convert("RGB").resize(size, Image.Resampling.LANCZOS))
    shapes = _shapes(outcome, verdict, size)
    for shape in shapes:
        _paint(pixels, shape)
    canvas = Image.fromarray(pixels)
    wrong_first = sorted(shapes, key=lambda shape: shape.role == "right")
    requests = []
    for shape in wrong_first:
        box = mask_to_box(shape.mask)
        if shape.score is not None and box is not None:
            x0, y0, x1, y1 = map(float, box)
            colour = _LEGEND[shape.role].colour or BAR_TEXT
            requests.append(TagRequest((f"{shape.score:.2f}",), (x0, y0, x1, y1), colour))
    font = load_font(12.0)
    for tag in place_tags(requests[:MOST_SCORES], font, canvas.size):
        draw_tag(canvas, tag, font)
    roles = {shape.role for shape in shapes}
    return with_legend(canvas, [entry for role, entry in _LEGEND.items() if role in roles], load_font(13.0))


def beside(left: Image.Image, right: Image.Image, titles: tuple[str, str]) -> Image.Image:
    """Two images under their titles."""
    bar, gap, font = 24, 6, load_font(14.0)
    canvas = Image.new("RGB", (left.width + gap + right.width, bar + max(left.height, right.height)), BAR)
    draw = ImageDraw.Draw(canvas)
    for image, x, title in ((left, 0, titles[0]), (right, left.width + gap, titles[1])):
        canvas.paste(image, (x, bar))
        draw.text((x + 8, bar / 2), fit_text(title, image.width - 16, font), font=font, fill=BAR_TEXT, anchor="lm")
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


def _thumbnail_size(outcome: PairOutcome) -> tuple[int, int]:  # width and height
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
    colour = np.array(_LEGEND[shape.role].colour)
    if shape.role in _OUTLINES:
        halo = np.asarray(binary_dilation(edge), bool) & ~edge
        pixels[halo] = (pixels[halo] * 0.25).astype(np.uint8)
    else:
        pixels[mask] = (pixels[mask] * (1 - _OPACITY) + colour * _OPACITY).astype(np.uint8)
    pixels[edge] = colour
