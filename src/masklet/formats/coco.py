"""COCO labels and results: boxes xywh in pixels, masks as run lengths or polygons. LVIS adds fields of images.

Our own labels add to an image: `source`, the collection it comes from; `exhaustive`, what is labelled in full;
`hard_negatives`, phrases that were checked to be absent; and `present`, phrases that it shows somewhere. A category may
have `synonyms`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import Field

from masklet.errors import InputError
from masklet.formats.records import (
    Flag,
    GivenBox,
    Id,
    RunLengths,
    Segmentation,
    Size,
    by_id,
    decode_mask,
    read_list,
    read_records,
    to_json,
)
from masklet.formats.stream import iterate_items
from masklet.ops.masks import rle_encode
from masklet.phrases import phrase_key


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoImage:
    """An entry of `images`; some tools leave its size out. The last two fields are LVIS's."""

    id: Id
    file_name: str | None = None
    width: Size | None = None
    height: Size | None = None
    coco_url: str | None = None
    source: str | None = None
    exhaustive: str | list[str] | None = None
    hard_negatives: list[str] | None = None
    present: list[str] | None = None
    neg_category_ids: list[Id] | None = None
    not_exhaustive_category_ids: list[Id] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoCategory:
    """An entry of `categories`; `frequency` is LVIS's: rare, common or frequent."""

    id: Id
    name: str
    synonyms: list[str] | None = None
    frequency: Literal["r", "c", "f"] | None = None
    supercategory: str | None = None

    @property
    def phrases(self) -> tuple[str, ...]:
        """The name and the synonyms, each once."""
        return tuple(dict.fromkeys([self.name, *(self.synonyms or ())]))


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoAnnotation:
    """An entry of `annotations`; results in this layout add `track_id` and `score`."""

    id: Id | None = None
    image_id: Id
    category_id: Id
    track_id: int | None = None
    bbox: GivenBox = None
    area: float | int | None = None
    segmentation: Segmentation = None
    iscrowd: Flag | None = 0
    score: float | int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoResult:
    """An entry of a list of results."""

    image_id: Id
    category_id: Id
    bbox: GivenBox = None
    segmentation: RunLengths | None = None
    score: Annotated[float | int, Field(ge=-1e9, le=1e9)]


@dataclass(frozen=True, kw_only=True)
class CocoFile:
    """A COCO dataset; annotations refer to images and categories that are there."""

    images: dict[Id, CocoImage]
    categories: dict[Id, CocoCategory]
    annotations: list[CocoAnnotation]

    def by_image(self) -> dict[Id, list[CocoAnnotation]]:
        """The annotations of each image that has any."""
        found: dict[Id, list[CocoAnnotation]] = defaultdict(list)
        for annotation in self.annotations:
            found[annotation.image_id].append(annotation)
        return found

    @property
    def groups(self) -> frozenset[Id]:
        """Categories without annotations that others name as theirs: heads of groups, as Roboflow writes them."""
        used = {each.category_id for each in self.annotations}
        heads = {each.supercategory for each in self.categories.values() if each.supercategory != each.name}
        return frozenset(key for key, each in self.categories.items() if each.name in heads and key not in used)

    def check_references(self, record: CocoAnnotation | CocoResult, path: Path, name: str) -> None:
        """Raises: InputError when a record of a file refers to an image or a category that is not here."""
        if record.image_id not in self.images:
            raise InputError(f"{path}: {name}: image_id: there is no image {record.image_id!r}")
        if record.category_id not in self.categories:
            raise InputError(f"{path}: {name}: category_id: there is no category {record.category_id!r}")

    def to_json(self) -> dict[str, Any]:
        """The document to write."""
        return {
            "info": {"description": "written by masklet"},
            "licenses": [],
            "images": [to_json(each) for each in self.images.values()],
            "annotations": [to_json(each) for each in self.annotations],
            "categories": [to_json(each) for each in self.categories.values()],
        }


