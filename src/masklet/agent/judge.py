"""Who says whether a mask is what was asked for: a verifier, or the language model, a mask at a time."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

from masklet.agent.drawings import marked, zoomed
from masklet.agent.pool import Mark
from masklet.llm.messages import Message, Picture, ToolDescription, Usage
from masklet.llm.server import ServerProblem
from masklet.llm.transports import LanguageModel, described
from masklet.protocols import Pixels

Answered = TypeVar("Answered")
UNSURE = 0.5
WORTH = {"accept": 1.0, "reject": 0.0, "unsure": UNSURE}
VERDICT = ToolDescription(
    name="verdict",
    description="Says whether the outlined thing is what is asked for.",
    parameters={
        "type": "object",
        "properties": {"verdict": {"type": "string", "enum": list(WORTH)}},
        "required": ["verdict"],
        "additionalProperties": False,
    },
)
ASKED = (
    "The first image shows one outlined thing, the second shows it enlarged. Is it asked for by: {question!r}? "
    "Accept it only if it is, and if the outline is about right. Call verdict."
)
SHEET_FROM, SHEET = 25, 9  # from so many masks on, the judge looks at sheets of so many first
ON_SHEET = (
    "Each tile of the image shows one outlined thing with its name. Which of them are asked for by: {question!r}? Call "
    "sort with the names that are, and with those that you cannot tell."
)
SORT = ToolDescription(
    name="sort",
    description="Names the outlined things that are asked for, and those that cannot be told.",
    parameters={
        "type": "object",
        "properties": {key: {"type": "array", "items": {"type": "string"}} for key in ("accepted", "unsure")},
        "required": ["accepted", "unsure"],
        "additionalProperties": False,
    },
)
BETTER = {"first": 1.0, "second": 0.0, "equal": UNSURE}
PREFER = ToolDescription(
    name="prefer",
    description="Says which image outlines exactly what is asked for.",
    parameters={
        "type": "object",
        "properties": {"better": {"type": "string", "enum": list(BETTER)}},
        "required": ["better"],
        "additionalProperties": False,
    },
)
COMPARED = (
    "Both images show the same photo with something outlined. Which one outlines exactly what is asked for by: "
    "{question!r} - all of it and nothing else? Call prefer."
)


@dataclass(frozen=True, kw_only=True)
class JudgedMasks:
    """Probabilities in the order of the masks, and what they cost."""

    probabilities: tuple[float, ...]
    usage: Usage


@runtime_checkable
class Judging(Protocol):
    """Judges masks of one image."""

    def judge(self, image: Pixels, marks: Sequence[Mark], question: str) -> JudgedMasks:
        """The probability of each mask to be asked for; one half where it cannot be said. Raises nothing."""
        ...

    def compare(self, image: Pixels, first: Sequence[Mark], second: Sequence[Mark], question: str) -> JudgedMasks:
        """One probability: that the first set answers better than the second. Raises nothing."""
        ...


@dataclass(frozen=True, kw_only=True)
class ModelJudge:
    """The language model, in a conversation of its own for each mask, several at once."""

    model: LanguageModel
    workers: int = 8

    def judge(self, image: Pixels, marks: Sequence[Mark], question: str) -> JudgedMasks:
        """What cannot be read is unsure. Of many masks sheets are shown; what they leave open is asked singly."""
        known: dict[str, float] = {}
        usage = Usage()
        if len(marks) >= SHEET_FROM:
            sheets = [marks[start : start + SHEET] for start in range(0, len(marks), SHEET)]
            for found, spent in self._all(lambda sheet: self._sheet(image, sheet, question), sheets):
                known |= found
                usage += spent
        single = [mark for mark in marks if mark.id not in known]
        for mark, (value, spent) in zip(
            single, self._all(lambda mark: self._single(image, mark, question), single), strict=True
        ):
            known[mark.id] = value
            usage += spent
        return JudgedMasks(probabilities=tuple(known[mark.id] for mark in marks), usage=usage)

    def compare(self, image: Pixels, first: Sequence[Mark], second: Sequence[Mark], question: str) -> JudgedMasks:
        """Asked twice with the images in opposite orders, as models favour a place."""
        sides = (marked(image, first), marked(image, second))
        words = f"{COMPARED.format(question=question)}\n{described([PREFER])}"

        def vote(order: int) -> tuple[float, Usage]:
            said, spent = self._asked((*sides[:: 1 if order else -1], words), PREFER, "better")
            value = BETTER.get(str(said).lower(), UNSURE)
            return (value if order else 1 - value), spent

        votes = self._all(vote, (1, 0))
        value = sum(each for each, _ in votes) / len(votes)
        return JudgedMasks(probabilities=(value,), usage=votes[0][1] + votes[1][1])

    def _single(self, image: Pixels, mark: Mark, question: str) -> tuple[float, Usage]:
        words = f"{ASKED.format(question=question)}\n{described([VERDICT])}"
        said, spent = self._asked((marked(image, [mark]), zoomed(image, [mark]), words), VERDICT, "verdict")
        return WORTH.get(str(said).lower(), UNSURE), spent

    def _sheet(self, image: Pixels, marks: Sequence[Mark], question: str) -> tuple[dict[str, float], Usage]:
        words = f"{ON_SHEET.format(question=question)}\n{described([SORT])}"
        said, spent = self._asked((zoomed(image, marks), words), SORT)
        if not isinstance(said, Mapping) or not isinstance(said.get("accepted"), list):
            return {}, spent
        unsure = said.get("unsure")
        left = set(map(str, unsure)) if isinstance(unsure, list) else set[str]()
        accepted = set(map(str, said["accepted"]))
        return {mark.id: float(mark.id in accepted) for mark in marks if mark.id not in left}, spent

    def _asked(self, parts: tuple[str | Picture, ...], tool: ToolDescription, key: str = "") -> tuple[object, Usage]:
        """An argument of the model's call, or all of them; None where it made none."""
        try:
            reply = self.model.reply([Message(role="user", parts=parts)], [tool])
        except ServerProblem:
            return None, Usage()
        arguments = next((call.arguments for call in reply.calls if call.name == tool.name), {})
        return (arguments.get(key) if key else arguments), reply.usage

    def _all(self, ask: Callable[[Any], Answered], items: Sequence[Any]) -> list[Answered]:
        """The answers in the order of the items, however many are asked at once."""
        if len(items) < 2 or self.workers < 2:
            return [ask(item) for item in items]
        with ThreadPoolExecutor(min(self.workers, len(items))) as pool:
            return list(pool.map(ask, items))
