"""High effort: hypotheses are segmented, judged and compared in pairs; losers are said anew once; boxes compete."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from toy_world import OracleSession, Thing, is_exact, questions, world

from masklet.agent.episode import run, run_again
from masklet.agent.hands import Hands
from masklet.agent.judge import JudgedMasks, ModelJudge
from masklet.agent.planners import ScriptedPlanner
from masklet.agent.pool import Mark
from masklet.agent.search import Hypothesis, Search, WantComparison, WantNothing, WantProposals, WantVerdicts
from masklet.agent.state import Budget, Settings
from masklet.agent.traces.trace import Recorder, Tape
from masklet.llm.messages import Picture, Reply, ToolCall, Usage
from masklet.llm.server import ServerProblem

SCENE = world(2)
HIGH = Settings(effort="high")
BEYOND = "what one drinks from, gladly"  # no sentence of the query language


@dataclass
class KnowsTheAnswer:
    """Judges by the things that are meant; counts what it was asked."""

    meant: Sequence[Thing]
    judges: bool = True
    compared: list[tuple[tuple[str, ...], tuple[str, ...]]] = field(default_factory=list)

    def judge(self, image, marks, question) -> JudgedMasks:  # noqa: ARG002 - a protocol's
        right = [any(np.array_equal(mark.mask, thing.mask) for thing in self.meant) for mark in marks]
        values = tuple(float(each) if self.judges else 0.5 for each in right)
        return JudgedMasks(probabilities=values, usage=Usage(requests=len(marks)))

    def compare(self, image, first, second, question) -> JudgedMasks:  # noqa: ARG002 - a protocol's
        self.compared.append((tuple(mark.id for mark in first), tuple(mark.id for mark in second)))
        one, other = self.overlap(first), self.overlap(second)
        return JudgedMasks(
            probabilities=(1.0 if one > other else 0.0 if other > one else 0.5,), usage=Usage(requests=2)
        )

    def overlap(self, marks: Sequence[Mark]) -> float:
        found = np.logical_or.reduce([mark.mask for mark in marks])
        meant = np.logical_or.reduce([thing.mask for thing in self.meant] or [np.zeros_like(found)])
        return float((found & meant).sum() / max(1, (found | meant).sum()))


def propose(*phrases: str, boxes: Sequence[Sequence[float]] = ()) -> Reply:
    call = ToolCall(name="propose", arguments={"phrases": list(phrases), "boxes": list(boxes)}, id="c")
    return Reply(calls=(call,), usage=Usage(requests=1))


def say(name: str, **arguments) -> Reply:
    return Reply(calls=(ToolCall(name=name, arguments=arguments, id="c"),), usage=Usage(requests=1))


def answer(request: str, judge, *replies: Reply, settings: Settings = HIGH, scene=SCENE):
    planner = ScriptedPlanner(replies=replies)
    hands = Hands(session=OracleSession(world=scene), image=scene.image, judge=judge)
    return run(request, scene.image, planner, hands, settings), planner


def test_the_best_of_several_phrases_is_found_by_comparing_and_the_rest_is_said_anew() -> None:
    judge = KnowsTheAnswer(SCENE.named("cup"), judges=False)
    outcome, planner = answer(BEYOND, judge, propose("table", "bottle"), propose("cup", "box"))
    assert (outcome.status, is_exact([mark.mask for mark in outcome.marks], SCENE.named("cup"))) == ("answered", True)
    assert len(planner.heard) == 2
    assert len(judge.compared) == 3  # table with bottle, the better with cup, cup with box
    said = [str(part) for message in planner.heard[1] for part in message.parts]
    assert any("Best so far: 'table'" in each and "Not better: 'bottle'" in each for each in said)


def test_a_box_of_the_planner_competes_with_phrases() -> None:
    bottle = SCENE.named("cup")[0]
    height, width = SCENE.image.shape[:2]
    drawn = (-(-width // 224) * 224, -(-height // 224) * 224)
    box = [1000 * value / drawn[place % 2] for place, value in enumerate(bottle.box)]
    judge = KnowsTheAnswer([bottle], judges=False)
    outcome, _ = answer(BEYOND, judge, propose("cup", "table", boxes=[box, [1, 2, 3000, 4]]), propose("box"))
    assert is_exact([mark.mask for mark in outcome.marks], [bottle])


def test_what_is_asked_in_the_query_language_is_a_hypothesis_too() -> None:
    for seed in range(8):
        scene = world(seed)
        for question in questions(scene, seed):
            judge = KnowsTheAnswer(question.answer)
            outcome, _ = answer(question.sentence, judge, propose("table"), propose("thing"), scene=scene)
            assert is_exact([mark.mask for mark in outcome.marks], question.answer), question.sentence
            assert outcome.status == ("answered" if question.answer else "none")


def test_masks_that_the_judge_rejects_are_taken_from_a_set_and_sets_without_any_are_lost() -> None:
    judge = KnowsTheAnswer(SCENE.named("cup")[:1])
    outcome, _ = answer(BEYOND, judge, propose("cup", "table"), propose("bottle"))
    assert is_exact([mark.mask for mark in outcome.marks], SCENE.named("cup")[:1])
    assert judge.compared == []  # nothing else was left
    assert outcome.confidence == 1.0
    outcome, _ = answer(BEYOND, KnowsTheAnswer([]), propose("cup", "table"), propose("bottle"))
    assert (outcome.status, outcome.reason, outcome.marks) == ("none", "absent", ())


def test_a_tie_keeps_what_was_there_and_a_set_is_compared_once() -> None:
    search = Search().proposed([Hypothesis(name="a", masks=("A1",)), Hypothesis(name="b", masks=("B1",))])
    assert isinstance(Search().move({}), WantProposals)
    assert search.move({}) == WantVerdicts(masks=("A1", "B1"))
    verdicts = {"A1": 0.6, "B1": 0.6, "C1": 0.9, "C2": 0.1}
    search = search.settled(verdicts)
    assert search.move(verdicts) == WantComparison(first=("A1",), second=("B1",))
    search = search.compared(0.5)
    assert (search.best, search.lost) == (Hypothesis(name="a", masks=("A1",)), ("b",))
    again = [Hypothesis(name="b again", masks=("B1",)), Hypothesis(name="c", masks=("C1", "C2"))]
    search = search.proposed(again).settled(verdicts)
    assert search.waiting == (Hypothesis(name="c", masks=("C1",)),)
    search = search.compared(0.2)
    assert isinstance(search.move(verdicts), WantNothing)
    assert search.confidence(verdicts) == pytest.approx(0.8)


@pytest.mark.parametrize(("said", "value"), [("first", 0.5), ("second", 0.5), ("equal", 0.5), ("nonsense", 0.5)])
def test_a_judge_that_favours_a_place_decides_nothing(said, value) -> None:
    marks = [
        Mark(id=key, phrases=("x",), score=1.0, box=(0, 0, 9, 9), mask=SCENE.things[0].mask) for key in ("A1", "B1")
    ]
    judge = ModelJudge(model=ScriptedPlanner(replies=(say("prefer", better=said),)))
    judged = judge.compare(SCENE.image, marks[:1], marks[1:], "x")
    assert (judged.probabilities, judged.usage.requests) == ((value,), 2)


def test_a_judge_that_knows_is_right_in_both_orders() -> None:
    class Sees:
        """Prefers the larger drawing's file, whichever comes first: the same one both times."""

        def reply(self, messages, tools) -> Reply:  # noqa: ARG002 - a protocol's
            first, second = (part for part in messages[0].parts if isinstance(part, Picture))
            return say("prefer", better="first" if len(first.data) > len(second.data) else "second")

    things = sorted(SCENE.things, key=lambda thing: thing.mask.sum())
    marks = [
        Mark(id="A1", phrases=("x",), score=1.0, box=thing.box, mask=thing.mask) for thing in (things[0], things[-1])
    ]
    judge = ModelJudge(model=Sees())
    one = judge.compare(SCENE.image, marks[:1], marks[1:], "x").probabilities[0]
    other = judge.compare(SCENE.image, marks[1:], marks[:1], "x").probabilities[0]
    assert {one, other} == {0.0, 1.0}


