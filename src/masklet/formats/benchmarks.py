"""Small files of single benchmarks: questions of counting, verdicts on labels, classes and maps of semantics."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from pydantic import Field

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.records import Id, Probability, by_id, read_list

UNJUDGED = 255  # on a label map: a pixel that is not judged


@dataclass(frozen=True, slots=True, kw_only=True)
class CountQuestion:
    """A question of a counting benchmark."""

    id: Id
    file_name: str
    text_input: str
    count: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRecord:
    """A verdict on an item; `probability` is the verifier's own, of accepting."""

    id: Id
    verdict: Literal["accept", "reject"]
    probability: Probability | None = None


def read_questions(path: Path) -> dict[Id, CountQuestion]:
    """Questions by their id. Raises: InputError naming file, record and field."""
    return by_id(read_list(path, CountQuestion, "question"), path, "question")


def read_verdicts(path: Path) -> dict[Id, VerdictRecord]:
    """Verdicts by item. Raises: InputError naming file, record and field."""
    return by_id(read_list(path, VerdictRecord, "verdict"), path, "verdict")


def read_classes(path: Path) -> dict[int, str]:
    """Names by class number. Raises: InputError naming the file and the entry."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not readable as JSON: {error}") from error
    entries = document.items() if isinstance(document, dict) else ()
    for number, name in entries:
        if not (number.isdecimal() and int(number) < UNJUDGED and isinstance(name, str) and name.strip()):
            raise InputError(f"{path}: {number!r}: a number below {UNJUDGED} and a name are expected")
    if not entries:
        raise InputError(f"{path}: an object of names by class number is expected")
    return {int(number): name for number, name in entries}


def write_label_map(path: Path, labels: UInt8[np.ndarray, "height width"]) -> Path:
    """Writes the class of each pixel as a grey PNG. Raises: InputError when it cannot be written."""
    return write_atomically(path, lambda file: Image.fromarray(labels).save(file, "PNG"))
