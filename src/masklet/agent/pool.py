"""Everything that was found during a request, under ids that stay: A1, A2 of the first call, B1 of the second."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool

from masklet.ops.masks import mask_iou
from masklet.protocols import Number

DOUBLE = 0.9  # IoU at which two masks are one candidate
MOST_MARKS = 300

Box = tuple[Number, Number, Number, Number]


def box_of(box: Sequence[Number] | np.ndarray) -> tuple[float, float, float, float]:
    """Four numbers as a box."""
    x0, y0, x1, y1 = (float(value) for value in box)
    return x0, y0, x1, y1


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundMask:
    """An instance as a segmenter gave it: xyxy in pixels."""

    phrase: str
    score: float
    box: Box
    mask: Bool[np.ndarray, "height width"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Mark:
    """A candidate: what was found, under its id, with every phrase that found it."""

    id: str
    phrases: tuple[str, ...]
    score: float
    box: Box
    mask: Bool[np.ndarray, "height width"]


def letters(call: int) -> str:
    """A for call 0, Z for 25, AA for 26."""
    return letters(call // 26 - 1) + chr(ord("A") + call % 26) if call >= 26 else chr(ord("A") + call)


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Candidates by id, in the order in which they were found. `calls` counts what gave letters so far."""

    marks: Mapping[str, Mark] = field(default_factory=dict)
    calls: int = 0

    def add(
        self, finds: Sequence[FoundMask], pinned: frozenset[str] = frozenset()
    ) -> tuple["Pool", tuple[str, ...], int]:
        """The pool with these, the id of each find, and how many are new. One that is there already is that one."""
        marks, ids, new = dict(self.marks), list[str](), 0
        for find in finds:
            twin = _twin(find, marks)
            if twin is None:
                new += 1
                key = f"{letters(self.calls)}{new}"
                marks[key] = Mark(id=key, phrases=(find.phrase,), score=find.score, box=find.box, mask=find.mask)
            else:
                known = marks[twin]
                phrases = tuple(dict.fromkeys([*known.phrases, find.phrase]))
                marks[twin] = replace(known, phrases=phrases, score=max(known.score, find.score))
                key = twin
            ids.append(key)
        pool = Pool(marks=_evicted(marks, pinned | frozenset(ids[:MOST_MARKS])), calls=self.calls + 1)
        return pool, tuple(dict.fromkeys(key for key in ids if key in pool.marks)), new

    def unknown(self, ids: Sequence[str]) -> str:
        """What to tell whoever names an id that is not there; empty when all are."""
        missing = [key for key in ids if key not in self.marks]
        if not missing:
            return ""
        return f"{', '.join(map(repr, missing[:5]))} does not exist; available: {self.listed() or 'none yet'}"

    def listed(self) -> str:
        """The ids, runs of one letter shortened: "A1-A4, B1"."""
        groups: dict[str, list[int]] = {}
        for key in self.marks:
            letter = key.rstrip("0123456789")
            groups.setdefault(letter, []).append(int(key[len(letter) :]))
        return ", ".join(_run(letter, numbers) for letter, numbers in groups.items())


def _run(letter: str, numbers: list[int]) -> str:
    if numbers == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 2:
        return f"{letter}{numbers[0]}-{letter}{numbers[-1]}"
    return ", ".join(f"{letter}{number}" for number in numbers)


def _twin(find: FoundMask, marks: Mapping[str, Mark]) -> str | None:
    near = [key for key, mark in marks.items() if _touch(find.box, mark.box)]
    if not near:
        return None
    iou = mask_iou(find.mask[None], np.stack([marks[key].mask for key in near]))[0]
    best = int(np.argmax(iou))
    return near[best] if iou[best] >= DOUBLE else None


def _touch(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _evicted(marks: dict[str, Mark], pinned: frozenset[str]) -> dict[str, Mark]:
    """The marks without the least sure ones that nobody holds to, where there are too many."""
    surplus = len(marks) - MOST_MARKS
    loose = sorted((mark for key, mark in marks.items() if key not in pinned), key=lambda mark: mark.score)
    gone = {mark.id for mark in loose[: max(0, surplus)]}
    kept = {key: mark for key, mark in marks.items() if key not in gone}
    return dict(list(kept.items())[:MOST_MARKS])
