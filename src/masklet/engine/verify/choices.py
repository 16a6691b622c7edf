"""The two questions of verification, their answers, and who answers: one interface for models, rules and people.

Source: SAM 3 paper, appendix D (mask verification with five answers, exhaustivity verification with six).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from masklet.engine.records import Author, MaskRow
from masklet.engine.states import Cause
from masklet.protocols import Pixels

MASK_ANSWERS = ("accept", "text", "reject", "whole image", "flag")
EXHAUSTIVITY_ANSWERS = ("accept", "reject", "not separated", "flag", "whole image", "ungroundable")
UNSURE = "unsure"
TAKES_MASK = frozenset({"accept", "text"})
CAUSE_OF_ANSWER = {
    "reject": Cause.SOME_MISSING,
    "not separated": Cause.NOT_SEPARATED,
    "flag": Cause.UNGROUNDABLE,
    "whole image": Cause.UNGROUNDABLE,
    "ungroundable": Cause.UNGROUNDABLE,
}


@dataclass(frozen=True, kw_only=True)
class MaskItem:
    """One mask to be judged: does it show the phrase, whole and alone?"""

    read: Callable[[], Pixels]  # the image, for those who look at it
    phrase: str
    mask: MaskRow
    presence: float


@dataclass(frozen=True, kw_only=True)
class ExhaustivityItem:
    """All accepted masks of a phrase: is any instance left out?"""

    read: Callable[[], Pixels]  # the image, for those who look at it
    phrase: str
    masks: Sequence[MaskRow]
    presence: float
    rejected: Sequence[MaskRow] = ()


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An answer with the probability of each; `label` is `UNSURE` where it should be asked of people."""

    label: str
    probabilities: Mapping[str, float]

    @property
    def confidence(self) -> float:
        """The probability of the likeliest answer."""
        return max(self.probabilities.values(), default=0.0)


@runtime_checkable
class Verifier(Protocol):
    """Answers both questions."""

    @property
    def actor(self) -> Author:
        """In whose name."""
        ...

    @property
    def identity(self) -> str:
        """Changes whenever answers would."""
        ...

    def judge_masks(self, items: Sequence[MaskItem]) -> Sequence[Choice]:
        """An answer of `MASK_ANSWERS`, or unsure, for each mask."""
        ...

    def judge_exhaustivity(self, items: Sequence[ExhaustivityItem]) -> Sequence[Choice]:
        """An answer of `EXHAUSTIVITY_ANSWERS`, or unsure, for each set of masks."""
        ...