def test_many_masks_are_judged_on_sheets_and_the_unsure_ones_singly() -> None:
    class Sorts:
        def __init__(self) -> None:
            self.tools: list[str] = []

        def reply(self, messages, tools) -> Reply:  # noqa: ARG002 - a protocol's
            self.tools.append(tools[0].name)
            if tools[0].name == "verdict":
                return say("verdict", verdict="accept")
            return say("sort", accepted=["A1", "A2"], unsure=["A3"])

    marks = [
        Mark(id=f"A{n}", phrases=("x",), score=1.0, box=(0, 0, 9, 9), mask=SCENE.things[0].mask) for n in range(1, 31)
    ]
    model = Sorts()
    judged = ModelJudge(model=model).judge(SCENE.image, marks, "x")
    assert judged.probabilities == (1.0, 1.0, 1.0, *[0.0] * 27)
    assert (model.tools.count("sort"), model.tools.count("verdict"), judged.usage.requests) == (4, 1, 5)


def test_a_budget_or_a_server_that_dies_leaves_the_best_so_far() -> None:
    judge = KnowsTheAnswer(SCENE.named("cup"), judges=False)
    short = Settings(effort="high", budget=Budget(requests=8))
    outcome, _ = answer(BEYOND, judge, propose("cup", "table", "bottle"), settings=short)
    assert outcome.status == "budget"
    assert "requests were used up" in outcome.reason
    assert is_exact([mark.mask for mark in outcome.marks], SCENE.named("cup"))

    class Dies(ScriptedPlanner):
        def reply(self, messages, tools) -> Reply:
            if self.heard:
                raise ServerProblem("gone")
            return super().reply(messages, tools)

    hands = Hands(session=OracleSession(world=SCENE), image=SCENE.image, judge=KnowsTheAnswer(SCENE.named("cup")))
    outcome = run(BEYOND, SCENE.image, Dies(replies=(propose("cup"),)), hands, HIGH)
    assert (outcome.status, outcome.reason) == ("degraded", "gone")
    assert is_exact([mark.mask for mark in outcome.marks], SCENE.named("cup"))


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (say("segment", phrases=["cup"]), "segment is not offered now"),
        (say("answer", masks=["A1"]), "answer is not offered now"),
        (propose(), "propose: phrases"),
        (propose("cup", boxes=[[1, 2]]), "a box has four numbers"),
    ],
)
def test_what_fits_no_search_is_told(reply, sentence) -> None:
    outcome, planner = answer(BEYOND, KnowsTheAnswer([]), reply, say("answer_none", reason="absent"))
    assert sentence in str(planner.heard[1][-1].parts[0])
    assert outcome.status == "none"


def test_a_search_runs_again_byte_for_byte(tmp_path) -> None:
    judge = KnowsTheAnswer(SCENE.named("cup"), judges=False)
    outcome, _ = answer("the cups on the table", judge, propose("table", "cup"), propose("cup", "box"))
    path = Recorder(lines=list(outcome.trace)).write(tmp_path / "trace.jsonl")
    again = run_again(Tape.open(path), SCENE.image, HIGH)
    assert again.trace == outcome.trace
