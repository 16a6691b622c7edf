"""The agent as a pure state machine: an event comes in, what is to be done goes out. Nothing here reads or waits.

A planner never loses an episode: what it gets wrong is told to it and costs a little, and whatever ends a request
(budgets, a dead server, a planner that turns in circles) ends it with the best that was found so far.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from masklet.agent.pool import FoundMask, Pool
from masklet.agent.prompts import SYSTEM, hint, request_turn, view_of
from masklet.agent.rules import expected_count, needs_a_look, plain_phrase
from masklet.agent.tools import (
    AnswerNone,
    AnswerWith,
    Arguments,
    AskUser,
    Combine,
    Inspect,
    Judge,
    Refine,
    checked,
    chooser,
    spec,
)
from masklet.llm.calls import as_text
from masklet.llm.messages import Message, Picture, Reply, ToolCall, ToolDescription, Usage

Status = Literal["answered", "none", "budget", "degraded", "asked"]
Mode = Literal["free", "two-call"]

ACCEPTED = 0.5
SURE = 0.5  # score of what counts where nobody judged
SCORES_SAY_NOTHING, INSIST = "scores say nothing of", "answer again to insist"
REPEATS_TOLD, REPEATS_FORCED = 2, 3  # times the same call with the same candidates


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a request may cost. `stale` is rounds without a new candidate, `invalid` mistakes of the planner."""

    rounds: int = 12
    requests: int = 40
    prompts: int = 40
    seconds: float = 120.0
    tokens: int = 200_000
    invalid: int = 5
    stale: int = 3


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How the agent works. `can_ground`: the planner knows where things are; `may_ask`: there is somebody to ask."""

    budget: Budget = field(default_factory=Budget)
    mode: Mode = "free"
    can_ground: bool = True
    may_ask: bool = False
    is_fast: bool = True


# --- events and effects -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A request about an image: its drawing for the planner."""

    request: str
    picture: Picture


@dataclass(frozen=True, kw_only=True)
class Said:
    """The planner's reply, and the seconds since the request began."""

    reply: Reply
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Unreachable:
    """The planner cannot be asked, and why."""

    sentence: str


@dataclass(frozen=True, kw_only=True)
class Ran:
    """What a tool gave. `finds` become candidates; `verdicts` are probabilities by id; `prompts` is what it cost."""

    text: str = ""
    finds: tuple[FoundMask, ...] | None = None
    pictures: tuple[Picture, ...] = ()
    verdicts: Mapping[str, float] = field(default_factory=dict)
    answers: bool = False
    prompts: int = 0
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class AskPlanner:
    """Ask the planner, with these tools."""

    messages: tuple[Message, ...]
    tools: tuple[ToolDescription, ...]


@dataclass(frozen=True, kw_only=True)
class RunTool:
    """Run a tool whose arguments are checked."""

    call: ToolCall
    arguments: Arguments


@dataclass(frozen=True, kw_only=True)
class Finish:
    """The end: what answers the request, how sure, and why it ended."""

    status: Status
    masks: tuple[str, ...] = ()
    confidence: float = 0.0
    reason: str = ""


Event = Begun | Said | Unreachable | Ran
Effect = AskPlanner | RunTool | Finish


@dataclass(frozen=True, kw_only=True)
class AgentState:
    """All that is known of a request."""

    settings: Settings = field(default_factory=Settings)
    request: str = ""
    prefix: tuple[Message, ...] = ()
    turns: tuple[Message, ...] = ()
    pool: Pool = field(default_factory=Pool)
    pending: tuple[ToolCall, ...] = ()
    verdicts: Mapping[str, float] = field(default_factory=dict)
    told: frozenset[str] = frozenset()
    repeats: Mapping[str, int] = field(default_factory=dict)
    used: frozenset[str] = frozenset()  # names of tools that were run
    last_answers: tuple[str, ...] | None = None  # of the query tool
    rounds: int = 0
    stale: int = 0
    invalid: int = 0
    prompts: int = 0
    usage: Usage = field(default_factory=Usage)
    seconds: float = 0.0
    is_fast: bool = False


def step(state: AgentState, event: Event) -> tuple[AgentState, Effect]:
    """The state after an event, and what is to be done next."""
    match event:
        case Begun():
            return _begin(state, event)
        case Said():
            return _hear(state, event)
        case Unreachable():
            return _best(state, "degraded", event.sentence)
        case Ran():
            return _take(state, event)


def _begin(state: AgentState, event: Begun) -> tuple[AgentState, Effect]:
    prefix = (Message(role="system", parts=(SYSTEM,)), request_turn(event.request, event.picture))
    state = replace(state, request=event.request, prefix=prefix)
    phrase = plain_phrase(event.request) if state.settings.is_fast else None
    if phrase is not None:
        call = ToolCall(name="segment", arguments={"phrases": [phrase], "min_score": SURE})
        return _next(replace(state, is_fast=True, pending=(call,)))
    return _ask(state)


