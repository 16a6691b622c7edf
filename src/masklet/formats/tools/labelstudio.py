"""Label Studio's JSON: a list of tasks; regions are in percent of the image, brush strokes in run lengths of its own.

Polygons are made for `<PolygonLabels name="label" toName="image">`, masks for `<BrushLabels ...>`.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np
from jaxtyping import Bool, Float, UInt8

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.coco import CocoBuilder, CocoFile
from masklet.formats.records import RunLengths, decode_mask
from masklet.formats.stream import iterate_items
from masklet.formats.tools.objects import (
    OBJECT,
    Shape,
    box_of,
    by_image,
    check_pixels,
    gather,
    image_name,
    name_of_image,
    size_of,
)
from masklet.ops.masks import rle_encode

_UPLOADED = re.compile(r"^[0-9a-f]{8}-(?=.)")  # what the server puts before the names of uploaded files
_WORD, _LENGTHS = 8, (4, 8, 12, 16)  # bits of a value, and of the four kinds of run lengths
_CHANNELS = 4  # a brush paints RGBA; the last is the mask


@dataclass(frozen=True, kw_only=True)
class LabelStudioRegion:
    """An outlined object; its points are fractions of the image."""

    id: str
    phrase: str
    points: Float[np.ndarray, "point 2"]
    score: float


def to_task(
    image_url: str, size: tuple[int, int], regions: Sequence[LabelStudioRegion], score: float
) -> dict[str, Any]:
    """A task with one prediction; `size` is height and width, `image_url` where the server finds the image."""
    results = [
        _region(region.id, "polygon", region.phrase, size, _polygon(region.points)) | {"score": region.score}
        for region in regions
    ]
    prediction = {"model_version": "masklet", "score": score, "result": results}
    return {"data": {"image": image_url}, "predictions": [prediction]}


def _region(key: str, kind: str, phrase: str, size: tuple[int, int], value: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": key,
        "type": f"{kind}labels",
        "from_name": "label" if kind == "polygon" else kind,
        "to_name": "image",
        "original_width": size[1],
        "original_height": size[0],
        "image_rotation": 0,
        "value": value | {f"{kind}labels": [phrase]},
    }


def _polygon(points: Float[np.ndarray, "point 2"]) -> dict[str, Any]:
    return {"points": (points * 100).round(4).tolist(), "closed": True}


# --- reading ------------------------------------------------------------------------------------------------------


def read_labelstudio(path: Path) -> CocoFile:
    """The labels of an export: polygons, rectangles, ellipses and brush strokes of the annotations of each task.

    A task without annotations that were not cancelled gives its first prediction. Images go by the end of their
    address. Raises: InputError naming the file, the task and what is wrong with it.
    """
    builder = CocoBuilder()
    for place, (section, task, _) in enumerate(iterate_items(path)):
        where = f"{path}: task {task.get('id', place) if isinstance(task, dict) else place}"
        if section or not isinstance(task, dict):
            raise InputError(f"{path}: a list of tasks is expected, as Label Studio's JSON export is")
        try:
            _read_task(task, builder, where)
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise InputError(f"{where}: is not as Label Studio writes it ({error!r})") from error
        except ValueError as error:
            raise error if isinstance(error, InputError) else InputError(f"{where}: {error}") from error
    if not builder.images:
        raise InputError(f"{path}: has no tasks")
    return builder.build()


def _read_task(task: dict[str, Any], builder: CocoBuilder, where: str) -> None:
    done = [each for each in task.get("annotations") or () if not each.get("was_cancelled")]
    results = [each for one in done for each in one["result"]]
    if not done and task.get("predictions"):
        results = task["predictions"][0]["result"]
    address = next((value for value in task["data"].values() if isinstance(value, str)), None)
    if not address:
        raise InputError(f"{where}: data: has no address of an image")
    sizes = {(each["original_height"], each["original_width"]) for each in results if "original_height" in each}
    if len(sizes) > 1:
        raise InputError(f"{where}: original_height, original_width: differ between regions")
    height, width = sizes.pop() if sizes else (0, 0)
    size = check_pixels(int(height), int(width), where) if height else None
    builder.add_image(name_of_address(address), size)
    shapes = [shape for each in results if size for shape in _shapes(each, size, where)]
    for phrase, box, segmentation in gather(shapes):
        builder.add_object(phrase, box, segmentation)


def name_of_address(address: str) -> str:
    """The path of an image below the folder of images, from a URL or a path on the server."""
    parts = urlsplit(address)
    local = parse_qs(parts.query).get("d")
    path = unquote(local[0] if local else parts.path)
    if "/upload/" in path or path.startswith("upload/"):
        return _UPLOADED.sub("", path.rsplit("/", 1)[-1])
    return image_name(".", path)


def _shapes(region: dict[str, Any], size: tuple[int, int], where: str) -> Iterator[Shape]:
    kind = region.get("type", "")
    if kind not in (
        "polygonlabels",
        "rectanglelabels",
        "brushlabels",
        "ellipselabels",
        "polygon",
        "rectangle",
        "brush",
    ):
        return
    value = region["value"]
    phrases = value.get(kind) or value.get("labels") or [OBJECT]
    scale = np.array([size[1], size[0]]) / 100
    for phrase in phrases:
        if kind.startswith("polygon"):
            points = np.array(value["points"], np.float64)
            if points.ndim != 2 or points.shape[0] < 3 or points.shape[1] != 2 or not np.isfinite(points).all():
                raise InputError(f"{where}: points: three pairs or more of finite numbers are expected")
            yield Shape(phrase=phrase, polygon=(points * scale).round(6).tolist())
        elif kind.startswith("brush"):
            yield Shape(phrase=phrase, mask=_decode(value["rle"], size, where))
        elif kind.startswith("ellipse"):
            angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
            radii = np.array([value["radiusX"], value["radiusY"]], np.float64) * scale
            points = np.stack([np.cos(angles), np.sin(angles)], axis=-1) * radii @ _rotation(value)
            yield Shape(phrase=phrase, polygon=(points + np.array([value["x"], value["y"]]) * scale).tolist())
        else:
            sides = np.array([value["width"], value["height"]], np.float64) * scale
            corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * sides @ _rotation(value)
            corners = corners + np.array([value["x"], value["y"]]) * scale
            low, high = corners.min(axis=0), corners.max(axis=0)
            yield Shape(phrase=phrase, box=[*low.round(4).tolist(), *(high - low).round(4).tolist()])


def _rotation(value: dict[str, Any]) -> np.ndarray:
    """Turns rows of points clockwise on screen about their origin."""
    angle = np.deg2rad(float(value.get("rotation") or 0))
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


# --- brush strokes ------------------------------------------------------------------------------------------------


def _decode(code: list[int], size: tuple[int, int], where: str) -> RunLengths:
    try:
        values = unpack_brush(np.array(code, np.uint8), size[0] * size[1] * _CHANNELS)
    except (ValueError, OverflowError) as error:
        raise InputError(f"{where}: rle: {error}") from error
    mask = values.reshape(*size, _CHANNELS)[..., -1] > 0
    return RunLengths(size=[*size], counts=rle_encode(mask))


def unpack_brush(code: UInt8[np.ndarray, " byte"], expected: int) -> UInt8[np.ndarray, " value"]:
    """The values of a brush: 32 bits say how many, 5 the bits of a value, 4 each those of four kinds of lengths.

    Then come stretches: a bit that says whether one value follows that is repeated, or each by itself, two for the kind
    of the length, the length less one, and the values. Raises: ValueError when they are not `expected` in number.
    """
    bits = np.unpackbits(code)
    at = 0

    def take(count: int) -> int:
        nonlocal at
        if at + count > len(bits):
            raise ValueError("ends early")
        at += count
        return int("".join(map(str, bits[at - count : at].tolist())), 2)

    total, word = take(32), take(5) + 1
    lengths = [take(4) + 1 for _ in range(4)]
    if total != expected or word != _WORD:
        raise ValueError(f"holds {total} values of {word} bits, {expected} of {_WORD} are expected")
    values = np.zeros(total, np.uint8)
    done = 0
    while done < total:
        is_run = take(1)
        count = take(lengths[take(2)]) + 1
        if done + count > total:
            raise ValueError("holds more values than it says")
        if is_run:
            values[done : done + count] = take(word)
        else:
            if at + count * word > len(bits):
                raise ValueError("ends early")
            values[done : done + count] = np.packbits(bits[at : at + count * word])
            at += count * word
        done += count
    return values


def pack_brush(mask: Bool[np.ndarray, "height width"]) -> list[int]:
    """A mask as `unpack_brush` reads it, in runs of one value."""
    flat = mask.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    starts = np.concatenate([[0], edges])
    runs = np.diff(starts, append=flat.size) * _CHANNELS
    text = [f"{flat.size * _CHANNELS:032b}", f"{_WORD - 1:05b}", *(f"{each - 1:04b}" for each in _LENGTHS)]
    for is_set, run in zip(flat[starts].tolist(), runs.tolist(), strict=True):
        value = "1" * _WORD if is_set else "0" * _WORD
        for count in [2**16] * (run // 2**16) + [run % 2**16] * (run % 2**16 > 0):
            kind = next(kind for kind, bits in enumerate(_LENGTHS) if count <= 2**bits)
            text.append(f"1{kind:02b}{count - 1:0{_LENGTHS[kind]}b}{value}")
    bits = np.frombuffer("".join(text).encode(), np.uint8) - ord("0")
    return np.packbits(bits).tolist()


# --- writing ------------------------------------------------------------------------------------------------------


def write_labelstudio(labels: CocoFile, path: Path) -> Path:
    """Writes tasks with annotations: polygons, brush strokes for masks, and rectangles where there is no mask."""
    tasks = []
    for image, records in by_image(labels):
        size = size_of(image)
        scale = np.array([size[1], size[0]])
        results = []
        for place, record in enumerate(records):
            phrase, key = labels.categories[record.category_id].name, f"masklet-{place + 1}"
            if isinstance(record.segmentation, list) and len(record.segmentation) == 1:
                points = np.reshape(record.segmentation[0], (-1, 2)) / scale
                results.append(_region(key, "polygon", phrase, size, _polygon(points)))
            elif record.segmentation:
                code = {"format": "rle", "rle": pack_brush(decode_mask(record.segmentation, size))}
                results.append(_region(key, "brush", phrase, size, code))
            else:
                box = np.array(box_of(record, size)) / np.tile(scale, 2) * 100
                names = ("x", "y", "width", "height")
                value = dict(zip(names, box.round(4).tolist(), strict=True)) | {"rotation": 0}
                results.append(_region(key, "rectangle", phrase, size, value))
        tasks.append({"data": {"image": name_of_image(image)}, "annotations": [{"result": results}]})
    return write_atomically(path, json.dumps(tasks))
