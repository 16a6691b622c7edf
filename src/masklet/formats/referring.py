"""Benchmarks of sentences that mean regions: ReasonSeg, RefCOCO, RefCOCO+, RefCOCOg, gRefCOCO, OmniLabel, and our own.

The region of a sentence is one mask of all that it means, empty where it means nothing. Pickles of the RefCOCO family
are read by an unpickler that knows plain values only.
"""

import io
import json
import pickle
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Bool
from pydantic import Field

from masklet.errors import InputError
from masklet.formats.records import (
    Box,
    Id,
    Pixel,
    Polygons,
    RunLengths,
    Size,
    by_id,
    decode_mask,
    parse,
    read_records,
)
from masklet.ops.masks import polygon_area, polygons_to_mask

MOST_BYTES = 512 * 2**20
Point = Annotated[list[Pixel], Field(min_length=2, max_length=2)]


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence about an image, and what it means: regions, or boxes xywh in pixels.

    `sort` is by what results are told apart: ReasonSeg's "long" and "short", our own "negation", "order" and "count",
    OmniLabel's "categ" and "descr".
    """

    id: str
    image: str
    text: str
    shapes: tuple["Region", ...] = ()
    boxes: tuple[tuple[float, ...], ...] = ()
    sort: str = ""


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of what a sentence means, or of what is not judged: polygons in pixels, or run lengths."""

    segmentation: Polygons | RunLengths
    is_ignored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonShape:
    """A shape of ReasonSeg."""

    label: str
    points: list[Point]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReasonFile:
    """The labels of one image of ReasonSeg."""

    text: list[str]
    is_sentence: bool
    shapes: list[ReasonShape]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefAnnotation:
    """An object of `instances.json`, with its outline."""

    id: Id
    image_id: Id
    segmentation: Polygons | RunLengths | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefImage:
    """An image of `instances.json`."""

    id: Id
    file_name: str
    height: Size
    width: Size


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnSentence:
    """A sentence of our own set; each instance that answers it has a mask of its own."""

    id: str
    image: str
    text: str
    sort: str
    instances: list[RunLengths]


def read_own(path: Path) -> Iterator[Sentence]:
    """The sentences of a file that `workflows.evaluation.own_set` wrote. Raises: InputError."""
    for each in read_records(path, {"sentences": OwnSentence}):
        regions = tuple(Region(segmentation=instance) for instance in each.instances)
        yield Sentence(id=each.id, image=each.image, text=each.text, sort=each.sort, shapes=regions)


def read_reasonseg(folder: Path) -> Iterator[Sentence]:
    """Each sentence of each JSON file; what is labelled "flag" is no region. Some files are cp1252, not UTF-8."""
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise InputError(f"{folder} holds no JSON file of ReasonSeg")
    for path in paths:
        content = path.read_bytes()
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            text = content.decode("cp1252", "replace")
        labels = parse(ReasonFile, text, path, "file")
        # Larger ones first: what is painted later lies on top
        shapes = sorted(labels.shapes, key=lambda shape: -polygon_area(np.array(shape.points, float)))
        regions = tuple(
            Region(
                segmentation=[[float(value) for point in shape.points for value in point]],
                is_ignored="ignore" in shape.label.lower(),
            )
            for shape in shapes
            if "flag" not in shape.label.lower()
        )
        for place, sentence in enumerate(labels.text):
            yield Sentence(
                id=f"{path.stem}-{place}",
                image=f"{path.stem}.jpg",
                text=sentence,
                shapes=regions,
                sort="long" if labels.is_sentence else "short",
            )


def read_refs(path: Path, split: str) -> Iterator[Sentence]:
    """Each sentence of a split; a reference to no object, or to several, is gRefCOCO's."""
    objects: dict[Any, RefAnnotation] = {}
    images: dict[Any, RefImage] = {}
    labels = path.with_name("instances.json")
    for kind, found in (("annotations", RefAnnotation), ("images", RefImage)):
        records = by_id(read_records(labels, {kind: found}), labels, kind)
        (objects if kind == "annotations" else images).update(records)
    for number, ref in enumerate(_refs(path)):
        try:
            if ref["split"] != split:
                continue
            named = ref["ann_id"] if isinstance(ref["ann_id"], list) else [ref["ann_id"]]
            image = images[ref["image_id"]]
            chosen = [objects[key].segmentation for key in named if key != -1]
            sentences = [(str(each["sent_id"]), str(each["sent"])) for each in ref["sentences"]]
        except (KeyError, TypeError) as error:
            raise InputError(
                f"{path}: reference {number + 1} lacks {error} or names what is not in {labels}"
            ) from error
        regions = tuple(Region(segmentation=each) for each in chosen if each is not None)
        for key, text in sentences:
            yield Sentence(id=key, image=image.file_name, text=text, shapes=regions)


