"""Masks of a tracked video as labels of its frames."""

from pathlib import Path

from masklet.errors import InputError
from masklet.formats.coco import CocoBuilder, CocoFile
from masklet.formats.object_masks import ObjectFolder, read_object_folders
from masklet.formats.records import RunLengths
from masklet.media.images import read_numbers
from masklet.media.suffixes import list_images
from masklet.ops.masks import mask_to_box, rle_encode


def read_object_masks(folder: Path, images: Path) -> CocoFile:
    """The frames of the folder `images` on which an object is seen; objects keep their id as `track_id`.

    Raises: InputError naming the file, the object and the frame that cannot be used.
    """
    builder = CocoBuilder()
    frames = {path.stem: path for path in list_images(images)}
    seen: dict[str, list[tuple[ObjectFolder, Path]]] = {}
    for each, masks in read_object_folders(folder):
        builder.add_category(each.name)
        for mask in list_images(masks):
            if mask.stem not in frames:
                raise InputError(f"{mask}: there is no frame {mask.stem} in {images}")
            seen.setdefault(mask.stem, []).append((each, mask))
    for stem in (stem for stem in frames if stem in seen):
        drawn = [(each, read_numbers(mask) > 0) for each, mask in seen[stem]]
        height, width = drawn[0][1].shape
        builder.add_image(frames[stem].name, (height, width))
        for each, mask in drawn:
            if mask.shape != (height, width):
                raise InputError(f"{folder}: the masks of frame {stem} differ in size")
            box = mask_to_box(mask)
            if box is not None:
                corner, sides = box[:2], (box[2] - box[0], box[3] - box[1])
                counts = RunLengths(size=[height, width], counts=rle_encode(mask))
                builder.add_object(each.name, [*corner, *sides], counts, track_id=each.id)
    return builder.build()
