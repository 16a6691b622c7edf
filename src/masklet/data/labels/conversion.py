"""Labels of any layout as one COCO dataset, and that in any other: what `masklet convert-labels` does.

COCO's records hold all that the others do: boxes, polygons, masks, crowds, ids of tracks.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from masklet.data.labels.layouts import LabelFiles, recognise
from masklet.data.labels.object_masks import read_object_masks
from masklet.data.labels.yolo import YoloSource
from masklet.data.sources import QueryConfig
from masklet.errors import InputError
from masklet.files import link_or_copy, write_atomically
from masklet.formats.coco import CocoAnnotation, CocoBuilder, CocoFile, CocoImage, read_coco
from masklet.formats.lvis import phrase_of
from masklet.formats.mask_folders import find_masks, split_instances
from masklet.formats.mot import read_mot, write_mot
from masklet.formats.records import Id, RunLengths, decode_mask, inside, to_json
from masklet.formats.saco import SacoFile, SacoLabel, SacoPair, read_saco
from masklet.formats.tools.cvat import read_cvat, write_cvat
from masklet.formats.tools.imagefolder import METADATA, read_imagefolder
from masklet.formats.tools.labelme import read_labelme, write_labelme
from masklet.formats.tools.labelstudio import read_labelstudio, write_labelstudio
from masklet.formats.tools.objects import box_of, by_image, name_of_image, size_of, stem_path
from masklet.formats.tools.voc import read_voc, write_voc
from masklet.formats.yolo import read_labels, read_yolo, to_line
from masklet.media.images import read_image, read_numbers
from masklet.media.suffixes import list_images
from masklet.ops.masks import mask_to_outline, rle_encode

# --- reading ------------------------------------------------------------------------------------------------------


FindImage = Callable[[str], Path]  # the file of an image, by its name in the labels


def find_image(labels: Path, images: Path | None = None) -> FindImage:
    """Finds images below a folder or, without one, where annotation tools leave them beside their labels."""
    homes = [labels] if labels.is_dir() else [labels.parent]
    homes += [homes[0].parent]
    folders = [images] if images else [home / name for home in homes for name in ("images", "JPEGImages", "")]

    def find(name: str) -> Path:
        for folder in folders:
            path = inside(folder, name, str(labels))
            if path.is_file():
                return path
        places = ", ".join(map(str, folders))
        raise InputError(f"{labels}: there is no image {name} in {places}: name the folder of images (--images)")

    return find


def read_any(files: LabelFiles, find: FindImage) -> CocoFile:
    """Labels of whatever layout, with the sizes of all images and the phrases as names of categories.

    Raises: InputError when the layout is not known, is one of videos, or names something that cannot be used.
    """
    layout = recognise(files.labels)
    if layout not in READERS:
        raise InputError(f"{files.labels}: {layout} labels videos; expected is one of {', '.join(READERS)}")
    labels = READERS[layout](files)
    labels = replace(labels, images={key: _sized(each, find) for key, each in labels.images.items()})
    for place, each in enumerate(labels.annotations):
        try:
            decode_mask(each.segmentation, size_of(labels.images[each.image_id]))
        except ValueError as error:
            name = f"annotation {place if each.id is None else each.id}"
            raise InputError(f"{files.labels}: {name}: segmentation: {error}") from error
    return labels


def _sized(image: CocoImage, find: FindImage) -> CocoImage:
    if image.height is not None and image.width is not None:
        return image
    height, width = read_image(find(name_of_image(image))).shape[:2]
    return replace(image, height=height, width=width)


def _read_lvis(files: LabelFiles) -> CocoFile:
    labels = read_coco(files.labels)
    named = {key: replace(each, name=phrase_of(each.name)) for key, each in labels.categories.items()}
    return replace(labels, categories=named)


def _read_saco(files: LabelFiles) -> CocoFile:
    document, builder = read_saco(files.labels), CocoBuilder()
    of_image: dict[str, list[SacoPair]] = {}
    for pair in document.pairs.values():
        of_image.setdefault(pair.file_name, []).append(pair)
        builder.add_category(pair.text_input)
    found: dict[Id, list[SacoLabel]] = {}
    for label in document.labels:
        found.setdefault(label.image_id, []).append(label)
    for name, pairs in of_image.items():
        size = (pairs[0].height, pairs[0].width)
        builder.add_image(name, size)
        for pair in pairs:
            for label in found.get(pair.id, ()):
                box = None if label.bbox is None else (np.array(label.bbox) * np.tile(size[::-1], 2)).tolist()
                builder.add_object(pair.text_input, box, label.segmentation, iscrowd=label.iscrowd)
    return builder.build()


def _read_yolo(files: LabelFiles) -> CocoFile:
    source, builder = YoloSource(files.labels, files.part, QueryConfig(split="all")), CocoBuilder()
    for name in read_yolo(files.labels).names.values():
        builder.add_category(name)
    for image in source.images:
        height, width = read_image(source.data.root / image).shape[:2]
        builder.add_image(_below_images(image), (height, width))
        for each in read_labels(source.labels[image], source.data.names):
            points = each.points * [width, height]
            low, high = points.min(axis=0), points.max(axis=0)
            outline = [points.ravel().round(4).tolist()] if each.is_outline else None
            builder.add_object(each.phrase, [*low.tolist(), *(high - low).tolist()], outline)
    return builder.build()


def _below_images(image: Path) -> str:
    """A path below the folder called images, if there is one."""
    parts = image.parts
    return "/".join(parts[parts.index("images") + 1 :] if "images" in parts[:-1] else parts)


def _read_masks(files: LabelFiles) -> CocoFile:
    builder, masks = CocoBuilder(), find_masks(files.labels / "masks")
    for mask in masks:
        builder.add_category(mask.phrase)
    for image in list_images(files.labels / "images"):
        height, width = read_image(image).shape[:2]
        builder.add_image(image.name, (height, width))
        for mask in (each for each in masks if each.path.stem == image.stem):
            for found in split_instances(read_numbers(mask.path), (height, width), mask.path):
                builder.add_object(mask.phrase, None, RunLengths(size=[height, width], counts=rle_encode(found)))
    return builder.build()


READERS: Mapping[str, Callable[[LabelFiles], CocoFile]] = {
    "coco": lambda files: read_coco(files.labels),
    "lvis": _read_lvis,
    "saco": _read_saco,
    "yolo": _read_yolo,
    "masks": _read_masks,
    "labelme": lambda files: read_labelme(files.labels),
    "cvat": lambda files: read_cvat(files.labels),
    "labelstudio": lambda files: read_labelstudio(files.labels),
    "imagefolder": lambda files: read_imagefolder(files.labels),
    "voc": lambda files: read_voc(files.labels),
    "mot": lambda files: read_mot(files.labels),
    "objects": lambda files: read_object_masks(files.labels, files.images),
}


# --- writing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LabelExport:
    """Labels to write into a folder; some layouts also hold the images, which `find_image` finds."""

    labels: CocoFile
    folder: Path
    find_image: FindImage

    def has_images(self) -> bool:
        """Whether every image is found, so that all can be taken along."""
        try:
            for image in self.labels.images.values():
                self.find_image(name_of_image(image))
        except InputError:
            return False
        return True

    def copy_images(self, below: str) -> Iterator[Path]:
        """Copies of all images, or further names of the same files where the disk allows it."""
        for image in self.labels.images.values():
            name = name_of_image(image)
            yield link_or_copy(self.find_image(name), self.folder / below / name)


def _write_coco(export: LabelExport) -> list[Path]:
    return [write_atomically(export.folder / "coco.json", json.dumps(export.labels.to_json()))]


def _write_lvis(export: LabelExport) -> list[Path]:
    """What has no label in an image is absent, as the labels are taken to be complete."""
    found, labels = export.labels.by_image(), export.labels
    document = labels.to_json()
    for image in document["images"]:
        shown = {each.category_id for each in found.get(image["id"], ())}
        image["neg_category_ids"] = [key for key in labels.categories if key not in shown]
        image["not_exhaustive_category_ids"] = []
    for category in document["categories"]:
        count = len({each.image_id for each in labels.annotations if each.category_id == category["id"]})
        category |= {"frequency": "r" if count <= 10 else "c" if count <= 100 else "f", "image_count": count}
        category.setdefault("synonyms", [category["name"]])
    return [write_atomically(export.folder / "lvis.json", json.dumps(document))]


def to_saco(labels: CocoFile) -> SacoFile:
    """A pair for each image and phrase; of labels in LVIS's way, for the phrases that an image is labelled for."""
    document = SacoFile(pairs={}, labels=[])
    for image, records in by_image(labels):
        size = size_of(image)
        for key, category in labels.categories.items():
            own = [each for each in records if each.category_id == key]
            if image.neg_category_ids is not None and not own and key not in image.neg_category_ids:
                continue
            number = len(document.pairs) + 1
            document.pairs[number] = SacoPair(
                id=number,
                file_name=name_of_image(image),
                text_input=category.name,
                height=size[0],
                width=size[1],
                is_instance_exhaustive=0 if key in (image.not_exhaustive_category_ids or ()) else 1,
            )
            for record in own:
                box = (np.array(box_of(record, size)) / np.tile(size[::-1], 2)).tolist()
                label = SacoLabel(
                    id=len(document.labels) + 1,
                    image_id=number,
                    category_id=1,
                    iscrowd=1 if record.iscrowd else 0,
                    bbox=box,
                    segmentation=run_lengths(record, size),
                )
                document.labels.append(label)
    return document


