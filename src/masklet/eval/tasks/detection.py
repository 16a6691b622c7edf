"""Average precision on datasets with a fixed list of categories: COCO, LVIS, ODinW and the like.

The counting is `faster-coco-eval`'s; here are the protocols around it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from masklet.errors import InputError
from masklet.eval.concepts.pairs import Kind
from masklet.eval.predict.predict import PairPrediction, Request
from masklet.formats.coco import CocoAnnotation, CocoFile, CocoImage, CocoResult, read_coco
from masklet.formats.lvis import phrase_of
from masklet.formats.records import Id, RunLengths, to_json
from masklet.ops.masks import polygon_area, rle_area
from masklet.ops.runs import RunTable

PER_IMAGE = 100  # predictions of one image that count, over all categories, as in published COCO results
_WRONG_AREA = 2.0
PER_CATEGORY = 10_000  # of one category over an LVIS dataset ("AP fixed", Dave et al.)


@dataclass(frozen=True, kw_only=True)
class DetectionTruth:
    """A dataset of objects in categories; each object has a box, a mask or both."""

    path: Path
    labels: CocoFile

    @classmethod
    def read(cls, path: Path) -> "DetectionTruth":
        """Raises: InputError naming file, record and field."""
        labels = read_coco(path)
        if not labels.categories:
            raise InputError(f"{path}: has no categories, so there is nothing to score")
        for place, record in enumerate(labels.annotations):
            if record.bbox is None and not record.segmentation:
                name = f"annotation {place if record.id is None else record.id}"
                raise InputError(f"{path}: {name}: bbox: is missing, and so is a segmentation")
        return cls(path=path, labels=labels)

    def phrases(self) -> dict[Id, str]:
        """The phrase to ask for, by category: its name without underscores and the remark in brackets."""
        return {key: phrase_of(record.name) for key, record in self.labels.categories.items()}


@dataclass(frozen=True, kw_only=True)
class DetectionProtocol:
    """How results become average precision.

    `lvis` judges a category only on images where it was looked for, and caps results by category instead of by image.
    `present_only` drops results on images that have no object of their category (the "positive split", AP+).
    """

    kinds: tuple[Kind, ...] = ("bbox",)
    lvis: bool = False
    present_only: bool = False

    def select(self, results: Sequence[CocoResult], truth: DetectionTruth) -> list[CocoResult]:
        """The results that count."""
        if self.present_only:
            present = {(record.image_id, record.category_id) for record in truth.labels.annotations}
            results = [each for each in results if (each.image_id, each.category_id) in present]
        groups: dict[Id, list[CocoResult]] = defaultdict(list)
        for record in results:
            groups[record.category_id if self.lvis else record.image_id].append(record)
        most = PER_CATEGORY if self.lvis else PER_IMAGE
        return [
            record
            for members in groups.values()
            for record in sorted(members, key=lambda each: each.score, reverse=True)[:most]
        ]

    def score(self, truth: DetectionTruth, results: Sequence[CocoResult]) -> dict[Kind, dict[str, float]]:
        """AP and AR by the names that COCO and LVIS give them, in [0, 1]; -1 where there is nothing to detect.

        Raises: InputError when a kind of overlap is asked for that records lack, or `masklet[eval]` is missing.
        """
        selected = self.select(results, truth)
        return {kind: self._score(kind, truth, selected) for kind in self.kinds}

    def _score(self, kind: Kind, truth: DetectionTruth, results: list[CocoResult]) -> dict[str, float]:
        try:
            from faster_coco_eval import COCO, COCOeval_faster
        except ImportError as error:
            raise InputError('AP needs a package that is not installed: pip install "masklet[eval]"') from error
        if self.lvis:
            for category in truth.labels.categories.values():
                if category.frequency is None:
                    where = f"{truth.path}: category {category.id}"
                    raise InputError(f"{where}: frequency: is missing; --lvis needs it (r, c or f)")
        numbering = _Numbering(truth)
        document = numbering.labels(kind)
        labels = COCO(document)
        chosen = numbering.results(results, kind)
        found = labels.loadRes(chosen) if chosen else COCO({**document, "annotations": []})
        evaluation = COCOeval_faster(labels, found, iouType=kind, lvis_style=self.lvis)
        evaluation.params.maxDets = [PER_CATEGORY] if self.lvis else [1, 10, PER_IMAGE]
        evaluation.run()
        return {name: float(value) for name, value in evaluation.stats_as_dict.items()}


class _Numbering:
    """A dataset as the counting needs it: all ids are numbers from 1 on, each object has a box and an area."""

    def __init__(self, truth: DetectionTruth) -> None:
        self.truth = truth
        self.images, self.categories = (
            {key: number for number, key in enumerate(each, start=1)}
            for each in (truth.labels.images, truth.labels.categories)
        )

    def labels(self, kind: Kind) -> dict[str, Any]:
        """The document. Raises: InputError naming an object, or an image, that lacks what the kind needs."""
        annotations = [self._annotation(record, number, kind) for number, record in enumerate(self._records, start=1)]
        sizes: dict[int, list[int]] = {}
        for each in annotations:
            if isinstance(each.get("segmentation"), dict):
                sizes[each["image_id"]] = each["segmentation"]["size"]
        return {
            "images": [self._image(record, sizes, kind) for record in self.truth.labels.images.values()],
            "categories": [
                to_json(record) | {"id": self.categories[key]} for key, record in self.truth.labels.categories.items()
            ],
            "annotations": annotations,
        }

    def results(self, results: Sequence[CocoResult], kind: Kind) -> list[dict[str, Any]]:
        """The results, each with the box or the mask of the kind alone."""
        field, chosen = _FIELDS[kind], []
        for place, record in enumerate(results):
            if not getattr(record, field):
                raise InputError(f"result {place} has no {field}, which --iou asks for")
            ids = {"image_id": self.images[record.image_id], "category_id": self.categories[record.category_id]}
            chosen.append(ids | {"score": record.score, field: to_json(record)[field]})
        return chosen

    @property
    def _records(self) -> list[CocoAnnotation]:
        return self.truth.labels.annotations

    def _image(self, record: CocoImage, sizes: Mapping[int, Sequence[int]], kind: Kind) -> dict[str, Any]:
        number = self.images[record.id]
        height, width = sizes.get(number, (record.height, record.width))
        if kind == "segm" and (height is None or width is None):
            raise InputError(
                f"{self.truth.path}: image {record.id}: width, height: are missing; --iou masks needs them"
            )
        listed = {
            field: [self.categories[key] for key in getattr(record, field) or () if key in self.categories]
            for field in ("neg_category_ids", "not_exhaustive_category_ids")
        }
        return {"id": number, "height": height, "width": width, **listed}

    def _annotation(self, record: CocoAnnotation, number: int, kind: Kind) -> dict[str, Any]:
        name = f"annotation {number - 1 if record.id is None else record.id}"
        segmentation = record.segmentation
        if kind == "segm":
            if not segmentation:
                raise InputError(f"{name} has no segmentation, which --iou asks for")
            if isinstance(segmentation, list) and any(len(each) < 6 or len(each) % 2 for each in segmentation):
                where = f"{self.truth.path}: {name}"
                raise InputError(f"{where}: segmentation: a polygon needs three points or more, each a pair of numbers")
        try:
            box, area = measure(record)
        except ValueError as error:
            raise InputError(f"{self.truth.path}: {name}: segmentation: {error}") from error
        ids = {"image_id": self.images[record.image_id], "category_id": self.categories[record.category_id]}
        plain = {"id": number, **ids, "bbox": box, "area": area, "iscrowd": int(record.iscrowd or 0)}
        return plain | ({"segmentation": to_json(record)["segmentation"]} if segmentation else {})


_FIELDS: Mapping[Kind, str] = {"segm": "segmentation", "bbox": "bbox"}


def measure(record: CocoAnnotation) -> tuple[Sequence[float | int], float | int]:
    """Box (xywh) and area of an object: those stated, unless the box is missing or the area is missing or wrong.

    What is missing comes from the mask. A stated area is wrong that differs from the mask's, or without a mask exceeds
    the box's, by more than `_WRONG_AREA` times; the counting sorts objects into small, medium and large by it.
    """
    segmentation = record.segmentation
    if isinstance(segmentation, RunLengths):
        true = float(rle_area(segmentation.counts))
        table = RunTable.of([segmentation.counts], *([side] for side in segmentation.size))
        x0, y0, x1, y1 = table.boxes_xyxy[0].tolist()
    elif segmentation and any(len(each) >= 6 for each in segmentation):
        parts = [np.reshape(each[: len(each) // 2 * 2], (-1, 2)) for each in segmentation if len(each) >= 6]
        true = sum(polygon_area(each) for each in parts)
        (x0, y0), (x1, y1) = (getattr(np.concatenate(parts), side)(axis=0).tolist() for side in ("min", "max"))
    elif record.bbox is not None:
        box = record.bbox
        true, stated = box[2] * box[3], record.area
        return box, true if stated is None or not 0 < stated <= _WRONG_AREA * true else stated
    else:
        raise ValueError("a polygon needs three points or more, each a pair of numbers")
    box = [x0, y0, x1 - x0, y1 - y0] if record.bbox is None else record.bbox
    stated = record.area
    is_right = stated is not None and true / _WRONG_AREA <= stated <= true * _WRONG_AREA
    return box, stated if is_right and stated is not None else true


def requests_of(truth: DetectionTruth) -> list[Request]:
    """Every category asked of every image. Raises: InputError when an image has no file name."""
    phrases = list(truth.phrases().values())
    requests = []
    for image in truth.labels.images.values():
        if image.file_name is None:
            raise InputError(f"{truth.path}: image {image.id}: file_name: is missing")
        requests += [Request(image.file_name, len(requests) + place, each) for place, each in enumerate(phrases)]
    return requests


def results_of(predictions: Iterable[PairPrediction], truth: DetectionTruth) -> Iterator[CocoResult]:
    """Predictions for `requests_of` in COCO's layout; each has the category that was asked for."""
    images, categories = list(truth.labels.images), list(truth.labels.categories)
    for each in predictions:
        assert isinstance(each.pair_id, int), "as requests_of numbers them"
        image, category = divmod(each.pair_id, len(categories))
        for score, box, counts in zip(each.scores.tolist(), each.boxes_xyxy.tolist(), each.counts, strict=True):
            yield CocoResult(
                image_id=images[image],
                category_id=categories[category],
                bbox=[box[0], box[1], box[2] - box[0], box[3] - box[1]],
                segmentation=RunLengths(size=[each.height, each.width], counts=counts),
                score=score,
            )
