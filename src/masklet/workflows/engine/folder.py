"""The folder of a project: its settings, its ledger and blobs, and what people read in it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from masklet.engine.blobs import Blobs
from masklet.engine.ledger.ledger import Ledger
from masklet.engine.stages.phrases import normalise
from masklet.engine.stages.stage import Project
from masklet.engine.view import LedgerView
from masklet.errors import InputError
from masklet.files import write_atomically

SETTINGS, LEDGER, BLOBS, PAGE, SNAPSHOT = "project.json", "ledger.sqlite", "blobs", "index.html", "snapshot"


@dataclass(frozen=True, kw_only=True)
class ProjectSettings:
    """What a run of a project is about; the folder of photos and a file of labels are whole paths."""

    photos: str
    phrases: Annotated[tuple[str, ...], Field(max_length=10_000)] = ()
    labels: str | None = None
    captions: str | None = None
    licence: str = "unknown"
    model: str = "tiny"
    negatives: Annotated[int, Field(ge=0, le=100)] = 0
    harder: bool = False
    walk: bool = False  # down the ontology, beside phrases from elsewhere
    ontology: str | None = None  # a file of the user's own concepts
    cap: Annotated[int, Field(ge=0)] = 0  # positives of a phrase that are enough; 0 for as many as there are
    people: bool = False  # they are asked about everything, until a verifier was trained
    told: bool = False  # phrases come from a language model, and from nothing else where none is at hand
    videos: str | None = None  # of a project of clips


_ADAPTER = TypeAdapter(ProjectSettings)


def parse_phrase_list(text: str) -> tuple[str, ...]:
    """Phrases of a comma-separated list, in normal form, each once; none of nothing.

    Raises: InputError for one that is none, and for a list of commas alone.
    """
    found = tuple(dict.fromkeys(normalise(part) for part in text.split(",") if part.strip()))
    if text and not found:
        raise InputError(
            f"the list of phrases {text!r} names nothing: leave it out, or give some such as `coin, red mug`"
        )
    return found


def write_settings(folder: Path, settings: ProjectSettings) -> Path:
    """Writes the settings. Raises: InputError when the folder holds something else, or cannot be written."""
    if folder.is_dir() and not (folder / SETTINGS).is_file() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty and no project: name a new folder with --out")
    return write_atomically(folder / SETTINGS, json.dumps(asdict(settings), indent=1))


def read_settings(folder: Path) -> ProjectSettings:
    """The settings of a project. Raises: InputError when the folder is none, or they are not to be understood."""
    path = folder / SETTINGS
    try:
        return _ADAPTER.validate_json(path.read_bytes())
    except OSError as error:
        raise InputError(f"{folder} is no project: it has no {SETTINGS}; `masklet engine run` makes one") from error
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise InputError(f"{path}: {where}: {first['msg']}") from error


def read_photo_settings(folder: Path) -> ProjectSettings:
    """The settings of a project of photos. Raises: InputError when it is none, or one of clips."""
    settings = read_settings(folder)
    if settings.videos is not None:
        raise InputError(f"{folder} is a project of clips: go on with `masklet engine clips {settings.videos} ...`")
    return settings


def open_project(folder: Path) -> Project:
    """A project to work with. Raises: InputError when the folder is none."""
    settings = read_settings(folder)
    blobs = Blobs(folder / BLOBS)
    view = LedgerView(Ledger.open(folder / LEDGER), blobs)
    return Project(view=view, blobs=blobs, originals=Path(settings.photos))


def write_readme(folder: Path, lines: Sequence[str]) -> Path:
    """The page of words that says what is in the folder and how it stands."""
    text = "\n".join(
        [
            "# A data set made by masklet's data engine",
            "",
            *(f"- {line}" for line in lines),
            "",
            f"`{PAGE}` shows it with pictures. `{SNAPSHOT}/` holds the labels: SA-Co JSON for each split;",
            "`manifest.json` names every annotation. `ledger.sqlite` and `blobs/` hold everything that is known: keep",
            "them together.",
            "",
            "| to | run |",
            "|---|---|",
            f"| go on, or take in new photos | `masklet engine run PHOTOS --out {folder.name}` |",
            f"| answer what is doubtful | `masklet engine review {folder.name} --task masks --out sheet.html` |",
            f"| correct what is missing | `masklet engine export {folder.name} --for-correction --format cvat` |",
            f"| bring answers back | `masklet engine review-import {folder.name} verdicts-masks.json --name YOU` |",
            f"| learn from it | `masklet engine loop {folder.name}` or `masklet train finetune data.root={SNAPSHOT}` |",
            f"| ask why a label exists | `masklet engine why {folder.name} ANNOTATION` |",
            "",
        ]
    )
    return write_atomically(folder / "README.md", text)
