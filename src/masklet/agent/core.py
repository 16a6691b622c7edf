"""The agent as a pure state machine: an event comes in, what is to be done goes out. Nothing here reads or waits.

A planner never loses an episode: what it gets wrong is told to it and costs a little, and whatever ends a request
(budgets, a dead server, a planner that turns in circles) ends it with the best that was found so far.
"""

from dataclasses import replace

from masklet.agent.prompts import SYSTEM, hint, request_turn, view_of
from masklet.agent.rules import expected_count, needs_a_look, plain_phrase, readings
from masklet.agent.search import Hypothesis, Move, Search, WantComparison, WantProposals, WantVerdicts
from masklet.agent.state import (
    AgentState,
    AskPlanner,
    Begun,
    Effect,
    Event,
    Finish,
    Ran,
    RunTool,
    Said,
    Settings,
    Status,
    Unreachable,
)
from masklet.agent.tools import (
    MOST_VIEWED,
    AnswerNone,
    AnswerWith,
    Arguments,
    AskUser,
    Combine,
    Compare,
    Inspect,
    Judge,
    Query,
    Refine,
    ViewCandidates,
    checked,
    chooser,
    guide,
    spec,
)
from masklet.llm.calls import as_text
from masklet.llm.messages import Message, Picture, ToolCall, ToolDescription

ACCEPTED = 0.5
SURE = 0.5  # score of what counts where nobody judged
SCORES_SAY_NOTHING, INSIST = "scores say nothing of", "answer again to insist"
REPEATS_TOLD, REPEATS_FORCED = 2, 3  # times the same call with the same candidates


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
    told = f"{SYSTEM}\n{guide(tool_names(state.settings))}"
    prefix = (Message(role="system", parts=(told,)), request_turn(event.request, event.picture))
    state = replace(state, request=event.request, prefix=prefix)
    if state.settings.effort == "high":
        return _look(replace(state, search=Search()))
    phrase = plain_phrase(event.request) if state.settings.is_fast else None
    if phrase is not None:
        call = ToolCall(name="segment", arguments={"phrases": [phrase], "min_score": SURE})
        return _next(replace(state, is_fast=True, pending=(call,)))
    return _look(state)


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
        return _look(state)
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
    is_own, text = call.id == OWN, event.text
    if event.finds is not None:
        state, text = _added(state, event, counts=not is_own)
    if event.preference is not None and state.search is not None:
        state = replace(state, search=state.search.compared(event.preference))
    state = replace(
        state,
        pending=rest,
        verdicts={**state.verdicts, **event.verdicts},
        prompts=state.prompts + event.prompts,
        usage=state.usage + event.usage,
        seconds=max(state.seconds, event.seconds),
    )
    if state.is_fast:
        return state, _fast_end(state)
    if is_own:
        told = Message(role="user", parts=(text, *event.pictures)) if call.name in ("view", "query") else None
        return _next(replace(state, turns=(*state.turns, told)) if told is not None else state)
    shown = Message(role="tool", parts=(text, *event.pictures), call_id=call.id, name=call.name)
    return _next(replace(state, turns=(*state.turns, shown)))


def _added(state: AgentState, event: Ran, *, counts: bool) -> tuple[AgentState, str]:
    """The state with new candidates, one letter a proposal, and what is told of them."""
    assert event.finds is not None
    pool, listed, total = state.pool, list[str](), 0
    hypotheses: list[Hypothesis] = []
    start = 0
    for name, size in event.groups or (("", len(event.finds)),):
        pool, ids, new = pool.add(event.finds[start : start + size], frozenset(state.verdicts))
        start, total = start + size, total + new
        listed += ids
        hypotheses.append(Hypothesis(name=name or "the query language", masks=ids))
    ids = tuple(dict.fromkeys(listed))
    search = state.search
    if search is not None:
        search = search.proposed(hypotheses, is_round=bool(event.groups))
    stale = state.stale if not counts else 0 if total else state.stale + 1
    last_answers = ids if event.answers else state.last_answers
    text = f"{', '.join(ids) or 'nothing'}{f' ({total} new)' if ids else ''}. {event.text}".strip()
    return replace(state, pool=pool, search=search, stale=stale, last_answers=last_answers), text


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
    if state.search is not None:
        best = state.search.best
        return (spec("propose"), spec("answer_none") if best is None else chooser("answer", best.masks))
    if state.settings.mode == "two-call" and ids and state.rounds:
        return (chooser("answer", ids), spec("answer_none"))
    names = [name for name in tool_names(state.settings) if ids or name not in NEED_CANDIDATES]
    return tuple(chooser(name, ids) if name in ("judge", "answer") else spec(name) for name in names)


