"""A harder look: several ways to read a request are segmented, judged and compared in pairs, the losers said anew once.

Only what is best so far and what waits is kept here; `core` asks what to do next and does it.

Source: EVOL-SAM3 (arXiv 2512.24702), whose arena of phrases this follows; boxes of the planner compete as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

MOST_JUDGED = 40
ACCEPTED, REJECTED = 0.5, 0.35
ROUNDS = 2  # of proposals: the first, and one of what the losers are changed to


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """One way to read a request, in words, and the masks that it gives."""

    name: str
    masks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WantProposals:
    """The planner is to say the request in other ways."""


@dataclass(frozen=True, kw_only=True)
class WantVerdicts:
    """These masks are to be judged one by one."""

    masks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WantComparison:
    """Two sets of masks are to be compared: which is what is asked for?"""

    first: tuple[str, ...]
    second: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class WantNothing:
    """There is nothing left to be compared."""


Move = WantProposals | WantVerdicts | WantComparison | WantNothing


@dataclass(frozen=True, kw_only=True)
class Search:
    """`best` won all comparisons so far, each with the probability in `wins`; `waiting` were not compared yet."""

    rounds: int = 0
    waiting: tuple[Hypothesis, ...] = ()
    best: Hypothesis | None = None
    lost: tuple[str, ...] = ()
    seen: frozenset[frozenset[str]] = frozenset()
    wins: tuple[float, ...] = ()

    def proposed(self, hypotheses: Sequence[Hypothesis], *, is_round: bool = True) -> "Search":
        """With hypotheses of one more round, or of somebody else than the planner; those without masks are lost."""
        empty = tuple(each.name for each in hypotheses if not each.masks)
        fresh = tuple(each for each in hypotheses if each.masks)
        return replace(self, rounds=self.rounds + is_round, waiting=(*self.waiting, *fresh), lost=(*self.lost, *empty))

    def settled(self, verdicts: Mapping[str, float]) -> "Search":
        """Without what the judge took from the sets that wait: single masks, whole sets, and sets that were there."""
        search = self
        while search.waiting:
            first, rest = search.waiting[0], search.waiting[1:]
            masks = tuple(key for key in first.masks if verdicts.get(key, ACCEPTED) >= ACCEPTED) or first.masks
            is_rejected = all(verdicts.get(key, ACCEPTED) <= REJECTED for key in masks)
            if is_rejected or frozenset(masks) in search.seen:
                search = replace(search, waiting=rest, lost=(*search.lost, first.name))
                continue
            first = replace(first, masks=masks)
            if search.best is not None:
                return replace(search, waiting=(first, *rest))
            search = replace(search, waiting=rest, best=first, seen=search.seen | {frozenset(masks)})
        return search

    def move(self, verdicts: Mapping[str, float]) -> Move:
        """What is to be done next; call it on a search that is settled."""
        if not self.rounds:
            return WantProposals()
        unjudged = tuple(dict.fromkeys(key for each in self.waiting for key in each.masks if key not in verdicts))
        if unjudged and not set(unjudged[:MOST_JUDGED]) <= verdicts.keys():
            return WantVerdicts(masks=unjudged[:MOST_JUDGED])
        if self.waiting and self.best is not None:
            return WantComparison(first=self.best.masks, second=self.waiting[0].masks)
        return WantProposals() if self.rounds < ROUNDS else WantNothing()

    def compared(self, preference: float) -> "Search":
        """After a comparison of the best with the first that waits: `preference` is that it stays, as on a tie."""
        assert self.best is not None
        challenger, rest = self.waiting[0], self.waiting[1:]
        seen = self.seen | {frozenset(challenger.masks)}
        if preference >= ACCEPTED:
            wins = (*self.wins, preference)
            return replace(self, waiting=rest, lost=(*self.lost, challenger.name), seen=seen, wins=wins)
        lost = (*self.lost, self.best.name)
        return replace(self, waiting=rest, best=challenger, lost=lost, seen=seen, wins=(1 - preference,))

    def confidence(self, verdicts: Mapping[str, float]) -> float:
        """How sure the best is: the least of its verdicts and of what it won by."""
        if self.best is None:
            return 0.0
        return min([*(verdicts.get(key, ACCEPTED) for key in self.best.masks), *self.wins])

    def told(self) -> str:
        """What is said to the planner before it proposes once more."""
        best = "nothing" if self.best is None else f"{self.best.name!r} ({', '.join(self.best.masks)})"
        lost = ", ".join(map(repr, dict.fromkeys(self.lost))) or "none"
        return f"Best so far: {best}. Not better: {lost}. Propose up to three other phrases or boxes, or answer."