def read_coco(path: Path) -> CocoFile:
    """The records of a file, whose ids are given once. An image without a file name takes it from its `coco_url`.

    Raises: InputError naming file, record and field.
    """
    images, categories, annotations = [], [], []
    kinds = {"images": CocoImage, "categories": CocoCategory, "annotations": CocoAnnotation}
    for record in read_records(path, kinds):
        match record:
            case CocoImage(file_name=None, coco_url=str(url)):
                # Published LVIS files have an address in place of the name, which ends with folder and name
                images.append(replace(record, file_name="/".join(url.split("/")[-2:])))
            case CocoImage():
                images.append(record)
            case CocoCategory():
                categories.append(record)
            case CocoAnnotation():
                annotations.append(record)
    if not images:
        raise InputError(f"{path}: has no images: COCO labels are expected")
    document = CocoFile(
        images=by_id(images, path, "image"), categories=by_id(categories, path, "category"), annotations=annotations
    )
    for place, record in enumerate(annotations):
        document.check_references(record, path, f"annotation {place if record.id is None else record.id}")
    return document


def read_results(path: Path, labels: CocoFile) -> list[CocoResult]:
    """Results for these labels: a list, or a dataset with scores, as `masklet segment --format coco` writes it.

    Of a dataset, images and categories are those of the labels by their names; others are left out.
    Raises: InputError naming file, record and field.
    """
    if next(iterate_items(path), ("",))[0]:
        return list(_results_of(read_coco(path), labels))
    results = list(read_list(path, CocoResult, "result"))
    for place, result in enumerate(results):
        labels.check_references(result, path, f"result {place}")
    return results


def _results_of(found: CocoFile, labels: CocoFile) -> Iterator[CocoResult]:
    ids = {each.file_name or "": key for key, each in labels.images.items()}
    names = match_names((each.file_name or "" for each in found.images.values()), ids)
    phrases = {phrase_key(each.name): key for key, each in labels.categories.items()}
    for each in found.annotations:
        image = found.images[each.image_id]
        name, category = (
            names.get(image.file_name or ""),
            phrases.get(phrase_key(found.categories[each.category_id].name)),
        )
        if name is None or category is None:
            continue
        mask = each.segmentation
        if isinstance(mask, list) and image.height is not None and image.width is not None:
            size = [image.height, image.width]
            mask = RunLengths(size=size, counts=rle_encode(decode_mask(mask, (image.height, image.width))))
        yield CocoResult(
            image_id=ids[name],
            category_id=category,
            bbox=each.bbox,
            segmentation=mask if isinstance(mask, RunLengths) else None,
            score=1.0 if each.score is None else each.score,
        )


def match_names(wanted: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Which known image each wanted name means: that of the same path, or the only one of the same file name."""
    exact = set(known)
    files: dict[str, set[str]] = defaultdict(set)
    for name in exact:
        files[PurePosixPath(name).name].add(name)
    found: dict[str, str] = {}
    for name in wanted:
        same = files[PurePosixPath(name).name]
        if name in exact or len(same) == 1:
            found[name] = name if name in exact else next(iter(same))
    return found


class CocoBuilder:
    """Makes a dataset out of images and objects as they come; categories are phrases, ids count from 1."""

    def __init__(self) -> None:
        self.images: list[CocoImage] = []
        self.annotations: list[CocoAnnotation] = []
        self.categories: dict[str, int] = {}

    def add_image(self, file_name: str, size: tuple[int, int] | None) -> int:
        """An image of a size, height and width, if it is known; returns its id."""
        height, width = size or (None, None)
        self.images.append(CocoImage(id=len(self.images) + 1, file_name=file_name, height=height, width=width))
        return len(self.images)

    def add_object(
        self,
        phrase: str,
        box: Sequence[float | int] | None,
        segmentation: RunLengths | list[list[float]] | None = None,
        **fields: Any,
    ) -> None:
        """An object of the image that was added last; its box is xywh in pixels."""
        self.annotations.append(
            CocoAnnotation(
                id=len(self.annotations) + 1,
                image_id=len(self.images),
                category_id=self.add_category(phrase),
                bbox=None if box is None else [*box],
                segmentation=segmentation,
                **fields,
            )
        )

    def add_category(self, phrase: str) -> int:
        """The id of a phrase, an earlier one if it was there before."""
        return self.categories.setdefault(phrase, len(self.categories) + 1)

    def build(self) -> CocoFile:
        """The dataset so far."""
        return CocoFile(
            images={each.id: each for each in self.images},
            categories={number: CocoCategory(id=number, name=name) for name, number in self.categories.items()},
            annotations=self.annotations,
        )
