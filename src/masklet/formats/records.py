"""Records of annotation files: common fields, the one check of all layouts, and the way back into JSON.

A record is a frozen dataclass; a field that a file leaves out is None. Fields that a layout does not know are ignored.
"""

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from jaxtyping import Bool
from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

from masklet.errors import InputError
from masklet.formats.stream import iterate_items
from masklet.ops.masks import polygons_to_mask, rle_decode


def _as_flag(value: Any) -> Any:
    return int(value) if isinstance(value, float) or value in ("0", "1") else value


def _as_polygons(value: Any) -> Any:
    """Some tools do not nest a single polygon, and leave empty lists and objects where there is none."""
    if value in ({}, ""):
        return None
    if isinstance(value, list) and value and all(isinstance(each, (int, float)) for each in value):
        return [value]
    return [each for each in value if each != []] if isinstance(value, list) else value


MAX_NAME_BYTES = 255  # of a file or folder, on every common file system
Id = int | str  # kept as it is
Size = Annotated[int, Field(ge=1, le=2**20)]
Pixel = Annotated[float | int, Field(ge=-(2**20), le=2**20)]
Box = Annotated[list[Pixel], Field(min_length=4, max_length=4)]  # left, top, width, height
GivenBox = Annotated[Box | None, BeforeValidator(lambda value: None if value == [] else value)]
Flag = Annotated[Literal[0, 1] | bool, BeforeValidator(_as_flag)]
Probability = Annotated[float | int, Field(ge=0, le=1)]
Polygons = list[list[float]]  # x, y, x, y, ... of each; `decode_mask` refuses those that are no outline

_NAMES = dict(images="image", annotations="annotation", categories="category", videos="video", video_np_pairs="pair")
_NAMES |= dict(descriptions="description", sentences="sentence")
# Of a field, which pydantic names in the place of an error
_ALTERNATIVES = ("str", "int", "float", "bool", "RunLengths")
# What pydantic expects, by the type of its error, in our words
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "bool_type": "true or false",
    "int_parsing": "a whole number",
    "float_parsing": "a number",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a table of settings",
    "model_type": "a table of settings",
    "model_attributes_type": "a table of settings",
    "dataclass_type": "an object",
    "finite_number": "a finite number",
    "literal_error": "{expected}",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "greater_than": "more than {gt}",
    "less_than": "less than {lt}",
    "union_tag_invalid": "one of {expected_tags} as its {discriminator}",
    "union_tag_not_found": "a {discriminator} in it",
    "too_short": "a list of {min_length} entries or more",
    "too_long": "a list of {max_length} entries at most",
}

Record = TypeVar("Record")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLengths:
    """A mask as COCO writes it."""

    size: Annotated[list[Size], Field(min_length=2, max_length=2)]
    counts: str | list[int]


Segmentation = Annotated[RunLengths | Polygons | None, BeforeValidator(_as_polygons)]


