"""From records to arrays: labelled objects as boxes and masks, and the images that records name."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32

from masklet.data.schema import Example
from masklet.errors import InputError
from masklet.formats.records import Polygons, RunLengths, decode_mask, inside
from masklet.media.images import read_image, read_labelled_image
from masklet.ops.masks import mask_to_box

MAX_MASK_BYTES = 2**33  # of the masks of one image; far above any that was labelled by people


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectLabel:
    """One object of an image; `record` is its name in messages. A box, xywh in pixels, may be left to the mask."""

    record: str
    box_xywh: Sequence[float | int] | None
    segmentation: RunLengths | Polygons | None


def read_example(
    images: Path,
    file_name: str | None,
    size: tuple[int, int] | None,
    labels: Sequence[ObjectLabel],
    path: Path,
    record: str,
) -> Example:
    """The image of a record below `images`, of the size (height, width) if it states one, with its objects; no queries.

    Raises: InputError beginning with the file of labels at `path`, and the record.
    """
    where = f"{path}: {record}"
    if file_name is None:
        raise InputError(f"{where}: file_name: is missing")
    file = inside(images, file_name, where)
    try:
        image = read_image(file) if size is None else read_labelled_image(file, size)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    boxes, masks, mask_valid = decode_objects(labels, (image.shape[0], image.shape[1]), path)
    return Example(image=image, boxes_xyxy=boxes, masks=masks, mask_valid=mask_valid, queries=(), source=path.stem)


def decode_objects(
    labels: Sequence[ObjectLabel], size: tuple[int, int], path: Path
) -> tuple[Float32[np.ndarray, "object 4"], Bool[np.ndarray, "object height width"], Bool[np.ndarray, " object"]]:
    """Boxes (xyxy pixels), masks and whether each has one. An empty mask counts as none.

    Raises: InputError naming the file of labels and the record.
    """
    if len(labels) * size[0] * size[1] > MAX_MASK_BYTES:
        raise InputError(f"{path}: {len(labels)} masks of {size[1]} x {size[0]} pixels are too many for one image")
    masks = np.zeros((len(labels), *size), bool)
    boxes = np.zeros((len(labels), 4), np.float32)
    for row, label in enumerate(labels):
        try:
            masks[row] = decode_mask(label.segmentation, size)
        except ValueError as error:
            raise InputError(f"{path}: {label.record}: segmentation: {error}") from error
        if label.box_xywh is None:
            boxes[row] = mask_to_box(masks[row]) or (0, 0, 0, 0)
        else:
            x, y, width, height = label.box_xywh
            boxes[row] = x, y, x + width, y + height
    return boxes, masks, np.atleast_1d(masks.any(axis=(1, 2)))
