"""Records of annotation files: fields that many layouts share, and the check that names file, record and field."""

from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from masklet.errors import InputError

Size = Annotated[int, Field(ge=1, le=2**20)]
Pixel = Annotated[float, Field(ge=-(2**20), le=2**20)]
Pixels = Annotated[list[Pixel], Field(min_length=4, max_length=4)]  # a box
Flag = Literal[0, 1] | bool


class RunLengths(TypedDict):
    """A mask as COCO writes it."""

    size: Annotated[list[Size], Field(min_length=2, max_length=2)]
    counts: str | list[int]


@cache
def _adapter(kind: type) -> TypeAdapter:
    return TypeAdapter(kind)


def check(kind: type, value: Any, path: Path, name: str) -> Any:
    """The record, if it has the fields of its kind; what else it has does not matter.

    `name` says what it is, such as "image"; its number, or that of the image it is of, is added where it has one.

    Raises: InputError naming file, record and field.
    """
    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        raise InputError(f"{path}: {describe(value, name)}: {_reason(error)}") from error
    return value


def check_text(kind: type, text: str, path: Path, line: int) -> Any:
    """The record of a line of text. Raises: InputError naming file, line and field."""
    try:
        return _adapter(kind).validate_json(text, strict=True)
    except ValidationError as error:
        raise InputError(f"{path}: line {line}: {_reason(error)}") from error


def describe(value: Any, name: str) -> str:
    """A record as messages name it: by its number, or by the image it is of. A name with a number stays as it is."""
    known = value if isinstance(value, dict) else {}
    if not name.isalpha():
        return name
    if "id" in known:
        return f"{name} {known['id']}"
    article = "an" if name[0] in "aeiou" else "a"
    return f"{article} {name}" + (f" of image {known['image_id']}" if "image_id" in known else "")


def _reason(error: ValidationError) -> str:
    """Field and reason of the first thing that is wrong, without the names of alternatives that were tried."""
    first = error.errors(include_url=False)[0]
    alternatives = ("str", "list[int]", "int")
    field = ".".join(str(part) for part in first["loc"] if part not in alternatives and "[" not in str(part))
    fractions = first["loc"][:1] == ("bbox",) and first.get("ctx", {}).get("le", first.get("ctx", {}).get("ge")) in (
        8,
        -8,
    )
    hint = " (boxes of these files are fractions of the image, not pixels)" if fractions else ""
    return f"{field or 'it'}: {first['msg']}{hint}"
