"""What a photo session knows besides its image: concepts, objects, and the states before and after the present one.

Masks are kept once each, under a digest of their counts, so that a hundred steps back cost little.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

MOST_STEPS = 100
MOST_OBJECTS_KEPT = 40_000  # over all steps


@dataclass(frozen=True, kw_only=True)
class PhotoObject:
    """An object; `mask` is the digest of its counts, `prompt` the one that clicks refine."""

    id: int
    phrase: str
    score: float | int
    box: tuple[float, float, float, float]
    area: int
    mask: str
    source: str
    hidden: bool = False
    locked: bool = False
    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    around: tuple[float, float, float, float] | None = None
    prompt: str | None = None


@dataclass(frozen=True, kw_only=True)
class PhotoConcept:
    """What was asked, and how sure the model is that it is there at all."""

    phrase: str
    presence: float | int
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    not_boxes: tuple[tuple[float, float, float, float], ...] = ()
    explanation: tuple[str, ...] = ()
    kept: str = ""


@dataclass(frozen=True, kw_only=True)
class PhotoState:
    """Everything that undo takes back."""

    concepts: tuple[PhotoConcept, ...] = ()
    objects: tuple[PhotoObject, ...] = ()
    next_id: int = 1

    def with_objects(self, objects: "tuple[PhotoObject, ...]") -> "PhotoState":
        """The same with other objects."""
        return replace(self, objects=objects)

    def with_concept(self, concept: PhotoConcept) -> "PhotoState":
        """The same with a concept added, or in place of the one of its phrase."""
        if any(each.phrase == concept.phrase for each in self.concepts):
            kept = tuple(concept if each.phrase == concept.phrase else each for each in self.concepts)
            return replace(self, concepts=kept)
        return replace(self, concepts=(*self.concepts, concept))


@dataclass(frozen=True, kw_only=True)
class PhotoHistory:
    """The present state between those before and after it; `version` counts changes, also those taken back."""

    now: PhotoState = field(default_factory=PhotoState)
    past: tuple[PhotoState, ...] = ()
    future: tuple[PhotoState, ...] = ()
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    version: int = 0

    def step(self, state: PhotoState) -> "PhotoHistory":
        """A change; what was taken back before it is gone."""
        past = (*self.past, self.now)[-MOST_STEPS:]
        while len(past) > 1 and sum(len(each.objects) for each in past) > MOST_OBJECTS_KEPT:
            past = past[1:]
        return replace(self, now=state, past=past, future=(), version=self.version + 1)

    def back(self) -> "PhotoHistory":
        """The state before, if there is one."""
        if not self.past:
            return self
        future = (self.now, *self.future)
        return replace(self, now=self.past[-1], past=self.past[:-1], future=future, version=self.version + 1)

    def forth(self) -> "PhotoHistory":
        """The state that was taken back last, if there is one."""
        if not self.future:
            return self
        past = (*self.past, self.now)
        return replace(self, now=self.future[0], past=past, future=self.future[1:], version=self.version + 1)

    def masks(self) -> set[str]:
        """Digests of all masks that some state needs."""
        states = (self.now, *self.past, *self.future)
        needed = {each.mask for state in states for each in state.objects}
        return needed | {each.prompt for state in states for each in state.objects if each.prompt}


_ADAPTER = TypeAdapter(PhotoHistory)


def digest_of(counts: str) -> str:
    """The name that a mask is kept under."""
    return hashlib.sha256(counts.encode()).hexdigest()[:24]


def pack_history(history: PhotoHistory, masks: Mapping[str, str]) -> bytes:
    """A history with the masks that it needs, to be written."""
    needed = {digest: masks[digest] for digest in history.masks()}
    return json.dumps({"masks": needed, "history": _ADAPTER.dump_python(history, mode="json")}).encode()


def unpack_history(data: bytes) -> tuple[PhotoHistory, dict[str, str]]:
    """What was packed. Raises: ValueError when it is something else."""
    document: Any = json.loads(data)
    history = _ADAPTER.validate_python(document["history"])
    masks = {str(digest): str(counts) for digest, counts in document["masks"].items()}
    if not history.masks() <= masks.keys():
        raise ValueError("masks are missing")
    return history, masks


Change = Callable[[PhotoState], PhotoState]
