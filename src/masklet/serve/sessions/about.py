"""The card in the folder of every session: what it is, whose, and of which size."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from masklet.files import write_atomically

CARD = "session.json"


@dataclass(frozen=True, kw_only=True)
class About:
    """`name` is what the client called it, for show alone; `size` is height and width."""

    kind: Literal["photo", "video"]
    name: Annotated[str, Field(max_length=200)]
    owner: Annotated[str, Field(max_length=200)]
    size: tuple[int, int]


_ADAPTER = TypeAdapter(About)


def write_about(folder: Path, about: About) -> Path:
    """Writes the card."""
    return write_atomically(folder / CARD, _ADAPTER.dump_json(about))


def read_about(folder: Path) -> About:
    """The card of a session. Raises: OSError or ValueError when there is none to be read."""
    return _ADAPTER.validate_json((folder / CARD).read_bytes())


def shown_name(given: str | None, fallback: str) -> str:
    """A client's file name cut to what may be shown and put into an archive: no folders, no control letters."""
    last = (given or "").replace("\\", "/").rsplit("/", 1)[-1]
    plain = "".join(letter for letter in last if letter.isprintable() and letter not in '<>:"|?*').strip(" .")
    return plain[-100:] or fallback
