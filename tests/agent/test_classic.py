"""The published loop, message by message, and each way in which the published one lost an episode."""

import json
from dataclasses import dataclass, field

import pytest
from toy_world import OracleSession, world

from masklet.agent.classic import SYSTEM, Classic
from masklet.agent.hands import Hands
from masklet.agent.judge import JudgedMasks
from masklet.agent.planners import ScriptedPlanner
from masklet.llm.calls import calls_in
from masklet.llm.messages import Picture, Reply, Usage

SCENE = world(13)  # two tables, two cups, four boxes, a bottle


@dataclass
class FirstIsRight:
    """Accepts the first mask of those it is shown."""

    asked: list[int] = field(default_factory=list)

    def judge(self, image, marks, question) -> JudgedMasks:  # noqa: ARG002 - a protocol's
        self.asked.append(len(marks))
        return JudgedMasks(probabilities=(1.0, *[0.0] * (len(marks) - 1)), usage=Usage(requests=len(marks)))

    def compare(self, image, first, second, question) -> JudgedMasks:  # noqa: ARG002 - a protocol's
        raise AssertionError("the published loop compares nothing")


def said(name: str, after: str = "", **parameters) -> Reply:
    text = f"<think>so</think><tool>{json.dumps({'name': name, 'parameters': parameters})}</tool>{after}"
    calls, problem = calls_in(text, frozenset({name}))
    return Reply(text=text, calls=calls, problem=problem, usage=Usage(requests=1))


def loop(*replies: Reply, rounds: int = 100):
    planner = ScriptedPlanner(replies=replies)
    hands = Hands(session=OracleSession(world=SCENE), image=SCENE.image)
    outcome = Classic(image=SCENE.image, hands=hands, planner=planner, judge=FirstIsRight()).run("the things", rounds)
    return outcome, planner


def shape(messages) -> list[tuple[str, int, str]]:
    """Role, images and the words of each message."""
    words = [next((part for part in message.parts if isinstance(part, str)), "") for message in messages]
    return [(message.role, message.pictures, text) for message, text in zip(messages, words, strict=True)]


def test_the_transcript_is_the_published_one_message_by_message() -> None:
    outcome, planner = loop(
        said("segment_phrase", after="and more", text_prompt="unicorn"),
        said("segment_phrase", text_prompt="cup"),
        said("examine_each_mask"),
        said("select_masks_and_return", final_answer_masks=[1, 1, 9]),
    )
    assert (outcome.status, outcome.rounds, len(outcome.finds)) == ("answered", 4, 1)
    assert outcome.usage.requests == 4 + 2
    unicorn = '<think>so</think><tool>{"name": "segment_phrase", "parameters": {"text_prompt": "unicorn"}}</tool>'
    cup, examine = (
        unicorn.replace("unicorn", "cup"),
        '<think>so</think><tool>{"name": "examine_each_mask", "parameters": {}}</tool>',
    )
    begin, again = "Request: the things", "Request: the things\nNot satisfactory, and not to be used again: unicorn"
    assert [shape(heard) for heard in planner.heard] == [
        [("system", 0, SYSTEM), ("user", 1, begin)],
        [
            ("system", 0, SYSTEM),
            ("user", 1, begin),
            ("assistant", 0, unicorn),
            ("user", 0, "'unicorn' gives no mask. Try a more general or another phrase."),
        ],
        [
            ("system", 0, SYSTEM),
            ("user", 1, again),
            ("assistant", 0, cup),
            ("user", 1, "'cup' gives 2 masks, numbered 1 to 2."),
        ],
        [
            ("system", 0, SYSTEM),
            ("user", 1, again),
            ("assistant", 0, cup),
            ("user", 0, "'cup' gives 2 masks, numbered 1 to 2."),
            ("assistant", 0, examine),
            ("user", 1, "1 of 2 masks were accepted, now numbered 1 to 1."),
        ],
    ]


@pytest.mark.parametrize(
    ("replies", "sentence"),
    [
        ((Reply(text="hello", problem="the reply holds no tool call"),), "the reply holds no tool call"),
        ((said("examine_each_mask"),), "the first call is segment_phrase"),
        ((said("select_masks_and_return", final_answer_masks=[1]),), "the first call is segment_phrase"),
        ((said("segment_phrase", text_prompt="cup"), said("segment_phrase", text_prompt="cup")), "was used before"),
        ((said("segment_phrase", text_prompt="unicorn"), said("examine_each_mask")), "there is no mask to examine"),
        (
            (said("segment_phrase", text_prompt="cup"), said("select_masks_and_return", final_answer_masks=[7])),
            "there are 2 masks",
        ),
        (
            (said("segment_phrase", text_prompt="cup"), said("select_masks_and_return", final_answer_masks=["1"])),
            "there are 2 masks",
        ),
        ((said("segment_phrase", text_prompt="cup"), said("wave")), "there is no tool 'wave'"),
        ((said("segment_phrase", text_prompt=" "),), "text_prompt is empty"),
    ],
)
def test_what_lost_an_episode_is_told(replies, sentence) -> None:
    outcome, planner = loop(*replies, said("report_no_mask"))
    assert sentence in str(planner.heard[-1][-1].parts[0])
    assert (outcome.status, outcome.finds) == ("none", ())


def test_a_phrase_that_is_a_path_and_a_repeat_before_examining_do_no_harm() -> None:
    outcome, _ = loop(
        said("segment_phrase", text_prompt="cup"),
        said("segment_phrase", text_prompt="cup"),
        said("examine_each_mask"),
        said("segment_phrase", text_prompt="../box"),
        said("segment_phrase", text_prompt="box"),
        said("select_masks_and_return", final_answer_masks=[1, 2]),
    )
    assert (outcome.status, len(outcome.finds)) == ("answered", 2)


def test_the_round_limit_keeps_the_masks_and_few_messages_are_sent() -> None:
    replies = [said("segment_phrase", text_prompt=word) for word in ("cup", "table", "bottle", "box")]
    outcome, planner = loop(*replies, said("examine_each_mask"), rounds=12)
    assert (outcome.status, len(outcome.finds)) == ("budget", 1)
    for heard in planner.heard[:5]:
        assert len(heard) < 10
        assert sum(isinstance(part, Picture) for message in heard for part in message.parts) <= 2
