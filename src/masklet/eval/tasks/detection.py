"""Average precision on data sets with a fixed list of categories: COCO, LVIS, ODinW and the like.

The counting is `faster-coco-eval`'s; here are the protocols around it. Files are COCO's own layout: boxes xywh in
pixels, masks as run lengths or polygons; LVIS adds which categories were looked for in an image, and how rare each is.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from masklet.errors import InputError
from masklet.eval.concepts.pairs import Kind
from masklet.eval.predict.predict import PairPrediction, Request
from masklet.formats.records import Flag, Pixels, RunLengths, Size, check
from masklet.formats.stream import iterate_items

PER_IMAGE = 100  # predictions of one image that count, over all categories, as in published COCO results
PER_CATEGORY = 10_000  # of one category over an LVIS data set ("AP fixed", Dave et al.)

Side = Annotated[float, Field(ge=0, le=2**20)]
Polygons = list[Annotated[list[float], Field(min_length=6)]]


class ImageRecord(TypedDict):
    """An entry of `images`. The last two are LVIS's."""

    id: int
    width: Size
    height: Size
    file_name: NotRequired[str]
    neg_category_ids: NotRequired[list[int]]
    not_exhaustive_category_ids: NotRequired[list[int]]


class ObjectRecord(TypedDict):
    """An entry of `annotations`."""

    id: int
    image_id: int
    category_id: int
    bbox: Pixels
    segmentation: NotRequired[RunLengths | Polygons | None]
    area: NotRequired[Side | float]
    iscrowd: NotRequired[Flag]


class CategoryRecord(TypedDict):
    """An entry of `categories`; `frequency` is LVIS's: rare, common or frequent."""

    id: int
    name: str
    frequency: NotRequired[Literal["r", "c", "f"]]


class ResultRecord(TypedDict):
    """An entry of a list of results."""

    image_id: int
    category_id: int
    bbox: NotRequired[Pixels | None]
    segmentation: NotRequired[RunLengths | None]
    score: Annotated[float, Field(ge=-1e9, le=1e9)]


