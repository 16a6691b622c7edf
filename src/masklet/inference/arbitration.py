"""One owner a region: concepts that were asked together, and that a thing can be only one of, compete for it.

SAM 3 asks each phrase by itself, so one thing may be found as a "car" and as a "truck". Which of them it is can be told
by the scores of both. Phrases that may well share a thing never compete: a kind and an attribute of it ("car", "red
car"), a thing and its part ("car", "car door"), and whatever pairs the caller names.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32

from masklet.errors import InputError
from masklet.protocols import FrameInstances
from masklet.query.vocabulary import singular

SAME = 0.5  # IoU at which two masks claim one thing
LET_GO = 0.3  # IoU below which two objects of a video contend no more
CLEARLY = 0.15  # of a mean score: by so much a rival must be surer to take a thing over
LINGERING = 5  # frames that an owner may be away


def may_share(one: str, other: str) -> bool:
    """Whether a thing can be both by what the phrases say: one of them has the other's noun."""
    nouns = singular(one.rsplit(maxsplit=1)[-1]), singular(other.rsplit(maxsplit=1)[-1])
    words = {singular(word) for word in one.split()}, {singular(word) for word in other.split()}
    return nouns[0] in words[1] or nouns[1] in words[0]


def owners(
    phrases: Sequence[str],
    scores: Float32[np.ndarray, " instance"],
    iou: Float[np.ndarray, "instance instance"],
    together: Collection[tuple[str, str]] = (),
) -> Bool[np.ndarray, " instance"]:
    """Which instances stay: the surest of each set that claims one thing under phrases that exclude each other."""
    allowed = {frozenset(pair) for pair in together}
    kept = np.ones(len(phrases), dtype=bool)
    for place in map(int, np.argsort(-scores, kind="stable")):
        if not kept[place]:
            continue
        for other in map(int, np.flatnonzero(kept & (iou[place] >= SAME))):
            is_rival = _are_rivals(phrases[place], phrases[other], allowed)
            kept[other] = other == place or not (is_rival and scores[other] <= scores[place])
    return kept


Pair = tuple[int, int]


@dataclass(kw_only=True)
class Contests:
    """The same through a video: objects of rival phrases on one thing contend for it, and one of them owns it.

    A contest begins where masks overlap by half and ends where they hardly do. The owner is the object that was surer
    so far, and it stays the owner, so that a thing keeps its phrase and its identity: only one that becomes clearly
    surer takes it over. An owner that is not seen for a few frames is waited for.
    """

    sureness: dict[int, tuple[float, int]] = field(default_factory=dict)  # sum and number of frames by identity
    owners: dict[Pair, tuple[int, int]] = field(default_factory=dict)  # the owner, and frames since both were seen

    def hidden(
        self,
        frame: FrameInstances,
        iou: Float[np.ndarray, "object object"],
        together: Collection[tuple[str, str]] = (),
    ) -> set[int]:
        """The identities on a frame that another one owns; frames come in order. Clicked objects never contend."""
        ids = frame.ids.tolist()
        for number, score, visible in zip(ids, frame.scores.tolist(), frame.object_scores.tolist(), strict=True):
            total, count = self.sureness.get(number, (0.0, 0))
            self.sureness[number] = total + score * visible, count + 1
        allowed = {frozenset(pair) for pair in together}
        for one, other in combinations(range(len(ids)), 2):
            if _are_rivals(frame.concepts[one], frame.concepts[other], allowed):
                self._contend((ids[one], ids[other]), float(iou[one, other]))
        for pair in [pair for pair in self.owners if not set(pair) <= set(ids)]:
            owner, away = self.owners.pop(pair)
            if away < LINGERING:
                self.owners[pair] = owner, away + 1
        lost: set[int] = set()
        for pair, (owner, _) in sorted(self.owners.items(), key=lambda item: -self._mean(item[1][0])):
            if owner not in lost:  # what lost takes nothing away
                lost.add(pair[pair[0] == owner])
        return lost & set(ids)

    def _contend(self, pair: Pair, overlap: float) -> None:
        surer = max(pair, key=lambda number: (self._mean(number), -number))
        owner = self.owners.get(pair, (None, 0))[0]
        if overlap < (SAME if owner is None else LET_GO):
            self.owners.pop(pair, None)
        elif owner is None or self._mean(surer) - self._mean(owner) > CLEARLY:
            self.owners[pair] = surer, 0
        else:
            self.owners[pair] = owner, 0

    def _mean(self, number: int) -> float:
        total, count = self.sureness[number]
        return total / count

    def to_json(self) -> dict[str, Any]:
        """Plain values, which `from_json` reads."""
        return {
            "sureness": [[number, *each] for number, each in self.sureness.items()],
            "owners": [[*pair, *each] for pair, each in self.owners.items()],
        }

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> "Contests":
        """Raises: InputError when `to_json` did not write it."""
        try:
            sureness = {int(number): (float(total), int(count)) for number, total, count in plain["sureness"]}
            owners = {(int(a), int(b)): (int(owner), int(away)) for a, b, owner, away in plain["owners"]}
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"this is no record of contests: {error}") from error
        return cls(sureness=sureness, owners=owners)


def _are_rivals(one: str, other: str, allowed: Collection[frozenset[Any]]) -> bool:
    named = bool(one and other) and one != other
    return named and frozenset((one, other)) not in allowed and not may_share(one, other)
