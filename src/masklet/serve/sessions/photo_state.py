"""What a photo session knows besides its image: concepts, objects, and the states before and after the present one.

Masks are kept once each, under a digest of their counts, so that a hundred steps back cost little.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Generic, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter
from typing_extensions import TypedDict

MOST_STEPS = 100
MOST_OBJECTS_KEPT = 40_000  # over all steps
_EXACT = ConfigDict(ser_json_inf_nan="constants")  # a score that is no number would become null, and none at all


@dataclass(frozen=True, kw_only=True)
class PhotoObject:
    """An object; `mask` is the digest of its counts, `prompt` the one that clicks refine."""

    __pydantic_config__ = _EXACT
    id: int
    phrase: str
    score: float
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

    __pydantic_config__ = _EXACT
    phrase: str
    presence: float
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

    def states(self) -> "tuple[PhotoState, ...]":
        """All of them, the earliest first."""
        return (*self.past, self.now, *self.future)

    def masks(self) -> set[str]:
        """Digests of all masks that some state needs."""
        return _masks_of({id(each): each for state in self.states() for each in state.objects}.values())


class _StateRow(TypedDict):
    """A state, as its difference from the one before: so many objects at both ends stay, these lie between them."""

    concepts: list[int]  # places in the table of the file
    head: Annotated[int, Field(ge=0)]
    objects: list[int]
    tail: Annotated[int, Field(ge=0)]
    next_id: int


class _HistoryFile(TypedDict):
    """What is written: most objects are in most states, so each is written once and named by its place."""

    masks: dict[str, str]
    concepts: list[PhotoConcept]
    objects: list[PhotoObject]
    states: list[_StateRow]
    now: Annotated[int, Field(ge=0)]  # place of the present state
    threshold: Annotated[float, Field(ge=0, le=1)]
    version: int


_ADAPTER = TypeAdapter(_HistoryFile)
_Part = TypeVar("_Part", PhotoConcept, PhotoObject)


def digest_of(counts: str) -> str:
    """The name that a mask is kept under."""
    return hashlib.sha256(counts.encode()).hexdigest()[:24]


def pack_history(history: PhotoHistory, masks: Mapping[str, str]) -> bytes:
    """A history with the masks that it needs, to be written."""
    concepts, objects, rows = _Table[PhotoConcept](), _Table[PhotoObject](), list[_StateRow]()
    before: tuple[PhotoObject, ...] = ()
    for state in history.states():
        head, tail = _same_at_ends(before, state.objects)
        row: _StateRow = {
            "concepts": concepts.places(state.concepts),
            "head": head,
            "objects": objects.places(state.objects[head : len(state.objects) - tail]),
            "tail": tail,
            "next_id": state.next_id,
        }
        rows.append(row)
        before = state.objects
    file: _HistoryFile = {
        "masks": {digest: masks[digest] for digest in _masks_of(objects.parts)},
        "concepts": concepts.parts,
        "objects": objects.parts,
        "states": rows,
        "now": len(history.past),
        "threshold": history.threshold,
        "version": history.version,
    }
    return _ADAPTER.dump_json(file)


def unpack_history(data: bytes) -> tuple[PhotoHistory, dict[str, str]]:
    """What was packed. Raises: ValueError when it is something else."""
    file = _ADAPTER.validate_json(data)
    concepts, objects, now = file["concepts"], file["objects"], file["now"]
    states, before = list[PhotoState](), tuple[PhotoObject, ...]()
    try:
        for row in file["states"]:
            end = len(before) - row["tail"]
            if row["head"] > end:
                raise ValueError("a state keeps more objects than there were")
            before = (*before[: row["head"]], *(objects[place] for place in row["objects"]), *before[end:])
            asked = tuple(concepts[place] for place in row["concepts"])
            states.append(PhotoState(concepts=asked, objects=before, next_id=row["next_id"]))
        history = PhotoHistory(
            now=states[now],
            past=tuple(states[:now]),
            future=tuple(states[now + 1 :]),
            threshold=file["threshold"],
            version=file["version"],
        )
    except IndexError as error:
        raise ValueError("a state names what is not there") from error
    if not _masks_of(objects) <= file["masks"].keys():
        raise ValueError("masks are missing")
    return history, file["masks"]


class _Table(Generic[_Part]):
    """Parts of states, each once. The states keep them alive, so the identity of one tells it from all others."""

    def __init__(self) -> None:
        self.parts: list[_Part] = []
        self._places: dict[int, int] = {}

    def places(self, parts: Iterable[_Part]) -> list[int]:
        """Where each lies; what is new is put at the end."""
        return [self._place(each) for each in parts]

    def _place(self, part: _Part) -> int:
        place = self._places.setdefault(id(part), len(self.parts))
        if place == len(self.parts):
            self.parts.append(part)
        return place


def _same_at_ends(before: tuple[PhotoObject, ...], after: tuple[PhotoObject, ...]) -> tuple[int, int]:
    """How many objects are the same from the beginning on, and how many others up to the end."""
    most = min(len(before), len(after))
    pairs = zip(before, after, strict=False)
    head = next((place for place, (one, other) in enumerate(pairs) if one is not other), most)
    pairs = zip(reversed(before[head:]), reversed(after[head:]), strict=False)
    return head, next((place for place, (one, other) in enumerate(pairs) if one is not other), most - head)


def _masks_of(objects: Iterable[PhotoObject]) -> set[str]:
    return {digest for each in objects for digest in (each.mask, each.prompt) if digest}


Change = Callable[[PhotoState], PhotoState]
