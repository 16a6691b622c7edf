"""Labels in the layout of Ultralytics: a data.yaml, images under images/, one text file for each under labels/.

A line is `class x y x y ...`, the outline of an object, or `class x y width height`, the middle and size of its box, in
fractions of the image. An image without a text file shows none of the classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float

from masklet.errors import InputError
from masklet.formats.records import inside
from masklet.formats.yaml_files import read_yaml
from masklet.phrases import phrase_key

MAX_LABEL_BYTES = 2**26
_SLACK = 0.01  # of the image, that coordinates may lie outside of it by rounding


@dataclass(frozen=True)
class YoloObject:
    """A line: the class, and an outline `[point, 2]` or a box `[2, 2]` (corners), in fractions of the image."""

    phrase: str
    points: Float[np.ndarray, "point 2"]
    is_outline: bool


@dataclass(frozen=True, kw_only=True)
class YoloData:
    """A data.yaml: the folder that its paths are below, the names of its classes, and what its parts name."""

    path: Path
    root: Path
    names: dict[int, str]
    parts: dict[str, Any]

    def places(self, part: str) -> Iterator[tuple[Path, str]]:
        """Folders of images and single images of a part, below the root, each with where it is named.

        Raises: InputError naming the file, the line and what is wrong with it.
        """
        named = self.parts.get(part)
        for place in named if isinstance(named, list) else [named]:
            if not isinstance(place, str) or not place:
                raise InputError(f"{self.path}: {part} names no folder of images")
            path = inside(self.root, place.removeprefix("../"), f"{self.path}: {part}")
            if path.suffix.lower() == ".txt":
                for number, line in enumerate(_read_lines(path), 1):
                    if line.strip():
                        where = f"{path}: line {number}"
                        yield inside(self.root, line.strip(), where), where
            else:
                yield path, f"{self.path}: {part}"


def read_yolo(path: Path) -> YoloData:
    """A data.yaml. Paths in it are taken below its own folder, whatever its `path` says if that is elsewhere.

    Raises: InputError naming the file and the field.
    """
    document = read_yaml(path)
    if not isinstance(document, dict) or "names" not in document:
        raise InputError(f"{path}: lacks names, the phrases of the classes")
    named = PurePosixPath(str(document.get("path") or "."))
    below = path.parent / named
    is_below = not named.is_absolute() and ".." not in named.parts and below.is_dir()
    names = _class_names(path, document["names"])
    return YoloData(path=path, root=below if is_below else path.parent, names=names, parts=document)


def read_labels(path: Path, names: dict[int, str]) -> list[YoloObject]:
    """The objects of a text file; none when there is no such file.

    Raises: InputError naming the file, the line and what is wrong with it.
    """
    try:
        if path.stat().st_size > MAX_LABEL_BYTES:
            raise InputError(f"{path}: {path.stat().st_size} bytes are too many for the labels of one image")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    lines = enumerate(_read_lines(path), 1)
    return [_read_line(line.split(), names, f"{path}: line {number}") for number, line in lines if line.strip()]


def _read_line(words: list[str], names: dict[int, str], where: str) -> YoloObject:
    numbers = [_number(word, where) for word in words]
    number, values = numbers[0], np.array(numbers[1:], np.float64)
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
        raise InputError(f"{where}: {points[outside][0]:g} is outside the image; coordinates are fractions from 0 to 1")
    return YoloObject(phrase=names[int(number)], points=np.clip(points, 0, 1), is_outline=is_outline)


def _number(word: str, where: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise InputError(f"{where}: {word!r} is no number") from error


def _class_names(data: Path, names: Any) -> dict[int, str]:
    table = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(table, dict) or not all(
        isinstance(number, int) and isinstance(name, (str, int, float)) for number, name in table.items()
    ):
        raise InputError(f"{data}: names is neither a list nor a table from numbers to phrases")
    spelling: dict[str, str] = {}  # of names that differ in case, blanks or underscores alone
    return {number: spelling.setdefault(phrase_key(str(name)), str(name)) for number, name in table.items()}


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error


def label_file(root: Path, image: Path) -> Path:
    """The text file below `root` of an image: the last folder called images is called labels, .txt may be .TXT."""
    parts = list(image.with_suffix(".txt").parts)
    places = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    if places:
        parts[places[-1]] = "labels"
    path = root.joinpath(*parts)
    loud = path.with_suffix(".TXT")
    return loud if not path.exists() and loud.exists() else path


def to_line(number: int, outline: Float[np.ndarray, "point 2"]) -> str:
    """The line of an outlined object; its points are fractions of the image."""
    return " ".join([str(number), *(f"{value:.6g}" for value in outline.reshape(-1))])