def _hear(state: AgentState, event: Said) -> tuple[AgentState, Effect]:
    reply = event.reply
    state = replace(state, rounds=state.rounds + 1, usage=state.usage + reply.usage, seconds=event.seconds)
    said = Message(role="assistant", parts=(view_of(reply.text),), calls=reply.calls)
    state = replace(state, turns=(*state.turns, said))
    if not reply.calls:
        return _reject(state, ToolCall(name="reply", arguments={}), reply.problem)
    return _next(replace(state, pending=reply.calls))


def _next(state: AgentState) -> tuple[AgentState, Effect]:
    """Checks and begins the next call of a reply; when there is none left, the planner is asked."""
    if not state.pending:
        return _ask(state)
    call, state = state.pending[0], replace(state, pending=state.pending[1:])
    arguments = checked(call)
    problem = arguments if isinstance(arguments, str) else _problem(state, call, arguments)
    if problem or isinstance(arguments, str):
        return _reject(state, call, problem)
    key = f"{as_text(call)} {state.pool.calls} {len(state.verdicts)}"
    count = state.repeats.get(key, 0) + 1
    state = replace(state, repeats={**state.repeats, key: count}, used=state.used | {call.name})
    if count >= REPEATS_FORCED:
        return _best(state, "budget", f"the planner asked for the same {count} times")
    if count >= REPEATS_TOLD:
        return _reject(state, call, "this call was made before and nothing has changed; decide, or try something else")
    return _run(state, call, arguments)


def _run(state: AgentState, call: ToolCall, arguments: Arguments) -> tuple[AgentState, Effect]:
    match arguments:
        case AnswerWith():
            masks = tuple(dict.fromkeys(arguments.masks))
            return state, Finish(status="answered", masks=masks, confidence=arguments.confidence)
        case AnswerNone():
            return state, Finish(status="none", reason=arguments.reason)
        case AskUser():
            return state, Finish(status="asked", reason=arguments.question)
        case _:
            waiting = (call, *state.pending)  # until its result comes
            return replace(state, pending=waiting), RunTool(call=call, arguments=arguments)


def _take(state: AgentState, event: Ran) -> tuple[AgentState, Effect]:
    call, rest = state.pending[0], state.pending[1:]
    text, pool, stale = event.text, state.pool, state.stale
    last_answers = state.last_answers
    if event.finds is not None:
        pool, ids, new = state.pool.add(event.finds, frozenset(state.verdicts))
        text = f"{', '.join(ids) or 'nothing'}{f' ({new} new)' if ids else ''}. {text}".strip()
        stale = 0 if new else stale + 1
        last_answers = ids if event.answers else last_answers
    state = replace(
        state,
        pool=pool,
        pending=rest,
        stale=stale,
        last_answers=last_answers,
        verdicts={**state.verdicts, **event.verdicts},
        prompts=state.prompts + event.prompts,
        usage=state.usage + event.usage,
        seconds=max(state.seconds, event.seconds),
    )
    if state.is_fast:
        return state, _fast_end(state)
    shown = Message(role="tool", parts=(text, *event.pictures), call_id=call.id, name=call.name)
    return _next(replace(state, turns=(*state.turns, shown)))


def _fast_end(state: AgentState) -> Finish:
    marks = [mark for mark in state.pool.marks.values() if mark.score >= SURE]
    if not marks:
        return Finish(status="none", reason="absent")
    return Finish(
        status="answered", masks=tuple(mark.id for mark in marks), confidence=min(mark.score for mark in marks)
    )


# --- what is wrong, and what is told ------------------------------------------------------------------------------


def _problem(state: AgentState, call: ToolCall, arguments: Arguments) -> str:
    """Why a call cannot be run as it is, or what should be thought of first; empty when it can."""
    if call.name not in {tool.name for tool in offered(state)}:
        return f"{call.name} is not offered now"
    named: list[str] = []
    match arguments:
        case AnswerWith() | Judge() | Inspect() | Combine():
            named = list(arguments.masks)
        case Refine():
            named = [arguments.mask]
        case _:
            pass
    if unknown := state.pool.unknown(named):
        return unknown
    if isinstance(arguments, AnswerWith):
        return _second_thought(state, len(set(arguments.masks)))
    return ""


def _second_thought(state: AgentState, given: int) -> str:
    """What speaks against an answer; told once, as the planner may know better."""
    count = expected_count(state.request)
    if count is not None and count != given and "count" not in state.told:
        return f"the request is for {count} and the answer has {given}; {INSIST}"
    looked = state.used & {"facts", "judge", "query", "inspect"}
    if state.settings.mode == "free" and needs_a_look(state.request) and not looked and "look" not in state.told:
        return f"the request has words that {SCORES_SAY_NOTHING}; use facts, query or judge first"
    return ""


