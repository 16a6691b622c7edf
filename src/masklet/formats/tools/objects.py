"""What the files of annotation tools have in common: names of images, groups of shapes, and safe XML."""

import os
import posixpath
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from masklet.errors import InputError
from masklet.formats.coco import CocoAnnotation, CocoFile, CocoImage
from masklet.formats.records import RunLengths, decode_mask
from masklet.ops.masks import mask_to_box

MAX_XML_BYTES = 2**28
MAX_IMAGE_PIXELS = 200_000_000
OBJECT = "object"  # the phrase of what has no name

Points = list[list[float]]


def read_xml(path: Path) -> ElementTree.Element:
    """The root of an XML file, in which nothing is declared: no entities to expand, no files to fetch.

    Raises: InputError when it is too large, declares a document type, or is no XML.
    """
    try:
        if path.stat().st_size > MAX_XML_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes are too many, the limit is {MAX_XML_BYTES}")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not a text file in UTF-8") from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(f"{path}: declares a document type or entities, which no labels need; it is not read")
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, RecursionError) as error:
        place = getattr(error, "position", None)
        where = f" at line {place[0]}" if place else ""
        raise InputError(f"{path}: not readable as XML{where}") from error


def number(text: str | None, where: str) -> float:
    """A finite number written in XML. Raises: InputError beginning with `where`."""
    try:
        value = float(text or "")
    except ValueError as error:
        raise InputError(f"{where}: is {text!r}; a number is expected") from error
    if not np.isfinite(value):
        raise InputError(f"{where}: is {text!r}; a finite number is expected")
    return value


def whole_number(text: str | None, where: str) -> int:
    """A whole number written in XML. Raises: InputError beginning with `where`."""
    value = number(text, where)
    if value != int(value) or abs(value) > 2**20:
        raise InputError(f"{where}: is {text!r}; a whole number is expected")
    return int(value)


def check_pixels(height: int, width: int, where: str) -> tuple[int, int]:
    """The size of an image. Raises: InputError beginning with `where` for no pixels, or more than any image has."""
    if height < 1 or width < 1 or height * width > MAX_IMAGE_PIXELS:
        raise InputError(f"{where}: an image of {width} x {height} pixels is out of range")
    return height, width


def image_name(below: str, name: str) -> str:
    """The path of an image as labels in the folder `below` name it; where it leads elsewhere, it lies beside them."""
    path = posixpath.normpath(posixpath.join(below, name.replace("\\", "/")))
    is_elsewhere = path.startswith(("..", "/")) or ":" in path.split("/")[0]
    return posixpath.normpath(posixpath.join(below, posixpath.basename(path))) if is_elsewhere else path


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A shape as a tool has it: a polygon, a box (xywh) or a mask; shapes of one group and phrase are one object."""

    phrase: str
    polygon: Sequence[Sequence[float]] | None = None
    box: Sequence[float] | None = None
    mask: RunLengths | None = None
    group: Hashable = None


def gather(shapes: Sequence[Shape]) -> Iterator[tuple[str, list[float] | None, RunLengths | Points | None]]:
    """Phrase, box and segmentation of each object, in the order of their first shapes."""
    groups: dict[tuple, list[Shape]] = {}
    for place, shape in enumerate(shapes):
        key = (place,) if shape.group is None else (shape.phrase, shape.group)
        groups.setdefault(key, []).append(shape)
    for members in groups.values():
        polygons = [[float(value) for point in each.polygon for value in point] for each in members if each.polygon]
        if polygons:
            yield members[0].phrase, None, polygons
            continue
        for each in members:
            yield each.phrase, None if each.box is None else [*each.box], each.mask


def size_of(image: CocoImage) -> tuple[int, int]:
    """Height and width. Raises: InputError when they are not known."""
    if image.height is None or image.width is None:
        raise InputError(f"image {image.file_name}: its size is not known")
    return image.height, image.width


def box_of(record: CocoAnnotation, size: tuple[int, int]) -> list[float | int]:
    """The box of an object, xywh in pixels, from its mask where none is stated."""
    if record.bbox is not None:
        return [*record.bbox]
    x0, y0, x1, y1 = mask_to_box(decode_mask(record.segmentation, size)) or (0, 0, 0, 0)
    return [x0, y0, x1 - x0, y1 - y0]


def by_image(labels: CocoFile) -> Iterator[tuple[CocoImage, list[CocoAnnotation]]]:
    """Every image with its annotations."""
    found = labels.by_image()
    for image in labels.images.values():
        yield image, found.get(image.id, [])


def stem_path(folder: Path, name: str, suffix: str) -> Path:
    """The place below a folder of the labels of an image, whose own folders are kept."""
    return folder / (os.path.splitext(name)[0] + suffix)


def name_of_image(image: CocoImage) -> str:
    """The file name. Raises: InputError without one."""
    if image.file_name is None:
        raise InputError(f"image {image.id}: file_name: is missing")
    return image_name(".", image.file_name)
