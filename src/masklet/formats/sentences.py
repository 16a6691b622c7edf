"""The table of benchmarks of sentences, and OmniLabel: descriptions judged on the images that they name.

A new benchmark is an entry here and a reader here or in `referring.py`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from masklet.errors import InputError
from masklet.formats.records import Box, Id, by_id, read_records
from masklet.formats.referring import Sentence, read_own, read_reasonseg, read_refs

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
