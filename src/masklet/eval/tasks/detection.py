"""Average precision on datasets with a fixed list of categories: COCO, LVIS, ODinW and the like.

The counting is `faster-coco-eval`'s; here are the protocols around it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from masklet.errors import InputError
from masklet.eval.concepts.pairs import Kind
from masklet.eval.predict.predict import PairPrediction, Request
from masklet.formats.coco import CocoAnnotation, CocoFile, CocoResult, read_coco
from masklet.formats.lvis import phrase_of
from masklet.formats.records import Id, RunLengths, to_json

PER_IMAGE = 100  # predictions of one image that count, over all categories, as in published COCO results
PER_CATEGORY = 10_000  # of one category over an LVIS dataset ("AP fixed", Dave et al.)


@dataclass(frozen=True, kw_only=True)
class DetectionTruth:
    """A dataset of objects in categories, whose ids are numbers, as the counting needs them."""

    path: Path
    labels: CocoFile

    @classmethod
    def read(cls, path: Path) -> "DetectionTruth":
        """Raises: InputError naming file, record and field."""
        labels = read_coco(path)
        if not labels.categories:
            raise InputError(f"{path}: has no categories, so there is nothing to score")
        for name, records in (("image", labels.images), ("category", labels.categories)):
            for key in records:
                if isinstance(key, str):
                    raise InputError(f"{path}: {name} {key}: id: is a text; average precision needs numbers")
        for place, record in enumerate(labels.annotations):
            if record.bbox is None or not isinstance(record.id, int):
                field = "bbox" if record.bbox is None else "id"
                name = f"annotation {place if record.id is None else record.id}"
                raise InputError(f"{path}: {name}: {field}: is missing, or not what average precision needs")
            if isinstance(record.segmentation, list) and any(len(each) < 6 for each in record.segmentation):
                raise InputError(f"{path}: annotation {record.id}: segmentation: a polygon needs three points or more")
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
        field = {"segm": "segmentation", "bbox": "bbox"}[kind]
        for name, records in (("annotation", truth.labels.annotations), ("result", results)):
            for place, record in enumerate(records):
                if not getattr(record, field):
                    key = record.id if isinstance(record, CocoAnnotation) else place
                    raise InputError(f"{name} {key} has no {field}, which --iou asks for")
        annotations = []
        for record in truth.labels.annotations:
            assert record.bbox is not None, "checked when it was read"
            # The area of the box stands in for one that is not stated.
            annotations.append({"area": record.bbox[2] * record.bbox[3], **to_json(record)})
        document = truth.labels.to_json() | {"annotations": annotations}
        labels = COCO(document)
        names = ("image_id", "category_id", "score", field)
        chosen = [{name: value for name, value in to_json(each).items() if name in names} for each in results]
        found = labels.loadRes(chosen) if chosen else COCO({**document, "annotations": []})
        evaluation = COCOeval_faster(labels, found, iouType=kind, lvis_style=self.lvis)
        evaluation.params.maxDets = [PER_CATEGORY] if self.lvis else [1, 10, PER_IMAGE]
        evaluation.run()
        return {name: float(value) for name, value in evaluation.stats_as_dict.items()}


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
        image, category = divmod(each.pair_id, len(categories))
        for score, box, counts in zip(each.scores.tolist(), each.boxes_xyxy.tolist(), each.counts, strict=True):
            yield CocoResult(
                image_id=images[image],
                category_id=categories[category],
                bbox=[box[0], box[1], box[2] - box[0], box[3] - box[1]],
                segmentation=RunLengths(size=[each.height, each.width], counts=counts),
                score=score,
            )