NEED_CANDIDATES = frozenset({"inspect", "combine", "refine", "judge", "answer"})


def tool_names(settings: Settings) -> tuple[str, ...]:
    """The tools of a request, at any moment of it."""
    if settings.effort == "high":
        return ("propose", "answer", "answer_none")
    if settings.mode == "two-call":
        return (*(("propose",) if settings.can_ground else ()), "segment", "answer", "answer_none")
    placing = ("segment_box", "refine") if settings.can_ground else ()
    asking = ("ask_user",) if settings.may_ask else ()
    return ("segment", "query", "facts", "answer_none", *asking, *placing, "inspect", "combine", "judge", "answer")


OWN = "own"  # id of calls that the agent makes by itself


def _look(state: AgentState) -> tuple[AgentState, Effect]:
    """What is done before the planner is asked: the request read by rules, new candidates shown, readings compared."""
    if state.search is not None:
        return _search(state, state.search)
    if state.settings.shows != "nothing" and state.pool.calls > state.shown and state.pool.marks:
        if state.settings.mode == "two-call" and not state.has_read and readings(state.request):
            return _own(replace(state, has_read=True), "query", Query(question=state.request))
        best = sorted(state.pool.marks.values(), key=lambda mark: -mark.score)[:MOST_VIEWED]
        return _show(replace(state, shown=state.pool.calls), tuple(mark.id for mark in best))
    return _ask(state)


def _own(state: AgentState, name: str, arguments: Arguments) -> tuple[AgentState, Effect]:
    call = ToolCall(name=name, arguments=arguments.model_dump(), id=OWN)
    return replace(state, pending=(call, *state.pending)), RunTool(call=call, arguments=arguments)


def _show(state: AgentState, masks: tuple[str, ...]) -> tuple[AgentState, Effect]:
    with_picture = state.settings.shows == "facts and drawing"
    return _own(state, "view", ViewCandidates(masks=list(masks), with_picture=with_picture))


def _search(state: AgentState, search: Search) -> tuple[AgentState, Effect]:
    """The next move of high effort, in which the reading by rules takes part where there is one."""
    if search.rounds and not state.has_read and readings(state.request):
        return _own(replace(state, has_read=True), "query", Query(question=state.request))
    move = search.move(state.verdicts)
    if not isinstance(move, WantVerdicts) and (settled := search.settled(state.verdicts)) != search:
        return _search(replace(state, search=settled), settled)
    if isinstance(move, WantVerdicts | WantComparison) and (spent := _spent(state)):
        return _best(state, "budget", f"{spent} were used up")
    return _moved(state, search, move)


def _moved(state: AgentState, search: Search, move: Move) -> tuple[AgentState, Effect]:  # noqa: PLR0911 - one of each
    match move:
        case WantVerdicts():
            return _own(state, "judge", Judge(masks=list(move.masks)))
        case WantComparison():
            return _own(state, "compare", Compare(first=list(move.first), second=list(move.second)))
        case WantProposals() if search.rounds:
            if search.best is not None and state.shown < state.pool.calls:
                return _show(replace(state, shown=state.pool.calls), search.best.masks)
            if "search" not in state.told:
                told = Message(role="user", parts=(search.told(),))
                state = replace(state, told=state.told | {"search"}, turns=(*state.turns, told))
            return _ask(state)
        case WantProposals():
            return _ask(state)
        case _ if search.best is None:
            return state, Finish(status="none", reason="absent")
        case _:
            confidence = search.confidence(state.verdicts)
            return state, Finish(status="answered", masks=search.best.masks, confidence=confidence)


def _spent(state: AgentState) -> str:
    """The budget that is used up; empty while there is something left."""
    budget = state.settings.budget
    return (
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


def _ask(state: AgentState) -> tuple[AgentState, Effect]:
    budget = state.settings.budget
    if spent := _spent(state):
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
    if state.search is not None and state.search.best is not None:
        masks = list(state.search.best.masks)
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
