"""The masks of a tracked video: a folder for each object, `003-dog`, with an image for each frame that it is seen on.

`objects.json` beside them says which object is which. An image is called as its frame; what is not 0 is the object.
"""

from dataclasses import dataclass
from pathlib import Path

from masklet.errors import InputError
from masklet.formats.coco import CocoBuilder, CocoFile
from masklet.formats.records import RunLengths, inside, read_list
from masklet.media.images import read_numbers
from masklet.media.suffixes import list_images
from masklet.ops.masks import mask_to_box, rle_encode

OBJECTS = "objects.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFolder:
    """An entry of `objects.json`; label images with a palette have an `index` in place of the folder."""

    id: int
    name: str
    folder: str | None = None
    index: int | None = None


def has_object_folders(path: Path) -> bool:
    """Whether a folder holds masks of tracked objects, each in a folder of its own."""
    return (path / OBJECTS).is_file() and any(each.is_dir() for each in path.iterdir())


def read_object_masks(folder: Path, images: Path) -> CocoFile:
    """The frames of the folder `images` on which an object is seen; objects keep their id as `track_id`.

    Raises: InputError naming the file, the object and the frame that cannot be used.
    """
    builder = CocoBuilder()
    frames = {path.stem: path for path in list_images(images)}
    seen: dict[str, list[tuple[ObjectFolder, Path]]] = {}
    for place, each in enumerate(read_list(folder / OBJECTS, ObjectFolder, "object")):
        where = f"{folder / OBJECTS}: object {place}"
        if each.folder is None:
            raise InputError(f"{where}: folder: is missing")
        builder.add_category(each.name)
        for mask in list_images(inside(folder, each.folder, where)):
            if mask.stem not in frames:
                raise InputError(f"{mask}: there is no frame {mask.stem} in {images}")
            seen.setdefault(mask.stem, []).append((each, mask))
    for stem in (stem for stem in frames if stem in seen):
        masks = [(each, read_numbers(mask) > 0) for each, mask in seen[stem]]
        height, width = masks[0][1].shape
        builder.add_image(frames[stem].name, (height, width))
        for each, mask in masks:
            if mask.shape != (height, width):
                raise InputError(f"{folder}: the masks of frame {stem} differ in size")
            box = mask_to_box(mask)
            if box is not None:
                corner, sides = box[:2], (box[2] - box[0], box[3] - box[1])
                counts = RunLengths(size=[height, width], counts=rle_encode(mask))
                builder.add_object(each.name, [*corner, *sides], counts, track_id=each.id)
    return builder.build()
