"""Each image described by numbers: a vector of what it shows, and what kind of image it is by the model's own words.

Vectors serve to find images like others, to draw the map, and to choose unlike ones. Nothing here decides anything.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from sqlalchemy import select

from masklet.engine.digests import digest_of
from masklet.engine.ledger import tables as t
from masklet.engine.records import Author, Fact, Outcome, Unit
from masklet.engine.stages.stage import Project
from masklet.errors import InputError
from masklet.protocols import Pixels

KINDS = ("building", "room", "street", "tree", "water", "sky", "food", "animal", "person", "vehicle", "text")
PLAIN = "other"  # of what no kind is likelier than not


@runtime_checkable
class Describer(Protocol):
    """Turns an image into a vector, and tells how likely it shows phrases; the same image gives the same numbers."""

    @property
    def identity(self) -> str:
        """Changes whenever numbers would."""
        ...

    def describe(self, image: Pixels, phrases: Sequence[str]) -> tuple[Float[np.ndarray, " dim"], Mapping[str, float]]:
        """The vector, and the presence of each phrase in [0, 1]."""
        ...


@dataclass(frozen=True, kw_only=True)
class Describe:
    """A unit an image: its vector goes to the blobs."""

    describer: Describer
    name: str = "describe"
    version: int = 1

    @property
    def actor(self) -> Author:
        """The model."""
        return Author(kind="model", name=self.describer.identity)

    def plan(self, project: Project) -> Sequence[Unit]:
        """Images that this describer has not seen."""
        media = project.view.media()
        inputs = [self.describer.identity] if media else []
        return [Unit(stage=self.name, version=self.version, subject=row["media_id"], inputs=inputs) for row in media]

    def run(self, project: Project, subject: str) -> Outcome:
        """The row of an image."""
        vector, presence = self.describer.describe(project.picture(subject), KINDS)
        length = float(np.linalg.norm(vector)) or 1.0
        blob = project.blobs.put((vector / length).astype("<f2").tobytes())
        kind = max(presence, key=lambda each: (presence[each], each))
        values = {
            "media_id": subject,
            "actor_id": self.actor.actor_id,
            "blob": blob,
            "kind": kind if presence[kind] >= 0.5 else PLAIN,
            "presence": json.dumps({name: round(float(value), 4) for name, value in sorted(presence.items())}),
        }
        key = digest_of("description", subject, self.actor.actor_id)
        return Outcome(facts=[self.actor.fact(), Fact(table="description", values={"description_id": key} | values)])


def vectors_of(project: Project) -> dict[str, Float[np.ndarray, " dim"]]:
    """The vectors of described images, of length 1, all of the describer that saw most."""
    rows = project.view.ledger.read(select(t.description))
    by_actor: dict[str, dict[str, np.ndarray]] = {}
    for row in rows:
        mine = by_actor.setdefault(row["actor_id"], {})
        mine[row["media_id"]] = np.frombuffer(project.blobs.get(row["blob"]), "<f2").astype(np.float32)
    return max(by_actor.values(), key=len, default={})


def kinds_of_media(project: Project) -> dict[str, str]:
    """What kind of image each described one is."""
    return {row["media_id"]: row["kind"] for row in project.view.ledger.read(select(t.description))}


def most_alike(project: Project, examples: Sequence[str], count: int) -> list[tuple[str, float]]:
    """Images most like some others, with their cosine to the mean of these, the likest first.

    Raises: InputError when an example is not described.
    """
    vectors = vectors_of(project)
    missing = [each for each in examples if each not in vectors]
    if missing or not examples:
        raise InputError(
            f"{len(missing)} of {len(examples)} examples have no vector: run `masklet engine describe` first"
        )
    middle = np.mean([vectors[each] for each in examples], axis=0)
    middle /= np.linalg.norm(middle) + 1e-9
    found = [(media_id, float(vector @ middle)) for media_id, vector in vectors.items() if media_id not in examples]
    return sorted(found, key=lambda each: (-each[1], each[0]))[:count]


def flat_map(vectors: Mapping[str, Float[np.ndarray, " dim"]]) -> dict[str, tuple[float, float]]:
    """A place in the unit square for each image, like ones near each other: the two main directions of the vectors."""
    names = sorted(vectors)
    if len(names) < 3:
        return {name: (0.5, 0.5) for name in names}
    values = np.stack([vectors[name] for name in names])
    values = values - values.mean(axis=0)
    _, _, axes = np.linalg.svd(values, full_matrices=False)
    flat = values @ axes[:2].T
    signs = np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(axis=1)])  # an axis may point either way
    flat = flat * signs
    low, high = np.percentile(flat, [1, 99], axis=0)
    flat = ((flat - low) / (high - low + 1e-9)).clip(0, 1)
    return {name: (float(x), float(y)) for name, (x, y) in zip(names, flat, strict=True)}
