"""SA-Co image files as published: records, labels, predictions, and which files belong together.

Gold: three files for each subset, `gold_<subset>_merged_a_release_test.json` and b, c: labels of independent annotators
for the same pairs. Silver: one file each, `silver_<subset>_merged_test.json`. An entry of `images` is a pair of an
image and a phrase; one without labels is a negative. Boxes are xywh fractions of the image, in predictions too.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, BinaryIO

from pydantic import BeforeValidator, Field

from masklet.errors import InputError
from masklet.files import replacing
from masklet.formats.records import Flag, Id, Probability, RunLengths, Size, by_id, read_records, to_json
from masklet.formats.stream import ListWriter

PRESENCE_FILE = "presence.jsonl"

_PUBLISHED = re.compile(
    r"(?:gold_)?(?P<gold>.+)_merged_(?P<annotator>[a-z])_release_test|(?:silver_)?(?P<silver>.+)_merged_test"
)

Fraction = Annotated[float | int, Field(ge=-8, le=8)]  # boxes may reach outside the image; pixels are far beyond this
Fractions = Annotated[list[Fraction], Field(min_length=4, max_length=4)]
GivenFractions = Annotated[Fractions | None, BeforeValidator(lambda value: None if value == [] else value)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SacoPair:
    """An entry of `images`: a pair of an image and a phrase. Without the flag it is labelled exhaustively."""

    id: Id
    file_name: str
    text_input: str
    height: Size
    width: Size
    is_instance_exhaustive: Flag | None = 1
    source: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SacoLabel:
    """An entry of `annotations`."""

    id: Id | None = None
    image_id: Id
    category_id: Id | None = None
    iscrowd: Flag | None = 0
    bbox: GivenFractions = None
    area: float | int | None = None
    segmentation: RunLengths | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SacoCategory:
    """An entry of `categories`."""

    id: Id


@dataclass(frozen=True, slots=True, kw_only=True)
class SacoPrediction:
    """An entry of a list of predictions; areas are fractions of the image."""

    image_id: Id
    category_id: Id = 1
    segmentation: RunLengths | None = None
    bbox: GivenFractions = None
    score: Probability
    area: float | int | None = None
    presence: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SacoPresence:
    """A line of a file of presences."""

    image_id: Id
    presence: Probability


@dataclass(frozen=True, kw_only=True)
class SacoFile:
    """Pairs by their id, and the labels of all of them."""

    pairs: dict[Id, SacoPair]
    labels: list[SacoLabel]

    def to_json(self) -> dict[str, Any]:
        """The document to write."""
        return {
            "images": [to_json(each) for each in self.pairs.values()],
            "annotations": [to_json(each) for each in self.labels],
            "categories": [{"id": 1, "name": "object"}],
        }


def read_saco(path: Path) -> SacoFile:
    """The records of a file. Raises: InputError naming file, record and field."""
    pairs, labels = [], []
    for record in read_records(path, {"images": SacoPair, "annotations": SacoLabel}):
        if isinstance(record, SacoPair):
            pairs.append(record)
        else:
            labels.append(record)
    if not pairs:
        raise InputError(f"{path}: has no images: SA-Co labels are expected")
    known = by_id(pairs, path, "image")
    for place, label in enumerate(labels):
        if label.image_id not in known:
            name = f"annotation {place if label.id is None else label.id}"
            raise InputError(f"{path}: {name}: image_id: there is no image {label.image_id}")
    return SacoFile(pairs=known, labels=labels)


def read_pairs(path: Path) -> Iterator[SacoPair]:
    """The pairs of a file alone. Raises: InputError naming file, record and field."""
    yield from read_records(path, {"images": SacoPair})


class SacoPredictionWriter(AbstractContextManager):
    """Writes predictions as they come, in the layout in which they are published, and `PRESENCE_FILE` beside it.

    The first is a list of `SacoPrediction`, the second has a line for each pair, those without instances too. Both take
    their places when all went well.

    Raises: InputError when they cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._stack = ExitStack()
        beside = self._stack.enter_context(replacing(path))
        presence = self._stack.enter_context(replacing(path.with_name(PRESENCE_FILE)))
        self._records = ListWriter(self._stack.enter_context(beside.open("xb")))
        self._presence: BinaryIO = self._stack.enter_context(presence.open("xb"))

    def add(self, presence: SacoPresence, predictions: Iterable[SacoPrediction]) -> None:
        """All instances of one pair."""
        self._presence.write(json.dumps(to_json(presence)).encode() + b"\n")
        for prediction in predictions:
            self._records.add(to_json(prediction))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        if kind is None:
            self._records.end()
        return self._stack.__exit__(kind, error, trace)


# --- which files belong together ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Subset:
    """Label files of the same pairs, one for each annotator, under the name that tables give them."""

    name: str
    files: tuple[Path, ...]


def find_subsets(arguments: Sequence[str]) -> list[Subset]:
    """Subsets named by files, folders of published files, and lists `a.json,b.json` of several annotators.

    Raises: InputError when a file does not exist, a folder holds no JSON, or two subsets have one name.
    """
    subsets: list[Subset] = []
    for argument in arguments:
        path = Path(argument)
        if path.is_dir():
            subsets += _published(path)
        else:
            files = tuple(Path(part.strip()) for part in ([argument] if path.exists() else argument.split(",")))
            subsets.append(Subset(name=_name_of(files[0])[0], files=files))
    for file in (file for subset in subsets for file in subset.files):
        if not file.is_file():
            raise InputError(f"no such file: {file}")
    names = [subset.name for subset in subsets]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two subsets are called {name!r}: write annotators of the same pairs as FILE,FILE")
    return subsets


def _published(folder: Path) -> list[Subset]:
    found = sorted(folder.rglob("*_merged_*test.json")) or sorted(folder.glob("*.json"))
    files = [file for file in found if not file.name.startswith(".")]
    if not files:
        raise InputError(f"no .json file in {folder}")
    grouped: dict[str, list[tuple[str, Path]]] = {}
    for file in files:
        name, annotator = _name_of(file)
        grouped.setdefault(name, []).append((annotator, file))
    return [Subset(name=name, files=tuple(file for _, file in sorted(group))) for name, group in grouped.items()]


def _name_of(file: Path) -> tuple[str, str]:
    """Subset and annotator by the published way of naming files."""
    match = _PUBLISHED.fullmatch(file.stem)
    if match is None:
        return file.stem, ""
    return match["gold"] or match["silver"], match["annotator"] or ""


def find_predictions(arguments: Sequence[str], subsets: Sequence[Subset]) -> list[Path]:
    """The file of predictions of each subset: one argument for each in turn, or a folder that holds them all.

    In it they are `<subset>.json`, or `<subset>/predictions.json` as `masklet eval` itself leaves them.

    Raises: InputError when a file is missing or their number differs.
    """
    paths = [Path(argument) for argument in arguments]
    if len(paths) == 1 and paths[0].is_dir():
        nested = [paths[0] / subset.name / "predictions.json" for subset in subsets]
        beside = [paths[0] / f"{subset.name}.json" for subset in subsets]
        paths = [inner if inner.is_file() else outer for inner, outer in zip(nested, beside, strict=True)]
    if len(paths) != len(subsets):
        names = ", ".join(subset.name for subset in subsets)
        raise InputError(f"{len(paths)} files of predictions were given for {len(subsets)} subsets ({names})")
    for path in paths:
        if not path.is_file():
            raise InputError(f"no such file: {path}")
    return paths