class _PlainUnpickler(pickle.Unpickler):
    """Reads lists, dictionaries, texts and numbers; any name of code in the file is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it names {module}.{name}, and only plain values are read")


def _refs(path: Path) -> list[Mapping[str, Any]]:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise InputError(f"{path} is larger than {MOST_BYTES // 2**20} MB")
        content = path.read_bytes()
        refs = json.loads(content) if path.suffix == ".json" else _PlainUnpickler(io.BytesIO(content)).load()
    except (OSError, ValueError, EOFError, pickle.UnpicklingError, AttributeError, IndexError, KeyError) as error:
        raise InputError(f"{path} is no file of references: {error}") from error
    if not isinstance(refs, list) or not all(isinstance(each, dict) for each in refs):
        raise InputError(f"{path} is no file of references: it should hold a list of them")
    return refs


def draw(
    sentence: Sentence, size: tuple[int, int]
) -> tuple[Bool[np.ndarray, "height width"], Bool[np.ndarray, "height width"]]:
    """What a sentence means, and what is not judged, at the size (height, width) of its image."""
    target, ignored = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
    for region in sentence.shapes:
        if isinstance(region.segmentation, RunLengths):
            mask = decode_mask(region.segmentation, size)
        else:
            mask = polygons_to_mask(region.segmentation, *size)
        ignored = (ignored | mask) if region.is_ignored else ignored & ~mask
        target = target & ~mask if region.is_ignored else target | mask
    return target, ignored


# --- OmniLabel, and the table of all --------------------------------------------------------------------------------

PLAIN = "object_description"  # the type of what is not a category


@dataclass(frozen=True, slots=True, kw_only=True)
class OmniImage:
    """An image of the file."""

    id: Id
    file_name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OmniInfo:
    """Where a description comes from; a category of another dataset is one, too."""

    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OmniDescription:
    """A description, and all images that it is judged on."""

    id: Id
    text: str
    image_ids: list[Id]
    anno_info: OmniInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class OmniObject:
    """A box, and what describes it."""

    image_id: Id
    bbox: Box
    description_ids: list[Id] = field(default_factory=list)


def read_omnilabel(path: Path) -> Iterator[Sentence]:
    """Every description of each image that it is judged on. Raises: InputError."""
    images = by_id(read_records(path, {"images": OmniImage}), path, "images")
    meant: dict[tuple[Id, Id], list[tuple[float, ...]]] = defaultdict(list)
    for each in read_records(path, {"annotations": OmniObject}):
        for description in each.description_ids:
            meant[each.image_id, description].append(tuple(map(float, each.bbox)))
    for description in by_id(read_records(path, {"descriptions": OmniDescription}), path, "descriptions").values():
        for key in dict.fromkeys(description.image_ids):
            if key not in images:
                raise InputError(f"{path}: description {description.id}: image_ids: there is no image {key}")
            yield Sentence(
                id=f"{key}-{description.id}",
                image=images[key].file_name,
                text=description.text,
                sort="descr" if description.anno_info.type == PLAIN else "categ",
                boxes=tuple(meant.get((key, description.id), ())),
            )


Reader = Callable[[Path, str], Iterator[Sentence]]  # of labels and the name of a split
BENCHMARKS: Mapping[str, Reader] = {
    "reasonseg": lambda path, _: read_reasonseg(path),
    "refcoco": read_refs,
    "grefcoco": read_refs,
    "omnilabel": lambda path, _: read_omnilabel(path),
    "own": lambda path, _: read_own(path),
}


def read_benchmark(kind: str, path: Path, split: str = "val") -> Iterator[Sentence]:
    """The sentences of a folder of ReasonSeg, of a file `refs(...)` beside its `instances.json`, or of a JSON file.

    Raises: InputError naming the file and what is wrong in it.
    """
    if kind not in BENCHMARKS:
        raise InputError(f"unknown benchmark {kind!r}: choose from {', '.join(BENCHMARKS)}")
    return BENCHMARKS[kind](path, split)
