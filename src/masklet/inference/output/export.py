"""Results in other people's formats. Coordinates are pixels of the original image unless a format wants fractions."""

import io
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.inference.image.image_result import ImageResult
from masklet.ops.masks import mask_to_polygons, rle_area, rle_encode

OUTLINE_TOLERANCE = 0.75  # pixels an exported outline may stray; keeps the points of a smooth edge down to a tenth
PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def to_json(result: ImageResult) -> dict[str, Any]:
    """Every phrase asked for, found or not, with its detections."""
    height, width = result.image.shape[:2]
    queries = {phrase: {"phrase": phrase, "presence": _rounded(p), "detections": []} for phrase, p in _presence(result)}
    for index, (phrase, mask) in enumerate(zip(result.phrases, result.iterate_masks(), strict=True)):
        detection = {
            "id": index + 1,
            "score": _rounded(result.scores[index]),
            "box": [_rounded(value, 2) for value in result.boxes[index]],
            "mask": {"size": [height, width], "counts": rle_encode(mask)},
        }
        queries[phrase]["detections"].append(detection)
    name = str(result.path) if result.path else None
    return {"image": name, "width": width, "height": height, "phrases": list(queries.values())}


def _presence(result: ImageResult) -> list[tuple[str, float]]:
    return list(result.presence.items())


def _rounded(value: float | np.floating, digits: int = 5) -> float:
    return round(float(value), digits)


@dataclass
class CocoWriter:
    """Gathers results of many images into one COCO data set, with ids that stay unique and one category per phrase."""

    _images: list[dict[str, Any]] = field(default_factory=list)
    _annotations: list[dict[str, Any]] = field(default_factory=list)
    _categories: dict[str, int] = field(default_factory=dict)

    def add(self, result: ImageResult, file_name: str | None = None) -> None:
        """Appends one image; `file_name` is by default that of its path."""
        height, width = result.image.shape[:2]
        image_id = len(self._images) + 1
        name = file_name or (result.path.name if result.path else f"image-{image_id}")
        self._images.append({"id": image_id, "file_name": name, "width": width, "height": height})
        for phrase in result.queries:
            self._categories.setdefault(phrase, len(self._categories) + 1)
        for index, (phrase, mask) in enumerate(zip(result.phrases, result.iterate_masks(), strict=True)):
            x0, y0, x1, y1 = (float(value) for value in result.boxes[index])
            counts = rle_encode(mask)
            self._annotations.append(
                {
                    "id": len(self._annotations) + 1,
                    "image_id": image_id,
                    "category_id": self._categories[phrase],
                    "bbox": [round(value, 2) for value in (x0, y0, x1 - x0, y1 - y0)],
                    "area": rle_area(counts),
                    "segmentation": {"size": [height, width], "counts": counts},
                    "iscrowd": 0,
                    "score": _rounded(result.scores[index]),
                }
            )

    def extend(self, other: dict[str, Any]) -> None:
        """Appends another data set, renumbered."""
        names = {each["id"]: each["name"] for each in other["categories"]}
        for name in names.values():
            self._categories.setdefault(name, len(self._categories) + 1)
        offset = len(self._images)
        new_ids = {each["id"]: offset + position for position, each in enumerate(other["images"], start=1)}
        self._images += [{**each, "id": new_ids[each["id"]]} for each in other["images"]]
        for annotation in other["annotations"]:
            moved = {
                "id": len(self._annotations) + 1,
                "image_id": new_ids[annotation["image_id"]],
                "category_id": self._categories[names[annotation["category_id"]]],
            }
            self._annotations.append({**annotation, **moved})

    def to_dict(self) -> dict[str, Any]:
        """The data set so far."""
        categories = [{"id": number, "name": phrase} for phrase, number in self._categories.items()]
        return {"images": self._images, "annotations": self._annotations, "categories": categories}


