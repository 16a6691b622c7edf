"""Questions of a video, answered frame by frame over its tracks, with a memory that keeps answers from flickering.

On each frame the calculus is that of an image. What it decides is steadied: a probability is the mean of the latest
frames, and an identity joins a set well above even odds and leaves it well below; an order changes where two things
differ by more than a little. A set that must hold one thing so holds one on every frame.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from masklet.errors import InputError
from masklet.ops.masks import mask_to_box
from masklet.phrases import phrase_key
from masklet.protocols import FrameInstances
from masklet.query.answer import Candidate, Step
from masklet.query.evaluate import EVEN, evaluate
from masklet.query.nodes import Node, named
from masklet.query.relations import extent_of

PAST = 0.7  # weight of the frames before
MARGIN = 0.1  # of a probability, above even odds to join and below to leave
APART = 0.02  # of the longer side: places that differ by less keep their order
BELOW = 0.499  # what is just not in a set
CONFIRMED = 0.9  # least probability of what a session shows: its rules saw it on several frames


@dataclass(kw_only=True)
class AnswerMemory:
    """What was decided of each identity at each node of a question, which is named by its text."""

    values: dict[str, dict[int, float]] = field(default_factory=dict)
    members: dict[str, set[int]] = field(default_factory=dict)
    orders: dict[str, list[int]] = field(default_factory=dict)

    def steady(self, node: str, number: int, value: float) -> float:
        """The probability, steadied, on the side of even odds where the identity belongs."""
        smooth = self._smooth(node, number, value)
        inside = self.members.setdefault(node, set())
        is_new = smooth is None
        cut = EVEN if is_new else EVEN - MARGIN if number in inside else EVEN + MARGIN
        smooth = value if smooth is None else smooth
        (inside.add if smooth >= cut else inside.discard)(number)
        return max(smooth, EVEN) if smooth >= cut else min(smooth, BELOW)

    def missing(self, node: str) -> set[int]:
        """Identities that were in the set of a node when it was looked at last."""
        return set(self.members.get(node, ()))

    def ordered(self, node: str, keys: Mapping[int, float]) -> list[int]:
        """Identities by their keys, lowest first; two that were there before change places for a clear reason only."""
        known = [number for number in self.orders.get(node, []) if number in keys]
        smooth: dict[int, float] = {}
        for number, key in keys.items():
            before = self._smooth(f"{node} order", number, key)
            smooth[number] = key if before is None else before
        result: list[int] = []
        for number in [*known, *sorted(keys.keys() - set(known), key=lambda each: (smooth[each], each))]:
            place = len(result)
            while place and smooth[number] < smooth[result[place - 1]] - (APART if number in known else 0.0):
                place -= 1
            result.insert(place, number)
        self.orders[node] = result
        return result

    def _smooth(self, key: str, number: int, value: float) -> float | None:
        """The mean of the latest values with this one; None for the first."""
        values = self.values.setdefault(key, {})
        before = values.get(number)
        values[number] = value if before is None else PAST * before + (1 - PAST) * value
        return None if before is None else values[number]

    def to_json(self) -> dict[str, Any]:
        """Plain values, which `from_json` reads."""
        values = {key: list(each.items()) for key, each in self.values.items()}
        return {"values": values, "members": {k: sorted(v) for k, v in self.members.items()}, "orders": self.orders}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "AnswerMemory":
        """Raises: InputError when `to_json` did not write it."""
        try:
            return cls(
                values={str(key): {int(n): float(v) for n, v in each} for key, each in plain["values"].items()},
                members={str(key): set(map(int, each)) for key, each in plain["members"].items()},
                orders={str(key): list(map(int, each)) for key, each in plain["orders"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"this is no memory of a question: {error}") from error


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameSet:
    """The identities that answer a question on one frame, with the masks that they have in the answer."""

    kept: Mapping[int, Candidate]
    found: tuple[Candidate, ...]
    steps: tuple[Step, ...]


def answer_frame(frame: FrameInstances, question: Node, memory: AnswerMemory) -> FrameSet:
    """Which of the tracked objects on a frame answer; frames are given in order, with one memory.

    What the session shows is there, by nine tenths or more as it was sure of it. Objects that are tracked under other
    phrases, or that were clicked, take no part.
    """
    names = {phrase_key(concept.phrase): concept for concept in named(question)}
    found: list[Candidate] = []
    for place, concept in enumerate(frame.concepts):
        asked, mask = names.get(phrase_key(concept)), frame.mask(place)
        box = mask_to_box(mask)
        if asked is None or box is None:
            continue
        corners = np.array(box, np.float32)
        found.append(
            Candidate(
                number=int(frame.ids[place]),
                concept=asked,
                score=CONFIRMED + (1 - CONFIRMED) * float(frame.scores[place]),
                box=corners,
                mask=mask,
                shape=extent_of(mask, corners),
            )
        )
    steps: list[Step] = []
    kept = evaluate(found, question, steps, memory)
    members = {number: each for number, (each, score) in sorted(kept.items()) if score >= EVEN}
    return FrameSet(kept=members, found=tuple(found), steps=tuple(steps))