@dataclass(frozen=True, kw_only=True)
class DetectionTruth:
    """A data set of objects in categories, known to be whole."""

    path: Path
    images: dict[int, dict[str, Any]]
    categories: dict[int, dict[str, Any]]
    objects: list[dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> "DetectionTruth":
        """Raises: InputError naming file, record and field."""
        images: dict[int, dict[str, Any]] = {}
        categories: dict[int, dict[str, Any]] = {}
        objects: list[dict[str, Any]] = []
        for section, value, _ in iterate_items(path):
            if section == "images":
                check(ImageRecord, value, path, "image")
                images[value["id"]] = value
            elif section == "categories":
                check(CategoryRecord, value, path, "category")
                categories[value["id"]] = value
            elif section == "annotations":
                objects.append(check(ObjectRecord, value, path, "annotation"))
        if not images or not categories:
            raise InputError(f"{path}: has no images or no categories: these are no COCO labels")
        truth = cls(path=path, images=images, categories=categories, objects=objects)
        for record in objects:
            truth.check_references(record, path, f"annotation {record['id']}")
        return truth

    def check_references(self, record: dict[str, Any], path: Path, name: str) -> None:
        """Raises: InputError when a record is of an image or a category that there is not."""
        for field, known in (("image_id", self.images), ("category_id", self.categories)):
            if record[field] not in known:
                raise InputError(f"{path}: {name}: {field}: {self.path.name} has no {record[field]}")

    def phrases(self) -> dict[int, str]:
        """What to ask for, by category: its name without underscores and remarks in brackets."""
        return {
            key: " ".join(record["name"].partition("(")[0].replace("_", " ").split()) or record["name"]
            for key, record in self.categories.items()
        }


def read_results(path: Path, truth: DetectionTruth) -> list[dict[str, Any]]:
    """A list of results. Raises: InputError naming file, record and field."""
    results = []
    for place, (section, value, _) in enumerate(iterate_items(path)):
        if section:
            raise InputError(f"{path}: a list of results is expected, not an object")
        truth.check_references(check(ResultRecord, value, path, f"result {place}"), path, f"result {place}")
        results.append(value)
    return results


@dataclass(frozen=True, kw_only=True)
class DetectionProtocol:
    """How results become average precision.

    `lvis` judges a category only on images where it was looked for, and caps results by category instead of by image.
    `present_only` drops results on images that have no object of their category (the "positive split", AP+).
    """

    kinds: tuple[Kind, ...] = ("bbox",)
    lvis: bool = False
    present_only: bool = False

    def select(self, results: Sequence[dict[str, Any]], truth: DetectionTruth) -> list[dict[str, Any]]:
        """The results that count."""
        if self.present_only:
            present = {(record["image_id"], record["category_id"]) for record in truth.objects}
            results = [each for each in results if (each["image_id"], each["category_id"]) in present]
        group, most = ("category_id", PER_CATEGORY) if self.lvis else ("image_id", PER_IMAGE)
        groups: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for record in results:
            groups[record[group]].append(record)
        return [
            record
            for members in groups.values()
            for record in sorted(members, key=lambda each: each["score"], reverse=True)[:most]
        ]

    def score(self, truth: DetectionTruth, results: Sequence[dict[str, Any]]) -> dict[Kind, dict[str, float]]:
        """AP and AR by the names that COCO and LVIS give them, in [0, 1]; -1 where nothing is there to be found.

        Raises: InputError when a kind of overlap is asked for that records lack, or `masklet[eval]` is missing.
        """
        selected = self.select(results, truth)
        return {kind: self._score(kind, truth, selected) for kind in self.kinds}

    def _score(self, kind: Kind, truth: DetectionTruth, results: list[dict[str, Any]]) -> dict[str, float]:
        try:
            from faster_coco_eval import COCO, COCOeval_faster
        except ImportError as error:
            raise InputError('AP needs a package that is not installed: pip install "masklet[eval]"') from error
        field = {"segm": "segmentation", "bbox": "bbox"}[kind]
        for name, records in (("annotation", truth.objects), ("result", results)):
            for place, record in enumerate(records):
                if not record.get(field):
                    raise InputError(f"{name} {record.get('id', place)} has no {field}, which --iou asks for")
        document = {
            "images": [*truth.images.values()],
            "categories": [*truth.categories.values()],
            "annotations": [_complete(record) for record in truth.objects],
        }
        labels = COCO(document)
        chosen = [{name: each[name] for name in ("image_id", "category_id", "score", field)} for each in results]
        found = labels.loadRes(chosen) if chosen else COCO({**document, "annotations": []})
        evaluation = COCOeval_faster(labels, found, iouType=kind, lvis_style=self.lvis)
        evaluation.params.maxDets = [PER_CATEGORY] if self.lvis else [1, 10, PER_IMAGE]
        evaluation.run()
        return {name: float(value) for name, value in evaluation.stats_as_dict.items()}


def _complete(record: dict[str, Any]) -> dict[str, Any]:
    """With the fields that COCO's evaluation reads; the area of the box stands in for one that is not stated."""
    return {"iscrowd": 0, "area": record["bbox"][2] * record["bbox"][3], **record}


def requests_of(truth: DetectionTruth) -> list[Request]:
    """Every category asked of every image. Raises: InputError when an image has no file name."""
    phrases = list(truth.phrases().values())
    requests = []
    for image in truth.images.values():
        if "file_name" not in image:
            raise InputError(f"{truth.path}: image {image['id']}: file_name: Field required")
        requests += [Request(image["file_name"], len(requests) + place, each) for place, each in enumerate(phrases)]
    return requests


def results_of(predictions: Iterable[PairPrediction], truth: DetectionTruth) -> Iterator[dict[str, Any]]:
    """Answers to `requests_of` in COCO's layout; a prediction has the category that was asked for."""
    images, categories = list(truth.images), list(truth.categories)
    for each in predictions:
        image, category = divmod(each.pair_id, len(categories))
        for score, box, counts in zip(each.scores.tolist(), each.boxes_xyxy.tolist(), each.counts, strict=True):
            yield {
                "image_id": images[image],
                "category_id": categories[category],
                "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                "segmentation": {"size": [each.height, each.width], "counts": counts},
                "score": score,
            }