def to_yolo(result: ImageResult, classes: list[str]) -> list[str]:
    """`class x y x y ...` with fractions of the image; the parts of an instance are joined into one outline."""
    height, width = result.image.shape[:2]
    lines = []
    for phrase, mask in zip(result.phrases, result.iterate_masks(), strict=True):
        if phrase not in classes:
            raise InputError(f"the phrase {phrase!r} is not among the classes {', '.join(classes)}")
        polygons = mask_to_polygons(mask, tolerance=OUTLINE_TOLERANCE)
        if polygons:
            values = (join_outlines(polygons) / [width, height]).reshape(-1)
            lines.append(" ".join([str(classes.index(phrase)), *(f"{value:.6g}" for value in values)]))
    return lines


def join_outlines(polygons: list[np.ndarray]) -> np.ndarray:
    """One closed walk around several outlines, going to each next one and back over the shortest gap of no width."""
    joined = polygons[0]
    for polygon in polygons[1:]:
        gaps = ((joined[:, None] - polygon[None]) ** 2).sum(axis=-1)
        here, there = np.unravel_index(gaps.argmin(), gaps.shape)
        detour = np.concatenate([polygon[there:], polygon[: there + 1]])
        joined = np.concatenate([joined[: here + 1], detour, joined[here:]])
    return joined


def to_labelstudio(result: ImageResult, image_url: str | None = None) -> dict[str, Any]:
    """One task for Label Studio's JSON import, made for `<PolygonLabels name="label" toName="image">`.

    `image_url` is where the server finds the picture; by default the path it was read from.
    """
    height, width = result.image.shape[:2]
    regions = []
    for index, (phrase, mask) in enumerate(zip(result.phrases, result.iterate_masks(), strict=True)):
        polygons = mask_to_polygons(mask, tolerance=OUTLINE_TOLERANCE)
        if polygons:
            points = (join_outlines(polygons) / [width, height] * 100).round(4).tolist()
            regions.append(
                {
                    "id": f"masklet-{index + 1}",
                    "type": "polygonlabels",
                    "from_name": "label",
                    "to_name": "image",
                    "original_width": width,
                    "original_height": height,
                    "image_rotation": 0,
                    "score": _rounded(result.scores[index]),
                    "value": {"points": points, "closed": True, "polygonlabels": [phrase]},
                }
            )
    url = image_url or (str(result.path) if result.path else "")
    prediction = {"model_version": "masklet", "score": _rounded(result.scores.max(initial=0)), "result": regions}
    return {"data": {"image": url}, "predictions": [prediction]}


def to_supervision(result: ImageResult) -> Any:
    """`supervision.Detections` with class numbers in the order of the phrases asked for."""
    try:
        import supervision  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError("to_supervision needs the package supervision: pip install supervision") from error
    return supervision.Detections(
        xyxy=result.boxes,
        mask=result.masks,
        confidence=result.scores,
        class_id=np.array([result.queries.index(phrase) for phrase in result.phrases], dtype=int),
        tracker_id=result.ids,
        data={"class_name": np.array(result.phrases)},
    )


def save(result: ImageResult, path: Path) -> Path:
    """Overlay or JSON, by the suffix."""
    suffix = path.suffix.lower()
    if suffix == ".json":
        return write_atomically(path, json.dumps(to_json(result)))
    if suffix not in PICTURES:
        raise InputError(f"cannot write {path}: the suffix must be one of {', '.join([*PICTURES, '.json'])}")
    return write_atomically(path, _encode(result.plot(), PICTURES[suffix]))


def save_masks(result: ImageResult, folder: Path) -> list[Path]:
    """A PNG for each mask, 255 on the instance and 0 elsewhere."""
    paths = []
    for index, (phrase, mask) in enumerate(zip(result.phrases, result.iterate_masks(), strict=True)):
        slug = re.sub(r"[^\w]+", "-", phrase).strip("-")[:60]
        picture = Image.fromarray(mask.astype(np.uint8) * 255)
        paths.append(write_atomically(folder / f"{index + 1:03d}-{slug}.png", _encode(picture, "PNG")))
    return paths


def _encode(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    options = {"quality": 92} if kind != "PNG" else {}
    picture.save(file, kind, **options)
    return file.getvalue()
