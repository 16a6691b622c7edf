"""Reading files that others wrote: json, pictures, labelled objects.

Every error names the file and the record, and no name in a file leads out of the folder it belongs to.
"""

import json
import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image, ImageOps

from masklet.errors import InputError
from masklet.ops.masks import polygons_to_mask, rle_decode

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
MAX_MASK_BYTES = 2**33  # of the masks of one picture; far above any that was labelled by people
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, struct.error, zlib.error)
UNREADABLE = (*_DAMAGED, Image.DecompressionBombError)  # what Pillow raises on a file that is no sound picture


def read_json(path: Path, sections: tuple[str, ...]) -> dict[str, Any]:
    """The document, known to have these sections.

    Raises: InputError naming the file when it cannot be read or lacks one.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as json: {error}") from error
    missing = [name for name in sections if not isinstance(document, dict) or name not in document]
    if missing:
        raise InputError(f"{path}: lacks {', '.join(missing)}")
    return document


def check_records(path: Path, section: str, records: Any, fields: Mapping[str, type | tuple[type, ...]]) -> None:
    """Every record has these fields, of these types.

    Raises: InputError naming the file, the record and the field.
    """
    if not isinstance(records, list):
        raise InputError(f"{path}: {section} is not a list")
    for position, record in enumerate(records):
        if not isinstance(record, dict):
            raise InputError(f"{path}: {section}[{position}] is not a table of fields")
        for field, kind in fields.items():
            if not isinstance(record.get(field), kind):
                found = repr(record[field])[:40] if field in record else "missing"
                raise InputError(f"{path}: {section}[{position}] (id {record.get('id')}): field {field!r} is {found}")


def check_references(path: Path, document: Mapping[str, Any], fields: Mapping[str, str]) -> None:
    """Ids are given once, and annotations refer to what is there; `fields` maps a field to the section it refers to.

    Raises: InputError naming the file, the record and the field.
    """
    for field, section in fields.items():
        known: set[Any] = set()
        for record in document[section]:
            if record["id"] in known:
                raise InputError(f"{path}: two {section} have the id {record['id']!r}")
            known.add(record["id"])
        for annotation in document["annotations"]:
            if annotation[field] not in known:
                where = f"{path}: annotation {annotation.get('id')}"
                raise InputError(f"{where}: {field} {annotation[field]!r} is not among the {section}")


def inside(folder: Path, name: str, where: str) -> Path:
    """The path of a file named in a record, below `folder`.

    Raises: InputError naming the record when the name leads out of the folder.
    """
    parts = (*PurePosixPath(name).parts, *PureWindowsPath(name).parts)
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor or ".." in parts or "\0" in name or not parts:
        raise InputError(f"{where}: the file name {name!r} leads out of {folder}")
    return folder / name


def list_pictures(folder: Path) -> list[Path]:
    """Picture files of a folder, by name. Raises: InputError when it is no folder."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)


def read_image(path: Path, record: str, size: tuple[int, int] | None = None) -> UInt8[np.ndarray, "height width 3"]:
    """RGB pixels of a picture, upright, of the `size` (height, width) that its record states, if it does.

    A picture that has the stated size only as it is stored, before it is turned upright, was labelled that way.

    Raises: InputError naming the file and the record.
    """
    try:
        with Image.open(path) as picture:
            upright = _upright(picture)
            fits = size is None or (upright.height, upright.width) == size
            image = np.array(_to_rgb(upright if fits else picture))
    except UNREADABLE as error:
        raise InputError(f"{path}: {record} cannot be read: {error}") from error
    if size is not None and image.shape[:2] != size:
        found = f"{image.shape[1]} x {image.shape[0]}"
        raise InputError(f"{path}: {record} states {size[1]} x {size[0]} pixels, the file has {found}")
    return image


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()
    try:
        return ImageOps.exif_transpose(picture)
    except _DAMAGED:  # the picture is sound, only its EXIF block is not
        return picture


def _to_rgb(picture: Image.Image) -> Image.Image:
    """As pictures are read where a model is used: 16 bits are scaled to 8, and what is transparent lies on white."""
    if picture.mode.startswith("I"):
        levels = np.clip(np.round(np.asarray(picture).astype(np.int64) / 257), 0, 255)
        return Image.fromarray(levels.astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return picture.convert("RGB")


def decode_objects(
    annotations: Sequence[dict[str, Any]], size: tuple[int, int], path: Path
) -> tuple[Float32[np.ndarray, "object 4"], Bool[np.ndarray, "object height width"], Bool[np.ndarray, " object"]]:
    """Boxes (xyxy pixels), masks and whether each has one. An empty mask counts as none.

    Raises: InputError naming the file and the annotation.
    """
    if len(annotations) * size[0] * size[1] > MAX_MASK_BYTES:
        raise InputError(
            f"{path}: {len(annotations)} masks of {size[1]} x {size[0]} pixels are too many for one picture"
        )
    masks = np.zeros((len(annotations), *size), bool)
    boxes = np.zeros((len(annotations), 4), np.float32)
    for row, annotation in enumerate(annotations):
        try:
            x, y, width, height = (float(value) for value in annotation["bbox"])
            boxes[row] = x, y, x + width, y + height
            if not np.isfinite(boxes[row]).all():
                raise ValueError("its bbox is not finite")
            masks[row] = decode_mask(annotation.get("segmentation"), size)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(f"{path}: annotation {annotation.get('id')} is broken: {reason}") from error
    return boxes, masks, np.atleast_1d(masks.any(axis=(1, 2)))


def decode_mask(segmentation: Any, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The mask of COCO polygons or run lengths, nothing for None. Raises: KeyError, TypeError or ValueError."""
    if not segmentation:
        return np.zeros(size, bool)
    if isinstance(segmentation, list):
        return polygons_to_mask(segmentation, *size)
    if tuple(segmentation["size"]) != tuple(size):
        raise ValueError(f"its mask is {segmentation['size']}, the image {list(size)}")
    return rle_decode(segmentation["counts"], *size)
