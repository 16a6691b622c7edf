"""LabelMe: a JSON file beside each image, with shapes in pixels."""

import base64
import binascii
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.coco import CocoAnnotation, CocoBuilder, CocoFile, CocoImage
from masklet.formats.records import Id, RunLengths, Size, decode_mask, parse
from masklet.formats.tools.objects import (
    Shape,
    box_of,
    by_image,
    check_pixels,
    gather,
    image_name,
    name_of_image,
    size_of,
    stem_path,
)
from masklet.ops.masks import mask_to_box, rle_encode

MAX_LABELME_BYTES = 2**28  # most of it is the image, which LabelMe keeps in the file


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMeShape:
    """An entry of `shapes`; `mask` is a PNG of the box that its two points span."""

    label: str
    points: list[list[float]]
    shape_type: str | None = "polygon"
    group_id: Id | None = None
    mask: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelMeFile:
    """The whole document, without the image in it."""

    shapes: list[LabelMeShape]
    imagePath: str
    imageHeight: Size | None = None
    imageWidth: Size | None = None


def read_labelme(path: Path) -> CocoFile:
    """The labels of a file, or of all files below a folder; names are relative to the folder.

    Polygons, rectangles, circles and masks are objects; points and lines are none. Raises: InputError naming the file.
    """
    folder = path if path.is_dir() else path.parent
    files = sorted(folder.rglob("*.json")) if path.is_dir() else [path]
    builder = CocoBuilder()
    for file in files:
        if not any(part.startswith(".") for part in file.relative_to(folder).parts):
            _read_file(file, folder, builder)
    if not builder.images:
        raise InputError(f"{path}: no LabelMe file (.json with shapes)")
    return builder.build()


def _read_file(file: Path, folder: Path, builder: CocoBuilder) -> None:
    try:
        if file.stat().st_size > MAX_LABELME_BYTES:
            raise InputError(f"{file}: {file.stat().st_size} bytes are too many for the labels of one image")
        document = json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise error if isinstance(error, InputError) else InputError(f"{file}: not readable as JSON") from error
    if not isinstance(document, dict) or "shapes" not in document:
        return  # another JSON file beside
    document.pop("imageData", None)
    record = parse(LabelMeFile, json.dumps(document), file, "the document")
    below = file.parent.relative_to(folder).as_posix()
    height, width = record.imageHeight, record.imageWidth
    known = None if height is None or width is None else check_pixels(height, width, str(file))
    builder.add_image(image_name(below, record.imagePath), known)
    shapes = []
    for place, shape in enumerate(record.shapes):
        found = _shape(shape, known, f"{file}: shape {place}")
        shapes += [] if found is None else [found]
    for phrase, box, segmentation in gather(shapes):
        builder.add_object(phrase, box, segmentation)


def _shape(shape: LabelMeShape, size: tuple[int, int] | None, where: str) -> Shape | None:
    """None of what has no area."""
    points = shape.points
    if any(len(point) != 2 or not np.isfinite(point).all() for point in points):
        raise InputError(f"{where}: points: two finite numbers each are expected")
    if shape.shape_type in ("rectangle", "mask", "circle") and len(points) != 2:
        raise InputError(f"{where}: points: a {shape.shape_type} has two, not {len(points)}")
    match shape.shape_type:
        case "polygon" | None if len(points) >= 3:
            return Shape(phrase=shape.label, polygon=points, group=shape.group_id)
        case "rectangle":
            return Shape(phrase=shape.label, box=_box(points))
        case "circle":
            (x, y), edge = points
            angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
            radius = float(np.hypot(edge[0] - x, edge[1] - y))
            circle = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=-1)
            return Shape(phrase=shape.label, polygon=circle.tolist(), group=shape.group_id)
        case "mask":
            return Shape(phrase=shape.label, mask=_decode(shape.mask, points, size, where))
    return None


def _box(points: Sequence[Sequence[float]]) -> list[float]:
    (x0, y0), (x1, y1) = points
    return [min(x0, x1), min(y0, y1), abs(x1 - x0), abs(y1 - y0)]


def _decode(
    text: str | None, points: Sequence[Sequence[float]], size: tuple[int, int] | None, where: str
) -> RunLengths:
    if size is None:
        raise InputError(f"{where}: mask: imageHeight and imageWidth are missing")
    left, top, width, height = (round(value) for value in _box(points))
    try:
        with Image.open(io.BytesIO(base64.b64decode(text or "", validate=True)), formats=["PNG"]) as image:
            if image.size != (width + 1, height + 1):
                raise InputError(f"{where}: mask: is {image.size}, its points span {(width + 1, height + 1)}")
            part = np.asarray(image.convert("L")) > 0
    except (OSError, SyntaxError, ValueError, binascii.Error) as error:
        raise error if isinstance(error, InputError) else InputError(f"{where}: mask: is no PNG in base 64") from error
    if left < 0 or top < 0 or left + width >= size[1] or top + height >= size[0]:
        raise InputError(f"{where}: mask: lies outside of the image")
    mask = np.zeros(size, bool)
    mask[top : top + height + 1, left : left + width + 1] = part
    return RunLengths(size=[*size], counts=rle_encode(mask))


def write_labelme(labels: CocoFile, folder: Path) -> list[Path]:
    """Writes a file for each image and returns them."""
    names = {key: each.name for key, each in labels.categories.items()}
    return [_write_file(image, records, names, folder) for image, records in by_image(labels)]


def _write_file(image: CocoImage, records: list[CocoAnnotation], names: dict[Id, str], folder: Path) -> Path:
    size, name = size_of(image), name_of_image(image)
    shapes: list[dict[str, Any]] = []
    for place, record in enumerate(records, start=1):
        common = {"label": names[record.category_id], "group_id": None, "flags": {}}
        if isinstance(record.segmentation, list) and record.segmentation:
            group = place if len(record.segmentation) > 1 else None
            shapes += [
                common | {"group_id": group, "shape_type": "polygon", "points": np.reshape(each, (-1, 2)).tolist()}
                for each in record.segmentation
            ]
        elif record.segmentation:
            shapes.append(common | _encode(decode_mask(record.segmentation, size)))
        else:
            x, y, width, height = box_of(record, size)
            shapes.append(common | {"shape_type": "rectangle", "points": [[x, y], [x + width, y + height]]})
    document = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": name.rsplit("/", 1)[-1]}
    document |= {"imageData": None, "imageHeight": size[0], "imageWidth": size[1]}
    return write_atomically(stem_path(folder, name, ".json"), json.dumps(document))


def _encode(mask: np.ndarray) -> dict[str, Any]:
    left, top, right, bottom = mask_to_box(mask) or (0, 0, 1, 1)
    file = io.BytesIO()
    Image.fromarray(mask[top:bottom, left:right].astype(np.uint8) * 255).save(file, "PNG")
    text = base64.b64encode(file.getvalue()).decode()
    return {"shape_type": "mask", "points": [[left, top], [right - 1, bottom - 1]], "mask": text}