def _write_saco(export: LabelExport) -> list[Path]:
    return [write_atomically(export.folder / "saco.json", json.dumps(to_saco(export.labels).to_json()))]


def run_lengths(record: CocoAnnotation, size: tuple[int, int]) -> RunLengths | None:
    """The mask of an annotation of an image of a size, height and width, however it is written."""
    if not record.segmentation:
        return None
    return RunLengths(size=[*size], counts=rle_encode(decode_mask(record.segmentation, size)))


def _write_yolo(export: LabelExport) -> list[Path]:
    """An object of several parts or with holes is one outline; of what has no mask, the box."""
    numbers = {key: number for number, key in enumerate(export.labels.categories)}
    paths = []
    for image, records in by_image(export.labels):
        size = size_of(image)
        lines = [_yolo_line(numbers[each.category_id], each, size) for each in records if not each.iscrowd]
        target = stem_path(export.folder / "labels", name_of_image(image), ".txt")
        paths.append(write_atomically(target, "\n".join([*lines, ""])))
    names = {number: export.labels.categories[key].name for key, number in numbers.items()}
    document = yaml.safe_dump({"train": "images", "val": "images", "names": names}, allow_unicode=True)
    return [write_atomically(export.folder / "data.yaml", document), *paths, *export.copy_images("images")]


