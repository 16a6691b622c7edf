"""What crosses the rooms of the data engine: facts to be added, moves of pairs, and units of work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from masklet.engine.digests import digest_of
from masklet.engine.states import Cause

Values = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """A row to be added; adding it twice adds it once, as its key is a digest of what it says."""

    table: str
    values: Values


@dataclass(frozen=True, kw_only=True)
class Move:
    """A pair that moves from the state it is in, for a cause."""

    pair_id: str
    cause: Cause


@dataclass(frozen=True, kw_only=True)
class Place:
    """A file and the image that it holds now (None: no file is there); `stamp` changes whenever the file may have."""

    uri: str
    media_id: str | None
    source_id: str = ""
    stamp: str = ""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that one unit of work adds, in one transaction: facts first, then places, then moves, in their order."""

    facts: Sequence[Fact] = ()
    moves: Sequence[Move] = ()
    lapsed: Sequence[str] = ()  # verdicts that are no longer about what is there
    places: Sequence[Place] = ()


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who decides: a person, a model or a rule. The same record for all, so that comparing them is a query."""

    kind: str
    name: str

    @property
    def actor_id(self) -> str:
        """A digest of kind and name."""
        return digest_of("actor", self.kind, self.name)

    def fact(self) -> Fact:
        """The actor as a row."""
        return Fact(
            table="actor", values={"actor_id": self.actor_id, "kind": self.kind, "name": self.name, "revoked": 0}
        )


@dataclass(frozen=True, kw_only=True)
class Unit:
    """A piece of work of a stage: its subject, and everything that its outcome depends on (`inputs`)."""

    stage: str
    version: int
    subject: str
    inputs: Sequence[str]
    priority: float = 0.0

    @property
    def key(self) -> str:
        """Equal for equal work, in whichever run."""
        return digest_of("unit", self.stage, self.version, self.subject, sorted(self.inputs))


@dataclass(frozen=True, kw_only=True)
class MaskRow:
    """One mask of a set: run lengths in COCO's compressed text, box xyxy in pixels, score in [0, 1].

    Of a masklet it is the mask of the frame where that is largest; `track` is the digest of all its frames.
    """

    counts: str
    size: tuple[int, int]
    box: tuple[float, float, float, float]
    score: float
    group: bool = False
    frame: int | None = None
    track: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values; scores and boxes rounded, so that digests do not hang on the last bit."""
        return {
            "counts": self.counts,
            "size": list(self.size),
            "box": [round(value, 2) for value in self.box],
            "score": round(self.score, 5),
            "group": self.group,
            **({"frame": self.frame, "track": self.track} if self.track is not None else {}),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "MaskRow":
        """What `to_json` wrote."""
        height, width = values["size"]
        x0, y0, x1, y1 = values["box"]
        return cls(
            counts=values["counts"],
            size=(height, width),
            box=(x0, y0, x1, y1),
            score=values["score"],
            group=values["group"],
            frame=values.get("frame"),
            track=values.get("track"),
        )
