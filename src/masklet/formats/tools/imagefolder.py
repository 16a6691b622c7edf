"""Image folders of Hugging Face `datasets`: images, and beside them metadata.jsonl with a line for each.

The objects of an image are lists of equal length: boxes xywh in pixels, names, and, as we write them, masks.
"""

from dataclasses import dataclass
from pathlib import Path

from masklet.errors import InputError
from masklet.formats.coco import CocoBuilder, CocoFile
from masklet.formats.records import GivenBox, Segmentation, parse_line
from masklet.formats.tools.objects import image_name

METADATA = "metadata.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolderObjects:
    """The objects of one image, each at the same place of every list; both spellings of the names are in use."""

    bbox: list[GivenBox] | None = None
    category: list[str] | None = None
    categories: list[str] | None = None
    segmentation: list[Segmentation] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFolderLine:
    """A line of the file."""

    file_name: str
    objects: ImageFolderObjects | None = None


def metadata_of(labels: Path) -> Path:
    """The file of an image folder, which may be named itself."""
    return labels / METADATA if labels.is_dir() else labels


def read_imagefolder(labels: Path) -> CocoFile:
    """The labels of an image folder, without the sizes of images, which it does not hold.

    Raises: InputError naming file, line and field, also where names are numbers, whose meaning the file does not hold.
    """
    path, builder = metadata_of(labels), CocoBuilder()
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text in UTF-8") from error
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        line = parse_line(ImageFolderLine, text, path, number)
        builder.add_image(image_name(".", line.file_name), None)
        objects = line.objects or ImageFolderObjects()
        names = objects.category or objects.categories or []
        boxes, masks = objects.bbox or [None] * len(names), objects.segmentation or [None] * len(names)
        if not len(names) == len(boxes) == len(masks):
            raise InputError(
                f"{path}: line {number}: objects: {len(names)} names, {len(boxes)} boxes and {len(masks)} masks; "
                "lists of equal length are expected"
            )
        for name, box, mask in zip(names, boxes, masks, strict=True):
            if box is None and not mask:
                raise InputError(f"{path}: line {number}: objects: an object ({name}) has neither a box nor a mask")
            builder.add_object(name, box, mask)
    return builder.build()