def _yolo_line(number: int, record: CocoAnnotation, size: tuple[int, int]) -> str:
    scale = np.array(size[::-1])
    if isinstance(record.segmentation, list) and len(record.segmentation) == 1:
        return to_line(number, (np.reshape(record.segmentation[0], (-1, 2)) / scale).clip(0, 1))
    if record.segmentation:
        outline = mask_to_outline(decode_mask(record.segmentation, size))
        if len(outline):
            return to_line(number, outline / scale)
    x, y, width, height = box_of(record, size)
    return to_line(number, np.array([[x + width / 2, y + height / 2], [width, height]]) / scale)


def _write_masks(export: LabelExport) -> list[Path]:
    """A pixel of two instances of one phrase goes to the smaller. Raises: InputError where an object has no mask."""
    paths = []
    for image, records in by_image(export.labels):
        size, name = size_of(image), name_of_image(image)
        for key, category in export.labels.categories.items():
            own = [each for each in records if each.category_id == key]
            if any(not each.segmentation for each in own):
                raise InputError(f"image {name}: an object ({category.name}) has no mask, and masks hold no boxes")
            if "/" in name or "/" in category.name or category.name in (".", ".."):
                raise InputError(f"image {name}, {category.name!r}: masks hold no subfolders")
            if own:
                masks = sorted((decode_mask(each.segmentation, size) for each in own), key=lambda mask: -mask.sum())
                numbers = np.zeros(size, np.uint16 if len(own) > 254 else np.uint8)
                for number, mask in enumerate(masks, start=1):
                    numbers[mask] = number
                target = stem_path(export.folder / "masks" / category.name, name, ".png")
                picture = Image.fromarray(numbers)
                paths.append(write_atomically(target, partial(picture.save, format="PNG")))
    return [*paths, *export.copy_images("images")]


def _write_imagefolder(export: LabelExport) -> list[Path]:
    """The layout of Hugging Face `datasets`: images, and metadata.jsonl with a line for each."""
    lines = []
    for image, records in by_image(export.labels):
        size = size_of(image)
        objects = {
            "bbox": [box_of(each, size) for each in records],
            "category": [export.labels.categories[each.category_id].name for each in records],
            "segmentation": [to_json(mask) if mask else None for mask in (run_lengths(each, size) for each in records)],
        }
        lines.append(json.dumps({"file_name": name_of_image(image), "objects": objects}))
    metadata = write_atomically(export.folder / METADATA, "\n".join([*lines, ""]))
    return [metadata, *export.copy_images("")]


# Where tools look for the images beside labels that do not hold them.
IMAGES = dict.fromkeys(("coco", "lvis", "saco", "cvat", "labelstudio"), "images") | {"labelme": "", "voc": "JPEGImages"}

WRITERS: Mapping[str, Callable[[LabelExport], list[Path]]] = {
    "coco": _write_coco,
    "lvis": _write_lvis,
    "saco": _write_saco,
    "yolo": _write_yolo,
    "masks": _write_masks,
    "labelme": lambda export: write_labelme(export.labels, export.folder),
    "cvat": lambda export: [write_cvat(export.labels, export.folder / "annotations.xml")],
    "labelstudio": lambda export: [write_labelstudio(export.labels, export.folder / "tasks.json")],
    "voc": lambda export: write_voc(export.labels, export.folder),
    "mot": lambda export: [write_mot(_with_boxes(export.labels), export.folder / "mot.txt")],
    "imagefolder": _write_imagefolder,
}


def _with_boxes(labels: CocoFile) -> CocoFile:
    sizes = {key: size_of(image) for key, image in labels.images.items()}
    boxed = [replace(each, bbox=box_of(each, sizes[each.image_id])) for each in labels.annotations]
    return replace(labels, annotations=boxed)
