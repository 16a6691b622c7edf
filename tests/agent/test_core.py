"""The state machine alone: what planners get wrong is told, counted and survived; ids stay; the beginning stays."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
from toy_world import OracleSession, world

from masklet.agent.core import messages, offered, step, tool_names
from masklet.agent.episode import run
from masklet.agent.hands import Hands
from masklet.agent.planners import ScriptedPlanner
from masklet.agent.pool import MOST_MARKS, FoundMask, Pool, letters
from masklet.agent.state import AgentState, AskPlanner, Begun, Budget, Finish, Ran, RunTool, Said, Settings, Unreachable
from masklet.llm.messages import Message, Picture, Reply, ToolCall, Usage
from masklet.llm.server import ServerProblem

SCENE = world(2)
PICTURE = Picture(data=b"image")


def call(name: str, **arguments) -> ToolCall:
    return ToolCall(name=name, arguments=arguments, id="c")


def reply(*calls: ToolCall, problem: str = "") -> Reply:
    return Reply(calls=calls, problem=problem, usage=Usage(requests=1, prompt_tokens=100, completion_tokens=10))


def answer(request: str, *replies: Reply, **settings):
    planner = ScriptedPlanner(replies=replies)
    hands = Hands(session=OracleSession(world=SCENE), image=SCENE.image)
    outcome = run(request, SCENE.image, planner, hands, Settings(is_fast=False, **settings))
    return outcome, planner, hands


def told(planner: ScriptedPlanner, place: int = -1) -> str:
    """What the planner read last, before its reply of that place."""
    return str(planner.heard[place][-1].parts[0])


SEGMENT = reply(call("segment", phrases=["cup", "bottle", "box"]))


def test_candidates_of_several_calls_are_answered_together() -> None:
    outcome, planner, _ = answer(
        "things",
        reply(call("segment", phrases=["cup"])),
        reply(call("segment", phrases=["table"])),
        reply(call("answer", masks=["A1", "B1", "B2"], confidence=0.7)),
    )
    assert (outcome.status, outcome.confidence) == ("answered", 0.7)
    assert [mark.phrases for mark in outcome.marks] == [("cup",), ("table",), ("table",)]
    assert told(planner, 1).startswith("A1")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (reply(problem="the reply holds no tool call"), "the reply holds no tool call"),
        (reply(call("examine_each_mask")), "there is no tool 'examine_each_mask'"),
        (reply(call("answer", masks=["C9"])), "'C9' does not exist; available: A1"),
        (reply(call("answer", masks=[])), "answer: masks"),
        (reply(call("answer", masks="A1")), "answer: masks: Input should be a valid list"),
        (reply(call("segment", phrases=[" "])), "a phrase is empty"),
        (reply(call("segment", phrases=["the one that is not on the table by the door"])), "has more than 6 words"),
        (reply(call("segment", phrases=["cup"], colour="red")), "segment: colour: Extra inputs"),
        (reply(call("judge", masks=["A1"])), "nobody is here to judge"),
        (reply(call("ask_user", question="which?")), "ask_user is not offered now"),
        (reply(call("segment_box", box=[2000, 0, 3000, 10], mode="this")), "lies outside the image"),
        (reply(call("refine", mask="A1")), "refine needs points"),
        (reply(call("combine", op="difference", masks=["A1", "A1"])), "the difference of A1, A1 is empty"),
        (reply(call("query", question="frobnicate the gleebs quickly")), "beyond the query language"),
    ],
)
def test_what_a_planner_gets_wrong_is_told_and_survived(wrong, sentence) -> None:
    outcome, planner, _ = answer("things", SEGMENT, wrong, reply(call("answer", masks=["A1"])))
    assert sentence in told(planner)
    assert outcome.status == "answered"


def test_a_repeated_phrase_keeps_its_candidates() -> None:
    outcome, planner, hands = answer(
        "things", SEGMENT, reply(call("segment", phrases=["cup"])), reply(call("answer", masks=["A1"]))
    )
    assert outcome.status == "answered"
    assert "new" in told(planner, 1)
    assert "(0 new)" in told(planner)
    assert hands.session.asked == [("cup", "bottle", "box")]  # nothing is asked twice


def test_the_same_call_again_and_again_ends_with_the_best_so_far() -> None:
    outcome, planner, _ = answer(
        "the box please", SEGMENT, reply(call("facts")), reply(call("facts")), reply(call("facts"))
    )
    assert outcome.status == "budget"
    assert "asked for the same 3 times" in outcome.reason
    assert {phrase for mark in outcome.marks for phrase in mark.phrases} == {"box"}
    assert "nothing has changed" in told(planner)


def test_mistakes_are_counted() -> None:
    outcome, planner, _ = answer("things", reply(problem="the reply holds no tool call"))
    assert (outcome.status, len(planner.heard)) == ("degraded", Budget().invalid + 1)
    assert outcome.marks == ()


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ({"rounds": 3}, "3 rounds were used up"),
        ({"requests": 2}, "2 requests were used up"),
        ({"prompts": 3}, "3 prompts were used up"),
        ({"tokens": 150}, "150 tokens were used up"),
    ],
)
def test_budgets_end_with_the_best_so_far(budget, reason) -> None:
    replies = [reply(call("segment", phrases=[f"cup {place}", "cup"])) for place in range(20)]
    outcome, _, _ = answer("a cup", *replies, budget=Budget(stale=100, **budget))
    assert (outcome.status, outcome.reason) == ("budget", reason)
    assert {phrase for mark in outcome.marks for phrase in mark.phrases} == {"cup"}


def test_time_is_a_budget() -> None:
    state, effect = step(AgentState(settings=Settings(is_fast=False)), Begun(request="cups", picture=PICTURE))
    assert isinstance(effect, AskPlanner)
    state, effect = step(state, Said(reply=SEGMENT, seconds=130.0))
    assert isinstance(effect, RunTool)
    _, effect = step(state, Ran(finds=(), seconds=130.0))
    assert effect == Finish(status="budget", reason="120 s were used up")


def test_when_nothing_new_is_found_the_planner_is_asked_to_decide() -> None:
    replies = [reply(call("segment", phrases=[f"unicorn {place}"])) for place in range(12)]
    outcome, planner, _ = answer("the unicorn in the corner", *replies)
    said = [str(message.parts[0]) for message in planner.heard[3]]
    assert any("Is it in the image at all?" in each for each in said)
    assert outcome.status == "budget"
    assert "brought nothing new" in outcome.reason


def test_a_server_that_dies_leaves_what_was_found() -> None:
    state, _ = step(AgentState(settings=Settings(is_fast=False)), Begun(request="the cup", picture=PICTURE))
    state, _ = step(state, Said(reply=SEGMENT))
    mask = np.ones((4, 4), bool)
    state, _ = step(state, Ran(finds=(FoundMask(phrase="cup", score=0.9, box=(0, 0, 4, 4), mask=mask),)))
    _, effect = step(state, Unreachable(sentence="gone"))
    assert effect == Finish(status="degraded", masks=("A1",), confidence=0.45, reason="gone")


def test_a_planner_that_cannot_be_asked_is_no_exception() -> None:
    class Dead:
        def reply(self, messages, tools):  # noqa: ARG002 - a protocol's
            raise ServerProblem("nobody answers")

    hands = Hands(session=OracleSession(world=SCENE), image=SCENE.image)
    outcome = run("the leftmost cup", SCENE.image, Dead(), hands)
    assert (outcome.status, outcome.reason) == ("degraded", "nobody answers")


def test_a_number_in_the_request_is_checked_once_and_may_be_insisted_on() -> None:
    request = "the two rightmost cups"
    outcome, planner, _ = answer(request, SEGMENT, reply(call("facts")), reply(call("answer", masks=["A1"])))
    assert outcome.status == "answered"  # the script says it again
    assert "the request is for 2 and the answer has 1" in told(planner)


def test_an_answer_to_a_negation_needs_a_look_first() -> None:
    _, planner, _ = answer("cups not on the table", SEGMENT, reply(call("answer", masks=["A1"])))
    assert "use facts, query or judge first" in told(planner)


def test_two_calls_are_enough_for_small_models_and_ids_are_an_enum() -> None:
    outcome, planner, _ = answer("cups", SEGMENT, reply(call("answer", masks=["A1"])), mode="two-call")
    assert (outcome.status, outcome.rounds, len(planner.heard)) == ("answered", 2, 2)
    state = AgentState(settings=Settings(mode="two-call"), rounds=1, pool=Pool().add([_find("cup")])[0])
    tools = {tool.name: tool for tool in offered(state)}
    assert set(tools) == {"answer", "answer_none"}
    assert tools["answer"].parameters["properties"]["masks"]["items"]["enum"] == ["A1"]


@pytest.mark.parametrize(("shows", "pictures"), [("facts", 0), ("facts and drawing", 1), ("nothing", None)])
def test_before_a_small_model_chooses_it_reads_of_candidates_and_sees_them(shows, pictures) -> None:
    request, replies = "the leftmost cup", (SEGMENT, reply(call("answer", masks=["A1"])))
    outcome, planner, _ = answer(request, *replies, mode="two-call", shows=shows)
    read = planner.heard[1][2:]
    own = [message for message in read if message.role == "user"]
    assert outcome.status == "answered"
    if pictures is None:
        assert own == []
        return
    by_rules, view = own
    assert 'read as ranked("cup", left, 1, 1)' in str(by_rules.parts[0])
    assert "id | phrase | score | box" in str(view.parts[0])
    assert view.pictures == pictures
    assert [message.role for message in read[:2]] == ["assistant", "tool"]


def test_new_candidates_are_shown_once_and_old_ones_not_again() -> None:
    replies = (
        SEGMENT,
        reply(call("facts")),
        reply(call("segment", phrases=["table"])),
        reply(call("answer", masks=["A1"])),
    )
    _, planner, _ = answer("things here", *replies, shows="facts")
    views = [[message for message in heard if message.role == "user"][1:] for heard in planner.heard]
    assert [len(each) for each in views] == [0, 1, 1, 2]


@pytest.mark.parametrize(
    "settings", [{}, {"mode": "two-call"}, {"effort": "high"}, {"may_ask": True}, {"can_ground": False}]
)
def test_the_planner_is_told_of_every_tool_in_words_however_its_server_calls_them(settings) -> None:
    names = tool_names(Settings(**settings))
    _, planner, _ = answer("things", reply(call("answer_none", reason="absent")), **settings)
    system = str(planner.heard[0][0].parts[0])
    assert all(f"- {name}(" in system for name in names)
    assert len(system.split()) < 900  # 1,200 tokens
    assert {tool.name for tool in planner.tools[0]} <= set(names)


def test_a_model_that_knows_no_places_is_offered_no_boxes() -> None:
    names = {
        tool.name
        for tool in offered(AgentState(settings=Settings(can_ground=False), pool=Pool().add([_find("cup")])[0]))
    }
    assert not names & {"segment_box", "refine"}
    assert "ask_user" in {tool.name for tool in offered(AgentState(settings=Settings(may_ask=True)))}


def _find(phrase: str, at: int = 0, score: float = 0.9) -> FoundMask:
    mask = np.zeros((64, 64), bool)
    row, column = divmod(at, 16)
    mask[4 * row : 4 * row + 3, 4 * column : 4 * column + 3] = True
    return FoundMask(phrase=phrase, score=score, box=(4 * column, 4 * row, 4 * column + 3, 4 * row + 3), mask=mask)


def test_ids_are_stable_unique_and_merged() -> None:
    pool, first, new = Pool().add([_find("cup", 0), _find("cup", 1)])
    assert (first, new) == (("A1", "A2"), 2)
    pool, second, new = pool.add([_find("mug", 1, 0.95), _find("mug", 2)])
    assert (second, new) == (("A2", "B1"), 1)
    assert (pool.marks["A2"].phrases, pool.marks["A2"].score) == (("cup", "mug"), 0.95)
    assert pool.listed() == "A1, A2, B1"
    assert [letters(number) for number in (0, 25, 26, 27)] == ["A", "Z", "AA", "AB"]


def test_the_pool_is_bounded_and_keeps_what_was_judged() -> None:
    pool = Pool()
    for number in range(5):
        finds = [_find("x", at, 0.1 + 0.1 * number) for at in range(200)]
        masks = [replace(find, mask=np.roll(find.mask, number, axis=0)) for find in finds]
        pool, _, _ = pool.add(masks, frozenset({"A1"}))
    assert len(pool.marks) <= MOST_MARKS
    assert "A1" in pool.marks


def test_old_views_become_words_and_the_beginning_stays() -> None:
    state = AgentState(prefix=(Message(role="system", parts=("rules",)), Message(role="user", parts=(PICTURE, "go"))))
    for number in range(30):
        said = Message(role="assistant", parts=("look",), calls=(call("inspect", masks=["A1"]),))
        shown = Message(
            role="tool", parts=("shown", Picture(data=b"x", note=f"view {number}")), name="inspect", call_id="c"
        )
        state = replace(state, turns=(*state.turns, said, shown))
        read = messages(state)
        assert read[:2] == state.prefix
        assert sum(message.pictures for message in read) <= 3
        assert read[2].role != "tool"
    assert "view 27" in [part for message in read for part in message.parts]


@pytest.mark.parametrize("settings", [{}, {"mode": "two-call", "shows": "facts"}, {"effort": "high"}])
def test_any_sequence_of_calls_ends_and_answers_name_what_exists(settings) -> None:
    names = [
        "segment",
        "propose",
        "facts",
        "inspect",
        "judge",
        "combine",
        "query",
        "segment_box",
        "refine",
        "answer",
        "answer_none",
        "nonsense",
    ]
    for seed in range(30):
        rng = random.Random(seed)

        def random_call(rng=rng) -> ToolCall:
            some = [rng.choice(["A1", "A2", "B1", "Z9", 7, None]) for _ in range(rng.randint(0, 3))]
            every = {
                "boxes": rng.choice([[], [[100, 100, 400, 600]], [[5]], [[9, 9, 1, 1], [2000, 0, 1, 1]]]),
                "phrases": rng.choice([["cup"], ["box", "table"], [], "cup", [""], [3]]),
                "masks": some,
                "mask": rng.choice(["A1", "Q", 4]),
                "op": rng.choice(["union", "difference", "magic"]),
                "question": rng.choice(["the leftmost cup", "", "x" * 900]),
                "box": rng.choice([[0, 0, 500, 500], [1], "all", [5, 5, 5, 5]]),
                "mode": rng.choice(["this", "all_like_this", "none"]),
                "reason": rng.choice(["absent", "lazy"]),
                "add_points": rng.choice([[], [[100, 100]], [[1]], [[float("nan"), 2]]]),
            }
            chosen = rng.sample(list(every), rng.randint(0, 4))
            return ToolCall(name=rng.choice(names), arguments={key: every[key] for key in chosen}, id="c")

        replies = [reply(*(random_call() for _ in range(rng.randint(0, 3))), problem="no call") for _ in range(30)]
        outcome, planner, _ = answer("the two cups not on the table", *replies, **settings)
        assert outcome.status in ("answered", "none", "budget", "degraded")
        assert len(planner.heard) <= Budget().rounds
        assert all(json.loads(each) for each in outcome.trace)
