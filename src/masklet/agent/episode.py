"""One request from beginning to end: the state machine, whoever plans, whoever does, a clock, a recorder."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool

from masklet.agent import drawings
from masklet.agent.core import step
from masklet.agent.pool import Mark, Pool
from masklet.agent.state import (
    AgentState,
    AskPlanner,
    Begun,
    Effect,
    Finish,
    Ran,
    RunTool,
    Said,
    Settings,
    Status,
    Unreachable,
)
from masklet.agent.tools import Arguments
from masklet.agent.traces.trace import Recorder, Tape
from masklet.llm.messages import Usage
from masklet.llm.server import ServerProblem
from masklet.llm.transports import LanguageModel
from masklet.protocols import Pixels

DIGITS = 3  # of seconds


@runtime_checkable
class Doing(Protocol):
    """Runs tools: `Hands`, or a tape of what they did."""

    def run(self, arguments: Arguments, pool: Pool, request: str) -> Ran:
        """What the tool gives."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class AgentOutcome:
    """What came of a request: the masks that answer it, how sure, how it ended, and what it cost."""

    request: str
    status: Status
    marks: tuple[Mark, ...]
    confidence: float
    reason: str
    rounds: int
    prompts: int
    usage: Usage
    seconds: float
    trace: tuple[str, ...] = field(repr=False)

    @property
    def mask(self) -> Bool[np.ndarray, "height width"] | None:
        """All that answers, in one mask; None when nothing does."""
        return np.logical_or.reduce([mark.mask for mark in self.marks]) if self.marks else None


def run(
    request: str,
    image: Pixels,
    planner: LanguageModel,
    hands: Doing,
    settings: Settings | None = None,
    *,
    clock: Callable[[], float] | None = None,
    keep_images: bool = True,
) -> AgentOutcome:
    """Answers a request. Nothing that a planner or a server does is raised: the outcome says how it ended."""
    settings = Settings() if settings is None else settings
    began = time.monotonic()
    seconds = clock or (lambda: round(time.monotonic() - began, DIGITS))
    recorder = Recorder(keep_images=keep_images)
    recorder.begin(request, hashlib.sha256(image.tobytes()).hexdigest()[:16], image.shape[:2], settings)
    state, effect = step(AgentState(settings=settings), Begun(request=request, picture=drawings.plain(image)))
    while not isinstance(effect, Finish):
        state, effect = step(state, _do(effect, state, planner, hands, seconds, recorder))
    recorder.finished(effect)
    return AgentOutcome(
        request=request,
        status=effect.status,
        marks=tuple(state.pool.marks[key] for key in effect.masks),
        confidence=effect.confidence,
        reason=effect.reason,
        rounds=state.rounds,
        prompts=state.prompts,
        usage=state.usage,
        seconds=state.seconds,
        trace=tuple(recorder.lines),
    )


def _do(
    effect: Effect,
    state: AgentState,
    planner: LanguageModel,
    hands: Doing,
    seconds: Callable[[], float],
    recorder: Recorder,
) -> Said | Unreachable | Ran:
    if isinstance(effect, AskPlanner):
        recorder.asked(effect.messages, effect.tools)
        try:
            reply = planner.reply(effect.messages, effect.tools)
        except ServerProblem as problem:
            recorder.unreachable(str(problem))
            return Unreachable(sentence=str(problem))
        said = Said(reply=reply, seconds=seconds())
        recorder.replied(reply, said.seconds)
        return said
    assert isinstance(effect, RunTool)
    ran = hands.run(effect.arguments, state.pool, state.request)
    ran = replace(ran, seconds=seconds())
    recorder.ran(effect.call, ran)
    return ran


def run_again(tape: Tape, image: Pixels, settings: Settings) -> AgentOutcome:
    """The same request from its trace, with no model and no server. Raises: Mismatch where it goes another way."""
    outcome = run(tape.request, image, tape, tape, settings, clock=tape.seconds, keep_images=tape.keeps_images)
    tape.check(outcome.trace)
    return outcome
