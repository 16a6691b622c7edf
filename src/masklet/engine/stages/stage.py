"""What a stage is: it plans units from what is known, and turns a unit into what should be added. Nothing else."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, runtime_checkable

from masklet.engine.blobs import Blobs
from masklet.engine.records import Author, Outcome, Unit
from masklet.engine.view import LedgerView, Row
from masklet.errors import InputError
from masklet.media.images import read_image
from masklet.protocols import ImageSegmenter, Pixels


@dataclass(frozen=True, kw_only=True)
class Project:
    """What a stage is given: facts to read, a place for blobs, and the folder of the originals."""

    view: LedgerView
    blobs: Blobs
    originals: Path

    def picture(self, media_id: str, frame: int | None = None) -> Pixels:
        """The pixels of an image, or of a frame of a clip, the middle one by default; that of the last one is kept.

        Raises: InputError when it is gone or has changed.
        """
        media = self.view.one_media(media_id)
        uri, frames = media["uri"], frames_of(media)
        if frames:
            uri = frames[len(frames) // 2 if frame is None else frame]
        return _read_unchanged(self.originals / uri, uri, (media["height"], media["width"]))


def frames_of(media: Row) -> list[str]:
    """The frames of a clip as paths below the originals; none of an image."""
    if media["profile"] is None:
        return []
    return [f"{media['uri']}/{name}" for name in json.loads(media["profile"])["frames"]]


@lru_cache(maxsize=1)
def _read_unchanged(path: Path, name: str, size: tuple[int, int]) -> Pixels:
    if not path.is_file():
        raise InputError(f"{name} is gone: put it back, or run again to leave it out")
    image = read_image(path)
    if image.shape[:2] != size:
        raise InputError(
            f"{name} was {size[1]} x {size[0]} when it was read and is {image.shape[1]} x {image.shape[0]} now: "
            "run again to take it in anew"
        )
    return image


@runtime_checkable
class Stage(Protocol):
    """A step of the data engine. A change of what it gives is a new `version`."""

    @property
    def name(self) -> str:
        """Unique among stages."""
        ...

    @property
    def version(self) -> int:
        """Counted up when outcomes change."""
        ...

    @property
    def actor(self) -> Author:
        """In whose name the stage decides."""
        ...

    def plan(self, project: Project) -> Sequence[Unit]:
        """The units that the present facts ask for; those planned before are planned again and change nothing."""
        ...

    def run(self, project: Project, subject: str) -> Outcome:
        """What a unit adds. Raises: InputError for a subject that cannot be worked on."""
        ...


@runtime_checkable
class Foretelling(Protocol):
    """A stage that can say beforehand which phrases it will ask of a photo."""

    @property
    def name(self) -> str:
        """That of the stage."""
        ...

    def plan(self, project: Project) -> Sequence[Unit]:
        """As of any stage; the subjects are images."""
        ...

    def speaks_of(self, uri: str) -> bool:
        """Whether it has anything to ask of a photo."""
        ...

    def foretell(self, uri: str, session: ImageSegmenter) -> Sequence[str]:
        """The phrases that it will ask of a photo, which the session is of. Raises as `run`."""
        ...
