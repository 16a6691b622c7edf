"""Labels in the layout of Ultralytics: a data.yaml, pictures under images/, one text file for each under labels/.

A line is `class x y x y ...`, the outline of an object, or `class x y width height`, the middle and size of its box, in
fractions of the picture. A picture without a text file shows none of the classes.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from masklet.data.reading import PICTURE_SUFFIXES, inside, list_pictures, read_image
from masklet.data.schema import Example
from masklet.data.sources import QueryConfig, ask, kept_names
from masklet.errors import InputError
from masklet.ops.masks import polygons_to_mask

MAX_LABEL_BYTES = 2**26
_SLACK = 0.01  # of the picture, that coordinates may lie outside of it by rounding


@dataclass(frozen=True)
class _Object:
    """A line: the class, and an outline `[point, 2]` or a box `[2, 2]` (corners), in fractions of the picture."""

    phrase: str
    points: np.ndarray
    is_outline: bool


class YoloSource:
    """Pictures of a part ("train", "val", "test") of a data.yaml; phrases are its class names.

    Paths in it are taken below its own folder, whatever its `path` says if that is elsewhere, and so are those that
    begin with "../", as exported by some tools. A part is a folder of pictures, a text file that lists them, or a list
    of these.

    Raises: InputError naming the file, the line and the field that cannot be used.
    """

    def __init__(self, data: Path, part: str, config: QueryConfig) -> None:
        document = _read_yaml(data)
        self.root, self.config, self.source = _root(data, document), config, data.parent.name or data.stem
        self.names = _class_names(data, document)
        pictures = _pictures(data, self.root, document, part)
        self.pictures = [
            Path(name) for name in kept_names(map(str, pictures), config.split, config.limit, f"{data}: {part}")
        ]
        if not any((self.root / _label_file(picture)).is_file() for picture in self.pictures):
            raise InputError(f"{data}: {part}: none of {len(self.pictures)} pictures has a text file under labels/")

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, index: int) -> str:
        """The path of picture `index`, below the root."""
        return str(self.pictures[index])

    def sample(self, rng: np.random.Generator) -> Example:
        """A random picture with its classes and some it does not show."""
        return self.example(int(rng.integers(len(self.pictures))), rng)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Picture `index`; `rng` draws the classes that are asked in vain."""
        picture = self.pictures[index]
        image = read_image(self.root / picture, "the picture")
        height, width = image.shape[:2]
        objects = read_labels(self.root / _label_file(picture), self.names)
        boxes = np.zeros((len(objects), 4), np.float32)
        masks = np.zeros((len(objects), height, width), bool)
        answers: dict[str, list[int]] = defaultdict(list)
        for row, each in enumerate(objects):
            points = each.points * [width, height]
            boxes[row] = *points.min(axis=0), *points.max(axis=0)
            if each.is_outline:
                masks[row] = polygons_to_mask([points], height, width)
            answers[each.phrase].append(row)
        absent = frozenset(self.names.values()).difference(answers) if self.config.complete else frozenset()
        return Example(
            image=image,
            boxes_xyxy=boxes,
            masks=masks,
            mask_valid=np.atleast_1d(masks.any(axis=(1, 2))),
            queries=ask(answers, absent, self.config, rng),
            source=self.source,
            absent=absent,
        )


def read_labels(path: Path, names: dict[int, str]) -> list[_Object]:
    """The objects of a text file; none when there is no such file.

    Raises: InputError naming the file, the line and what is wrong with it.
    """
    try:
        if path.stat().st_size > MAX_LABEL_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes are too many for the labels of one picture")
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    return [_read_line(line.split(), names, f"{path}: line {n}") for n, line in enumerate(lines, 1) if line.strip()]


def _read_line(words: list[str], names: dict[int, str], where: str) -> _Object:
    try:
        number, values = float(words[0]), np.array([float(word) for word in words[1:]], np.float64)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    if number not in names:
        raise InputError(f"{where}: class {words[0]} is not among the {len(names)} names of the data.yaml")
    if len(values) != 4 and (len(values) < 6 or len(values) % 2):
        raise InputError(
            f"{where}: {len(values)} numbers are neither a box (4) nor an outline (an even number from 6 on)"
        )
    is_outline = len(values) > 4
    points = values.reshape(-1, 2)
    if not is_outline:
        points = np.array([points[0] - points[1] / 2, points[0] + points[1] / 2])
    outside = ~np.isfinite(points) | (points < -_SLACK) | (points > 1 + _SLACK)
    if outside.any():
        raise InputError(
            f"{where}: {points[outside][0]:g} is outside the picture; coordinates are fractions from 0 to 1"
        )
    return _Object(phrase=names[int(number)], points=np.clip(points, 0, 1), is_outline=is_outline)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(document, dict) or "names" not in document:
        raise InputError(f"{path}: lacks names, the phrases of the classes")
    return document


def _root(data: Path, document: dict[str, Any]) -> Path:
    named = PurePosixPath(str(document.get("path") or "."))
    below = data.parent / named
    return below if not named.is_absolute() and ".." not in named.parts and below.is_dir() else data.parent


def _class_names(data: Path, document: dict[str, Any]) -> dict[int, str]:
    names = document["names"]
    table = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(table, dict) or not all(
        isinstance(number, int) and isinstance(name, (str, int, float)) for number, name in table.items()
    ):
        raise InputError(f"{data}: names is neither a list nor a table from numbers to phrases")
    return {number: str(name) for number, name in table.items()}


def _pictures(data: Path, root: Path, document: dict[str, Any], part: str) -> list[Path]:
    """Pictures of a part, relative to the root."""
    named = document.get(part)
    found: list[Path] = []
    for place in named if isinstance(named, list) else [named]:
        if not isinstance(place, str) or not place:
            raise InputError(f"{data}: {part} names no folder of pictures")
        path = inside(root, place.removeprefix("../"), f"{data}: {part}")
        found += (
            _listed(path, root) if path.suffix == ".txt" else [each.relative_to(root) for each in list_pictures(path)]
        )
    return found


def _listed(path: Path, root: Path) -> list[Path]:
    """Pictures named by the lines of a text file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            picture = inside(root, line.strip().removeprefix("./"), f"{path}: line {number}").relative_to(root)
            if picture.suffix.lower() not in PICTURE_SUFFIXES:
                raise InputError(f"{path}: line {number}: {picture} is not a picture")
            found.append(picture)
    return found


def _label_file(picture: Path) -> Path:
    """The text file of a picture: the last folder called images is called labels."""
    parts = list(picture.with_suffix(".txt").parts)
    places = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    return Path(*parts)
