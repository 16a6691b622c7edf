"""Files of answers, as a review sheet gives them for download: written by browsers, so nothing in them is trusted."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from masklet.engine.review.queues import ANSWERS
from masklet.engine.verify.choices import UNSURE
from masklet.errors import InputError

MOST_BYTES = 2**26
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What somebody said of one item; `number` of a mask, None for all of a pair. Seconds from 0 to a day."""

    pair: Digest
    maskset: Digest
    number: Annotated[int, Field(ge=0, le=10_000)] | None = None
    label: Annotated[str, Field(max_length=20)]
    seconds: Annotated[float | int, Field(ge=0, le=86_400)] = 0.0


@dataclass(frozen=True, kw_only=True)
class VerdictFile:
    """The answers to one sheet."""

    format: Literal["masklet-verdicts"]
    version: Literal[1]
    task: Literal["masks", "exhaustivity", "audit"]
    answers: Annotated[list[Decision], Field(max_length=1_000_000)]


_ADAPTER = TypeAdapter(VerdictFile)


def read_verdicts(path: Path) -> VerdictFile:
    """The answers of a file. Raises: InputError in one sentence naming what is wrong with it, and where."""
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise InputError(f"{path}: {size} bytes are too many for a file of verdicts, at most {MOST_BYTES} are read")
        found = _ADAPTER.validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise InputError(f"{path} is no file of verdicts: {where}: {first['msg']}") from error
    allowed = (*ANSWERS[found.task], UNSURE)
    for place, answer in enumerate(found.answers):
        if answer.label not in allowed:
            raise InputError(
                f"{path}: answers.{place}.label is {answer.label!r}; to {found.task} one answers {', '.join(allowed)}"
            )
        if (answer.number is None) == (found.task == "masks"):
            raise InputError(f"{path}: answers.{place}.number does not go with the task {found.task}")
    return found


def to_text(task: str, answers: list[Decision]) -> str:
    """The file that a sheet would give for these answers."""
    rows = [{name: value for name, value in answer.__dict__.items() if value is not None} for answer in answers]
    return json.dumps({"format": "masklet-verdicts", "version": 1, "task": task, "answers": rows})
