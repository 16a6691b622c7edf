"""Results of an image as records of common formats, in pixels of the original image unless a format wants fractions."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from masklet.errors import InputError
from masklet.files import whole_or_none, write_atomically
from masklet.formats.coco import CocoAnnotation, CocoCategory, CocoFile, CocoImage
from masklet.formats.mask_folders import result_name
from masklet.formats.records import RunLengths
from masklet.formats.tools.labelstudio import LabelStudioRegion, to_task
from masklet.formats.yolo import to_line
from masklet.inference.output.overlays import image_overlay
from masklet.ops.masks import mask_to_outline, rle_area, rle_encode
from masklet.protocols import Drawable, ImageInstances

OUTLINE_TOLERANCE = 0.75  # pixels an exported outline may stray; keeps the points of a smooth edge down to a tenth
OVERLAY_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def to_json(result: ImageInstances) -> dict[str, Any]:
    """Every phrase asked for, found or not, with its detections."""
    height, width = result.image.shape[:2]
    queries = {
        phrase: {"phrase": phrase, "presence": _rounded(presence), "detections": []}
        for phrase, presence in result.presence.items()
    }
    for index, phrase in enumerate(result.phrases):
        detection = {
            "id": index + 1,
            "score": _rounded(result.scores[index]),
            "box": [_rounded(value, 2) for value in result.boxes[index]],
            "mask": {"size": [height, width], "counts": rle_encode(result.mask(index))},
        }
        queries[phrase]["detections"].append(detection)
    name = str(result.path) if result.path else None
    return {"image": name, "width": width, "height": height, "phrases": list(queries.values())}


def _rounded(value: float | np.floating, digits: int = 5) -> float:
    return round(float(value), digits)


@dataclass
class CocoWriter:
    """Gathers results of many images into one COCO dataset, with ids that stay unique and one category per phrase."""

    _images: list[CocoImage] = field(default_factory=list)
    _annotations: list[CocoAnnotation] = field(default_factory=list)
    _categories: dict[str, int] = field(default_factory=dict)

    def add(self, result: ImageInstances, file_name: str | None = None) -> None:
        """Appends one image; `file_name` is by default that of its path."""
        height, width = result.image.shape[:2]
        image_id = len(self._images) + 1
        name = file_name or (result.path.name if result.path else f"image-{image_id}")
        self._images.append(CocoImage(id=image_id, file_name=name, width=width, height=height))
        for phrase in result.queries:
            self._category(phrase)
        for index, phrase in enumerate(result.phrases):
            x0, y0, x1, y1 = (float(value) for value in result.boxes[index])
            counts = rle_encode(result.mask(index))
            annotation = CocoAnnotation(
                id=len(self._annotations) + 1,
                image_id=image_id,
                category_id=self._category(phrase),
                bbox=[round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)],
                area=rle_area(counts),
                segmentation=RunLengths(size=[height, width], counts=counts),
                score=_rounded(result.scores[index]),
            )
            self._annotations.append(annotation)

    def extend(self, other: CocoFile) -> None:
        """Appends another dataset, renumbered."""
        categories = {each.id: self._category(each.name) for each in other.categories.values()}
        offset = len(self._images)
        new_ids = {each: offset + position for position, each in enumerate(other.images, start=1)}
        self._images += [replace(each, id=new_ids[each.id]) for each in other.images.values()]
        for annotation in other.annotations:
            moved = replace(
                annotation,
                id=len(self._annotations) + 1,
                image_id=new_ids[annotation.image_id],
                category_id=categories[annotation.category_id],
            )
            self._annotations.append(moved)

    def _category(self, phrase: str) -> int:
        return self._categories.setdefault(phrase, len(self._categories) + 1)

    def build(self) -> CocoFile:
        """The dataset so far."""
        return CocoFile(
            images={each.id: each for each in self._images},
            categories={number: CocoCategory(id=number, name=name) for name, number in self._categories.items()},
            annotations=self._annotations,
        )

    def to_dict(self) -> dict[str, Any]:
        """The dataset so far, to be written."""
        return self.build().to_json()


def to_coco(result: ImageInstances, file_name: str | None = None) -> dict[str, Any]:
    """A COCO dataset of one image; `file_name` is by default that of its path."""
    writer = CocoWriter()
    writer.add(result, file_name)
    return writer.to_dict()


def to_yolo(result: ImageInstances, classes: list[str]) -> list[str]:
    """`class x y x y ...` with fractions of the image; parts and holes of an instance are joined into one outline."""
    lines = []
    for index, outline in _outlines(result):
        phrase = result.phrases[index]
        if phrase not in classes:
            raise InputError(f"the phrase {phrase!r} is not among the classes {', '.join(classes)}")
        lines.append(to_line(classes.index(phrase), outline))
    return lines


def _outlines(result: ImageInstances) -> Iterator[tuple[int, Float[np.ndarray, "point 2"]]]:
    """The place and the outline, in fractions of the image, of each mask that has pixels."""
    height, width = result.image.shape[:2]
    for index in range(len(result)):
        outline = mask_to_outline(result.mask(index), tolerance=OUTLINE_TOLERANCE)
        if len(outline):
            yield index, outline / [width, height]


def to_labelstudio(result: ImageInstances, image_url: str | None = None) -> dict[str, Any]:
    """One task for Label Studio's JSON import, made for `<PolygonLabels name="label" toName="image">`.

    `image_url` is where the server finds the image; by default the path it was read from.
    """
    regions = [
        LabelStudioRegion(
            id=f"masklet-{index + 1}",
            phrase=result.phrases[index],
            points=outline,
            score=_rounded(result.scores[index]),
        )
        for index, outline in _outlines(result)
    ]
    height, width = result.image.shape[:2]
    url = image_url or (str(result.path) if result.path else "")
    return to_task(url, (height, width), regions, _rounded(result.scores.max(initial=0)))


def to_supervision(result: ImageInstances) -> Any:
    """`supervision.Detections` with class numbers in the order of the phrases asked for; nothing is tracked."""
    try:
        import supervision  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError("to_supervision needs the package supervision: pip install supervision") from error
    return supervision.Detections(
        xyxy=result.boxes,
        mask=result.masks,
        confidence=result.scores,
        class_id=np.array([result.queries.index(phrase) for phrase in result.phrases], dtype=int),
        data={"class_name": np.array(result.phrases)},
    )


def save(result: Drawable, path: Path) -> Path:
    """Overlay or JSON, by the suffix."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        return write_atomically(path, json.dumps(result.to_json()))
    if suffix not in OVERLAY_KINDS:
        raise InputError(f"cannot write {path}: the suffix must be one of {', '.join([*OVERLAY_KINDS, '.json'])}")
    return _write_image(path, result.plot(), OVERLAY_KINDS[suffix])


def write_overlay(result: ImageInstances, path: Path) -> Path:
    """The overlay as a PNG, of anything that can be drawn as an image's instances."""
    return _write_image(path, image_overlay(result), "PNG")


def write_json(result: ImageInstances, path: Path) -> Path:
    """The numbers, of anything that has them as an image's instances."""
    return write_atomically(path, json.dumps(to_json(result)))


def save_masks(result: ImageInstances, folder: Path) -> list[Path]:
    """A PNG for each mask, 255 on the instance and 0 elsewhere; none of them when one cannot be written."""
    with whole_or_none() as paths:
        for index, phrase in enumerate(result.phrases):
            image = Image.fromarray(result.mask(index).astype(np.uint8) * 255)
            paths.append(_write_image(folder / f"{result_name(index + 1, phrase)}.png", image, "PNG"))
    return paths


def _write_image(path: Path, image: Image.Image, kind: str) -> Path:
    options = {} if kind == "PNG" else {"quality": 92}
    return write_atomically(path, lambda file: image.save(file, kind, **options))
