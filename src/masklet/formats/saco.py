"""SA-Co image files as published: which files belong together, and records that are known to be whole.

Gold: three files for each subset, `gold_<subset>_merged_a_release_test.json` and b, c: labels of independent annotators
for the same pairs. Silver: one file each, `silver_<subset>_merged_test.json`. An entry of `images` is a pair of an
image and a phrase; one without labels is a negative. Boxes are xywh fractions of the image, in predictions too.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from masklet.errors import InputError
from masklet.formats.records import Flag, RunLengths, Size, check
from masklet.formats.stream import iterate_items

_PUBLISHED = re.compile(
    r"(?:gold_)?(?P<gold>.+)_merged_(?P<annotator>[a-z])_release_test|(?:silver_)?(?P<silver>.+)_merged_test"
)

Fraction = Annotated[float, Field(ge=-8, le=8)]  # boxes may reach outside the image; pixels are far beyond this
Fractions = Annotated[list[Fraction], Field(min_length=4, max_length=4)]


class PairRecord(TypedDict):
    """An entry of `images`."""

    id: int
    file_name: str
    text_input: str
    width: Size
    height: Size
    is_instance_exhaustive: NotRequired[Flag | None]


class LabelRecord(TypedDict):
    """An entry of `annotations`."""

    id: NotRequired[int]
    image_id: int
    bbox: NotRequired[Fractions | None]
    segmentation: NotRequired[RunLengths | None]
    iscrowd: NotRequired[Flag]


class CategoryRecord(TypedDict):
    """An entry of `categories`."""

    id: int


class PredictionRecord(TypedDict):
    """An entry of a list of predictions."""

    image_id: int
    category_id: NotRequired[int]
    bbox: NotRequired[Fractions | None]
    segmentation: NotRequired[RunLengths | None]
    score: Annotated[float, Field(ge=0, le=1)]


class PresenceRecord(TypedDict):
    """A line of a file of presences."""

    image_id: int
    presence: Annotated[float, Field(ge=0, le=1)]


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
    files = sorted(folder.rglob("*_merged_*test.json")) or sorted(folder.glob("*.json"))
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
        paths = [_within(paths[0], subset.name) for subset in subsets]
    if len(paths) != len(subsets):
        names = ", ".join(subset.name for subset in subsets)
        raise InputError(f"{len(paths)} files of predictions were given for {len(subsets)} subsets ({names})")
    for path in paths:
        if not path.is_file():
            raise InputError(f"no such file: {path}")
    return paths


def _within(folder: Path, name: str) -> Path:
    nested = folder / name / "predictions.json"
    return nested if nested.is_file() else folder / f"{name}.json"


def read_pairs(path: Path) -> Iterator[tuple[str, int, str]]:
    """Image, number and phrase of each pair of a file. Raises: InputError naming file, record and field."""
    for section, value, _ in iterate_items(path):
        if section == "images":
            record = check(PairRecord, value, path, "image")
            yield record["file_name"], record["id"], record["text_input"]
