"""Who says whether a mask is what was asked for: a verifier, or the language model, a mask at a time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from masklet.agent.drawings import marked, zoomed
from masklet.agent.pool import Mark
from masklet.llm.messages import Message, ToolDescription, Usage
from masklet.llm.server import ServerProblem
from masklet.llm.transports import LanguageModel
from masklet.protocols import Pixels

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


@dataclass(frozen=True, kw_only=True)
class ModelJudge:
    """The language model, in a conversation of its own for each mask."""

    model: LanguageModel

    def judge(self, image: Pixels, marks: Sequence[Mark], question: str) -> JudgedMasks:
        """An answer that cannot be read, or none, is unsure."""
        probabilities, usage = list[float](), Usage()
        for mark in marks:
            parts = (marked(image, [mark]), zoomed(image, [mark]), ASKED.format(question=question))
            try:
                reply = self.model.reply([Message(role="user", parts=parts)], [VERDICT])
            except ServerProblem:
                probabilities.append(UNSURE)
                continue
            usage += reply.usage
            said = str(reply.calls[0].arguments.get("verdict", "")).lower() if reply.calls else ""
            probabilities.append(WORTH.get(said, UNSURE))
        return JudgedMasks(probabilities=tuple(probabilities), usage=usage)
