"""Concepts that people keep with examples, to be asked of other photos: tokens of the model, a picture, a name."""

import base64
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from pydantic import Field, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.inference.image.image_session import KeptConcept
from masklet.serve.encoding import jpeg_bytes
from masklet.serve.problems import HttpProblem, not_found
from masklet.serve.schemas import KeptConceptView
from masklet.serve.settings import Person
from masklet.types import TokenSet

MOST_KEPT = 200  # of a person
PICTURE_SIDE = 72
_ID = re.compile(r"[A-Za-z0-9_-]{22}")


@dataclass(frozen=True, kw_only=True)
class _Card:
    name: Annotated[str, Field(max_length=300)]
    phrase: str
    owner: str
    identity: str
    picture: str


_CARDS = TypeAdapter(_Card)


class ConceptBank:
    """The kept concepts below a folder: one file each, with its card as metadata."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, kept: KeptConcept, name: str, picture: np.ndarray, person: Person) -> KeptConceptView:
        """Keeps a concept; `picture` shows its first example. Raises: HttpProblem (507) when there are too many."""
        if len(self.rows(person, own=True)) >= MOST_KEPT:
            raise HttpProblem(507, f"{MOST_KEPT} concepts are kept, the limit: delete some first")
        image = Image.fromarray(picture)
        image.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
        shown = base64.b64encode(jpeg_bytes(np.asarray(image), 80)).decode()
        card = _Card(name=name, phrase=kept.phrase, owner=person.name, identity=kept.identity, picture=shown)
        tokens = {"tokens": kept.tokens.tokens, "valid": kept.tokens.valid}
        if kept.tokens.meaning is not None:
            tokens["meaning"] = kept.tokens.meaning
        tensors = {key: tensor.contiguous().cpu() for key, tensor in tokens.items()}
        key = secrets.token_urlsafe(16)
        write_atomically(self._file(key), save(tensors, {"card": _CARDS.dump_json(card).decode()}))
        return _view(key, card)

    def rows(self, person: Person, *, own: bool = False) -> list[KeptConceptView]:
        """Concepts of a person, the latest first; a lead sees all."""
        files = sorted(self.folder.glob("*.safetensors"), key=lambda file: -file.stat().st_mtime)
        cards = [(file.stem, self._card(file)) for file in files]
        sees_all = person.role == "lead" and not own
        return [_view(key, card) for key, card in cards if card and (sees_all or card.owner == person.name)]

    def get(self, key: str, person: Person) -> tuple[str, KeptConcept]:
        """The name of a concept, and the concept. Raises: HttpProblem (404)."""
        card = self._find(key, person)
        with safe_open(self._file(key), "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        tokens = TokenSet(tokens=tensors["tokens"], valid=tensors["valid"], meaning=tensors.get("meaning"))
        return card.name, KeptConcept(phrase=card.phrase, tokens=tokens, identity=card.identity)

    def remove(self, key: str, person: Person) -> None:
        """Forgets a concept. Raises: HttpProblem (404)."""
        self._find(key, person)
        self._file(key).unlink(missing_ok=True)

    def _find(self, key: str, person: Person) -> _Card:
        card = self._card(self._file(key)) if _ID.fullmatch(key) else None
        if card is None or (card.owner != person.name and person.role != "lead"):
            raise not_found("concept")
        return card

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}.safetensors"

    def _card(self, path: Path) -> _Card | None:
        try:
            with safe_open(path, "np") as file:
                return _CARDS.validate_json(file.metadata()["card"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None


def _view(key: str, card: _Card) -> KeptConceptView:
    return KeptConceptView(id=key, name=card.name, phrase=card.phrase, owner=card.owner, picture=card.picture)


def first_example(pixels: np.ndarray, box: tuple[float, float, float, float]) -> np.ndarray:
    """The part of an image in a box, at least one pixel of it."""
    height, width = pixels.shape[:2]
    x0, y0 = (int(max(0, min(value, side - 1))) for value, side in ((box[0], width), (box[1], height)))
    x1, y1 = max(x0 + 1, round(box[2])), max(y0 + 1, round(box[3]))
    part = pixels[y0:y1, x0:x1]
    if not part.size:
        raise InputError("the example lies outside of the photo")
    return part
