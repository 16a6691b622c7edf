"""CVAT for images 1.1: one XML file for all images, shapes in pixels."""

from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.coco import CocoBuilder, CocoFile
from masklet.formats.records import RunLengths, decode_mask
from masklet.formats.tools.objects import (
    Shape,
    box_of,
    by_image,
    check_pixels,
    gather,
    image_name,
    name_of_image,
    number,
    read_xml,
    size_of,
    whole_number,
)
from masklet.ops.masks import mask_to_box, rle_encode


def read_cvat(path: Path) -> CocoFile:
    """Boxes, polygons, ellipses and masks are objects; points, lines, skeletons and tags are none.

    Raises: InputError naming the file, the image and what is wrong with it.
    """
    root = read_xml(path)
    if root.tag != "annotations":
        raise InputError(f"{path}: is <{root.tag}>; <annotations> of CVAT for images 1.1 is expected")
    if root.find("track") is not None:
        raise InputError(f"{path}: holds tracks of a video; export it as CVAT for images 1.1")
    builder = CocoBuilder()
    for name in root.iterfind(".//labels/label/name"):
        builder.add_category(name.text or "")
    for image in root.iterfind("image"):
        where = f"{path}: image {image.get('id') or image.get('name')}"
        size = tuple(whole_number(image.get(side), f"{where}: {side}") for side in ("height", "width"))
        if not image.get("name"):
            raise InputError(f"{where}: name: is missing")
        builder.add_image(image_name(".", image.get("name", "")), check_pixels(size[0], size[1], where))
        shapes = [_shape(each, (size[0], size[1]), f"{where}: {each.tag} {place}") for place, each in enumerate(image)]
        for phrase, box, segmentation in gather([each for each in shapes if each is not None]):
            builder.add_object(phrase, box, segmentation)
    if not builder.images:
        raise InputError(f"{path}: has no images; export it as CVAT for images 1.1")
    return builder.build()


def _shape(element: Element, size: tuple[int, int], where: str) -> Shape | None:
    phrase, group = element.get("label", ""), element.get("group_id")
    group = None if group in (None, "", "0") else group
    match element.tag:
        case "box":
            return Shape(phrase=phrase, box=_box(element, where))
        case "polygon":
            pairs = [pair.split(",") for pair in element.get("points", "").split(";")]
            if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
                raise InputError(f"{where}: points: three pairs x,y or more are expected, with ; between them")
            points = [[number(value, f"{where}: points") for value in pair] for pair in pairs]
            return Shape(phrase=phrase, polygon=points, group=group)
        case "ellipse":
            cx, cy, rx, ry = (number(element.get(name), f"{where}: {name}") for name in ("cx", "cy", "rx", "ry"))
            angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
            points = np.stack([rx * np.cos(angles), ry * np.sin(angles)], axis=-1) @ _rotation(element, where)
            return Shape(phrase=phrase, polygon=(points + np.array([cx, cy])).tolist(), group=group)
        case "mask":
            return Shape(phrase=phrase, mask=_decode(element, size, where))
    return None


def _rotation(element: Element, where: str) -> np.ndarray:
    """Turns rows of points clockwise on screen."""
    angle = np.deg2rad(number(element.get("rotation", "0"), f"{where}: rotation"))
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _box(element: Element, where: str) -> list[float]:
    """The box around a box that may be turned about its middle."""
    x0, y0, x1, y1 = (number(element.get(name), f"{where}: {name}") for name in ("xtl", "ytl", "xbr", "ybr"))
    middle = np.array([x0 + x1, y0 + y1]) / 2
    corners = (np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) - middle) @ _rotation(element, where) + middle
    low, high = corners.min(axis=0), corners.max(axis=0)
    return [*low.round(3).tolist(), *(high - low).round(3).tolist()]


def _decode(element: Element, size: tuple[int, int], where: str) -> RunLengths:
    """Runs along the rows of the part of the image that is stated, the first of them clear."""
    left, top, width, height = (
        whole_number(element.get(name), f"{where}: {name}") for name in ("left", "top", "width", "height")
    )
    runs = [whole_number(each.strip(), f"{where}: rle") for each in element.get("rle", "").split(",")]
    if min(left, top, *runs) < 0 or left + width > size[1] or top + height > size[0] or sum(runs) != width * height:
        raise InputError(f"{where}: rle: does not fill {width} x {height} pixels inside of the image")
    part = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
    mask = np.zeros(size, bool)
    mask[top : top + height, left : left + width] = part
    return RunLengths(size=[*size], counts=rle_encode(mask))


def write_cvat(labels: CocoFile, path: Path) -> Path:
    """Writes the file; masks stay masks, polygons of one object have one group."""
    root = Element("annotations")
    SubElement(root, "version").text = "1.1"
    listed = SubElement(SubElement(SubElement(root, "meta"), "job"), "labels")
    for category in labels.categories.values():
        SubElement(SubElement(listed, "label"), "name").text = category.name
    groups = 0
    for place, (image, records) in enumerate(by_image(labels)):
        size = size_of(image)
        plain = {"id": str(place), "name": name_of_image(image), "width": str(size[1]), "height": str(size[0])}
        parent = SubElement(root, "image", plain)
        for record in records:
            common = {"label": labels.categories[record.category_id].name, "source": "manual", "occluded": "0"}
            if isinstance(record.segmentation, list) and record.segmentation:
                groups += len(record.segmentation) > 1
                group = {"group_id": str(groups)} if len(record.segmentation) > 1 else {}
                for each in record.segmentation:
                    text = ";".join(f"{x:.2f},{y:.2f}" for x, y in np.reshape(each, (-1, 2)).tolist())
                    SubElement(parent, "polygon", common | {"points": text, "z_order": "0"} | group)
            elif record.segmentation:
                values = _encode(decode_mask(record.segmentation, size))
                SubElement(parent, "mask", common | values | {"z_order": "0"})
            else:
                x, y, width, height = box_of(record, size)
                corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), (x, y, x + width, y + height), strict=True))
                SubElement(parent, "box", common | {name: f"{value:.2f}" for name, value in corners.items()})
    return write_atomically(path, ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _encode(mask: np.ndarray) -> dict[str, str]:
    left, top, right, bottom = mask_to_box(mask) or (0, 0, 1, 1)
    pixels = np.concatenate([[False], mask[top:bottom, left:right].ravel()])
    ends = np.flatnonzero(pixels[1:] != pixels[:-1])
    runs = np.diff(ends, prepend=0, append=len(pixels) - 1)
    values = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    return {"rle": ", ".join(map(str, runs.tolist()))} | {name: str(value) for name, value in values.items()}