def _reject(state: AgentState, call: ToolCall, problem: str) -> tuple[AgentState, Effect]:
    told = (
        {"count"}
        if "answer again to insist" in problem
        else {"look"}
        if "scores say nothing" in problem
        else set[str]()
    )
    invalid = state.invalid + (0 if told else 1)
    turn = Message(role="tool", parts=(f"not done: {problem}",), call_id=call.id, name=call.name)
    state = replace(state, invalid=invalid, told=state.told | told, turns=(*state.turns, turn))
    if invalid > state.settings.budget.invalid:
        return _best(state, "degraded", f"the planner made {invalid} mistakes; the last: {problem}")
    return _next(state)


# --- what is asked ------------------------------------------------------------------------------------------------


def offered(state: AgentState) -> tuple[ToolDescription, ...]:
    """The tools of this moment; ids that can be written are those that exist."""
    ids = list(state.pool.marks)
    if state.settings.mode == "two-call":
        if state.rounds == 0 or not ids:
            return tuple(spec(name) for name in ("segment", "answer_none"))
        return (chooser("answer", ids), spec("answer_none"))
    names = ["segment", "query", "facts", "answer_none"]
    names += ["segment_box"] if state.settings.can_ground else []
    names += ["ask_user"] if state.settings.may_ask else []
    known = [spec(name) for name in ("inspect", "combine")] if ids else []
    known += [spec("refine")] if ids and state.settings.can_ground else []
    return (*map(spec, names), *known, *(chooser(name, ids) for name in ("judge", "answer") if ids))


def _ask(state: AgentState) -> tuple[AgentState, Effect]:
    budget = state.settings.budget
    spent = (
        f"{budget.rounds} rounds"
        if state.rounds >= budget.rounds
        else f"{budget.requests} requests"
        if state.usage.requests >= budget.requests
        else f"{budget.prompts} prompts"
        if state.prompts >= budget.prompts
        else f"{budget.seconds:g} s"
        if state.seconds >= budget.seconds
        else f"{budget.tokens} tokens"
        if state.usage.prompt_tokens + state.usage.completion_tokens >= budget.tokens
        else ""
    )
    if spent:
        return _best(state, "budget", f"{spent} were used up")
    stale = state.stale >= budget.stale and "stale" not in state.told
    if stale:
        state = replace(state, told=state.told | {"stale"}, turns=(*state.turns, hint(bool(state.pool.marks))))
    elif state.stale >= 2 * budget.stale:
        return _best(state, "budget", f"{state.stale} searches brought nothing new")
    return state, AskPlanner(messages=messages(state), tools=offered(state))


KEPT_VIEWS = 2  # of the latest images; earlier ones become a line
KEPT_TURNS = 16


def messages(state: AgentState) -> tuple[Message, ...]:
    """What the planner reads: a beginning that never changes, then the latest turns."""
    turns = list(state.turns[-KEPT_TURNS:])
    while turns and turns[0].role == "tool":  # a result whose call was left out means nothing
        turns.pop(0)
    shown = 0
    for place in range(len(turns) - 1, -1, -1):
        if not turns[place].pictures:
            continue
        shown += turns[place].pictures
        if shown > KEPT_VIEWS:
            parts = tuple(part.note if isinstance(part, Picture) else part for part in turns[place].parts)
            turns[place] = replace(turns[place], parts=parts)
    return (*state.prefix, *turns)


# --- the best so far ----------------------------------------------------------------------------------------------


def _best(state: AgentState, status: Status, reason: str) -> tuple[AgentState, Effect]:
    """An end before an answer: what was judged right, else what a query answered, else what is nearest in words."""
    marks = state.pool.marks
    accepted = [key for key, value in state.verdicts.items() if value >= ACCEPTED and key in marks]
    masks = accepted or [key for key in state.last_answers or () if key in marks]
    if not masks and state.last_answers is None:
        words = set(state.request.lower().split())
        sure = [
            mark for mark in marks.values() if mark.score >= SURE and state.verdicts.get(mark.id, ACCEPTED) >= ACCEPTED
        ]
        nearness = {mark.id: max(len(words & set(p.lower().split())) for p in mark.phrases) for mark in sure}
        best = max(nearness.values(), default=0)
        masks = [key for key, value in nearness.items() if value == best]
    confidence = min((state.verdicts.get(key, marks[key].score) for key in masks), default=0.0)
    return state, Finish(status=status, masks=tuple(masks), confidence=confidence / 2, reason=reason)
