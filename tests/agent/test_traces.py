"""A request that was recorded goes the same way again, byte for byte, with no model; any change is named."""

import json

import pytest
from toy_world import OracleSession, world

from masklet.agent.episode import run, run_again
from masklet.agent.hands import Hands
from masklet.agent.judge import ModelJudge
from masklet.agent.planners import ScriptedPlanner
from masklet.agent.state import Settings
from masklet.agent.traces.trace import Mismatch, Recorder, Tape
from masklet.errors import InputError
from masklet.llm.messages import Reply, ToolCall, Usage
from masklet.llm.server import ServerProblem

SCENE = world(2)
SETTINGS = Settings(is_fast=False)


def call(name: str, **arguments) -> Reply:
    return Reply(calls=(ToolCall(name=name, arguments=arguments, id="c"),), usage=Usage(requests=1, prompt_tokens=7))


def script() -> ScriptedPlanner:
    replies = (
        call("segment", phrases=["cup", "box"]),
        Reply(text="I do not know", problem="the reply holds no tool call"),
        call("inspect", masks=["A1", "A2"]),
        call("judge", masks=["A1", "A2"]),
        call("facts", sort="x"),
        call("answer", masks=["A2", "A1"], confidence=0.9),
    )
    return ScriptedPlanner(replies=replies)


def record(tmp_path, planner=None, *, keep_images: bool = True):
    judge = ModelJudge(
        model=ScriptedPlanner(replies=(call("verdict", verdict="accept"), call("verdict", verdict="who knows"))),
        workers=1,
    )
    hands = Hands(session=OracleSession(world=SCENE), image=SCENE.image, judge=judge)
    outcome = run("the cups", SCENE.image, planner or script(), hands, SETTINGS, keep_images=keep_images)
    recorder = Recorder(lines=list(outcome.trace))
    return outcome, recorder.write(tmp_path / "trace.jsonl")


@pytest.mark.parametrize("keep_images", [True, False])
def test_a_trace_runs_again_byte_for_byte(tmp_path, keep_images) -> None:
    outcome, path = record(tmp_path, keep_images=keep_images)
    again = run_again(Tape.open(path), SCENE.image, SETTINGS)
    if keep_images:
        assert again.trace == outcome.trace
    assert [mark.id for mark in again.marks] == ["A2", "A1"]
    assert again.usage == outcome.usage
    assert outcome.usage.requests == 5 + 2  # a reply without usage costs nothing
    ran = [json.loads(line) for line in outcome.trace if '"kind":"ran"' in line]
    assert next(each["verdicts"] for each in ran if each["verdicts"]) == {"A1": 1.0, "A2": 0.5}


def test_a_server_that_died_dies_again(tmp_path) -> None:
    class Dying:
        def __init__(self) -> None:
            self.left = 1

        def reply(self, messages, tools):  # noqa: ARG002 - a protocol's
            self.left -= 1
            if self.left < 0:
                raise ServerProblem("gone")
            return call("segment", phrases=["cup"])

    outcome, path = record(tmp_path, Dying())
    assert outcome.status == "degraded"
    assert run_again(Tape.open(path), SCENE.image, SETTINGS).trace == outcome.trace


def test_another_image_another_rule_and_a_changed_trace_are_named(tmp_path) -> None:
    _, path = record(tmp_path)
    with pytest.raises(Mismatch, match=r"line 1 \(begin\) differs from the trace in image"):
        run_again(Tape.open(path), 255 - SCENE.image, SETTINGS)
    with pytest.raises(Mismatch, match=r"differs from the trace in .*settings"):
        run_again(Tape.open(path), SCENE.image, Settings(is_fast=False, can_ground=False))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-2], lines[-1]]))
    with pytest.raises(Mismatch, match="the trace"):
        run_again(Tape.open(path), SCENE.image, SETTINGS)


@pytest.mark.parametrize("content", ["", "{", '{"kind": "begin", "version": 99}', "[1]", '{"a": 1}', "\x00"])
def test_what_is_no_trace_is_refused(tmp_path, content) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(InputError, match=r"x\.jsonl is not a trace of the agent"):
        Tape.open(tmp_path / "x.jsonl")