def decode_mask(segmentation: RunLengths | Polygons | None, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """The mask of an image of this size, height and width; an empty one where there is no segmentation.

    Raises: ValueError when it describes no mask of that size.
    """
    if isinstance(segmentation, RunLengths) and segmentation.counts:
        if tuple(segmentation.size) != size:
            raise ValueError(f"size is {segmentation.size}, the image is {list(size)}")
        return rle_decode(segmentation.counts, *size)
    return polygons_to_mask(segmentation if isinstance(segmentation, list) else [], *size)


def id_order(key: Id) -> tuple[bool, Id]:
    """A key to sort ids by: numbers before texts."""
    return isinstance(key, str), key


# --- reading ------------------------------------------------------------------------------------------------------


@cache
def _adapter(kind: type) -> TypeAdapter:
    return TypeAdapter(kind)


def parse(kind: type[Record], text: str, path: Path, name: str, place: int | None = None) -> Record:
    """The record of a JSON text. `name` says what it is, such as "image", `place` where it stands in the file.

    Raises: InputError naming file, record and field.
    """
    try:
        return _adapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        raise InputError(f"{path}: {describe(json.loads(text), name, place)}: {_reason(error)}") from error


def parse_line(kind: type[Record], text: str, path: Path, line: int) -> Record:
    """The record of a line of text. Raises: InputError naming file, line and field."""
    try:
        return _adapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        raise InputError(f"{path}: line {line}: {_reason(error)}") from error


def read_records(path: Path, kinds: Mapping[str, type[Record]]) -> Iterator[Record]:
    """The records of some sections of a document, in the order of the file.

    Raises: InputError naming file, record and field.
    """
    places = dict.fromkeys(kinds, 0)
    for section, value, text in iterate_items(path):
        if section in kinds:
            if value is None:
                raise InputError(f"{path}: {section}: is null; a list is expected")
            yield parse(kinds[section], text, path, _NAMES[section], places[section])
            places[section] += 1


def read_list(path: Path, kind: type[Record], name: str) -> Iterator[Record]:
    """The records of a document that is one list. Raises: InputError naming file, record and field."""
    for place, (section, _, text) in enumerate(iterate_items(path)):
        if section:
            raise InputError(f"{path}: a list of {name}s is expected, not an object")
        yield parse(kind, text, path, name, place)


def by_id(records: Iterable[Record], path: Path, name: str) -> dict[Any, Record]:
    """Records by their `id`. Raises: InputError when two have the same."""
    found: dict[Any, Record] = {}
    for record in records:
        key = record.id  # type: ignore[attr-defined]
        if found.setdefault(key, record) is not record:
            raise InputError(f"{path}: {name} {key}: id: is given twice")
    return found


def describe(value: Any, name: str, place: int | None = None) -> str:
    """A record as messages name it: by its id, or by its place and the image it belongs to."""
    known = value if isinstance(value, dict) else {}
    if "id" in known:
        return f"{name} {known['id']}"
    article = "an" if name[0] in "aeiou" else "a"
    numbered = f"{article} {name}" if place is None else f"{name} {place}"
    return numbered + (f" of image {known['image_id']}" if "image_id" in known else "")


def _reason(error: ValidationError) -> str:
    """Field and reason of the first error; where a field has alternatives, of the one that fits furthest."""
    errors = error.errors(include_url=False)
    of_field = [each for each in errors if each["loc"][:1] == errors[0]["loc"][:1]]
    chosen = max(of_field, key=lambda each: len(each["loc"]))
    names = (str(part) for part in chosen["loc"] if part not in _ALTERNATIVES and "[" not in str(part))
    limit = chosen.get("ctx", {}).get("le", chosen.get("ctx", {}).get("ge"))
    is_fraction = chosen["loc"][:1] == ("bbox",) and limit in (8, -8)
    hint = " (boxes of these files are fractions of the image, not pixels)" if is_fraction else ""
    return f"{'.'.join(names) or 'it'}: {explain(chosen)}{hint}"


def explain(error: Any) -> str:
    """What was got and what is expected, of one of the `errors()` of a ValidationError."""
    got = error["input"]
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "json_invalid":
        return f"is no JSON ({error['ctx']['error']})"
    if isinstance(got, float) and not math.isfinite(got):
        return f"is {got}; a finite number is expected"
    expected = _EXPECTED.get(error["type"], "something else").format_map(error.get("ctx", {}))
    shown = json.dumps(got, default=str)
    return f"is {shown if len(shown) <= 40 else shown[:40] + '...'}; {expected} is expected"


def inside(folder: Path, name: str, where: str) -> Path:
    """The path of a file that a record names, below `folder`, also where it is absolute or written as on Windows.

    Raises: InputError beginning with `where` when the name leads out of the folder.
    """
    if not name.strip() or "\0" in name:
        raise InputError(f"{where}: {name!r} is no file name")
    if any(len(part.encode(errors="replace")) > MAX_NAME_BYTES for part in PureWindowsPath(name).parts):
        raise InputError(f"{where}: the file name {name[:40]!r}... is too long")
    if "\\" in name and not (folder / name).exists():
        name = name.replace("\\", "/")
    root = os.path.abspath(folder)
    path = os.path.normpath(os.path.join(root, name))
    if PureWindowsPath(name).drive or not Path(path).is_relative_to(root):
        raise InputError(f"{where}: the file name {name!r} leads out of {folder}")
    return folder / os.path.relpath(path, root)


# --- writing ------------------------------------------------------------------------------------------------------


def to_json(record: Any) -> dict[str, Any]:
    """The fields of a record that are not None, in their order, ready for `json.dumps`."""
    values = ((field.name, getattr(record, field.name)) for field in fields(record))
    return {name: _plain(value) for name, value in values if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return to_json(value) if is_dataclass(value) else value
