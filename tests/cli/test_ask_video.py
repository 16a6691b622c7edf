"""`masklet ask` on a video, and `masklet track --exclusive`, with a session whose objects are scripted."""

import itertools
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from frame_results import make, rectangle
from PIL import Image

import masklet
from masklet import cli

COUNT, SIZE = 8, (60, 100)
TABLE = (5, 30, 60, 55)


def boxes(index):
    """Mug 1 stays on the table, mug 3 leaves it after frame 3; 4 is mug 1 once more, as a cup."""
    mug = (35, 15, 47, 31) if index < 4 else (80, 2, 92, 18)
    return {1: ("mug", (10, 15, 22, 31)), 2: ("table", TABLE), 3: ("mug", mug), 4: ("cup", (10, 15, 22, 31))}


class FakeSession:
    def __init__(self, model, source, phrases, position=0):
        self.model, self.source, self.phrases, self.position = model, source, phrases, position

    def add_concept(self, phrase=None, *, boxes=(), frame=None):  # noqa: ARG002
        self.phrases.append(phrase)

    def track(self, *, start=None, stop=None, step=1):
        for frame in self.source.frames(start or 0, stop, step):
            if frame.index == self.model.interrupt_at:
                self.model.interrupt_at = None
                os.kill(os.getpid(), signal.SIGINT)
            self.position = frame.index + step
            found = {n: each for n, each in boxes(frame.index).items() if each[0] in self.phrases}
            yield make(
                [rectangle(SIZE, *box) for _, box in found.values()],
                [0.9] * len(found),
                ids=list(found),
                concepts=[phrase for phrase, _ in found.values()],
                image=frame.pixels,
                index=frame.index,
            )

    def save(self, path):
        Path(path).write_text(json.dumps([self.phrases, self.position]))

    def close(self):
        return


class FakeModel:
    interrupt_at = None

    def open_video(self, source, *, delay=None, calibration=None):  # noqa: ARG002
        return FakeSession(self, source, [])

    def resume_video(self, path, source):
        return FakeSession(self, source, *json.loads(Path(path).read_text()))


@pytest.fixture
def model(monkeypatch, tmp_path):
    fake = FakeModel()
    monkeypatch.setattr(masklet, "load", lambda *_, **__: fake, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("clip").mkdir()
    for number in range(COUNT):
        Image.fromarray(np.full((*SIZE, 3), 20 * number, np.uint8)).save(f"clip/{number}.png")
    return fake


def shown(path="out/frames.jsonl"):
    return [json.loads(line)["ids"] for line in Path(path).read_text().splitlines()]


def test_a_video_is_answered_by_identities_that_come_and_go_once(model, capsys) -> None:  # noqa: ARG001
    assert cli.main(["ask", "clip", "the mugs on the table", "--format", "overlay,json"]) == 0
    printed = capsys.readouterr().out
    assert 'read as related("mug", on, "table")' in printed
    assert "mug #1 on 0-7, mug #3 on 0-" in printed
    assert Path("out/overlay.mp4").stat().st_size > 0
    frames = shown()
    assert frames[0] == [1, 3]
    assert frames[-1] == [1]
    assert sum(one != other for one, other in itertools.pairwise(frames)) == 1


def test_what_changes_is_explained_and_json_has_a_line_a_frame(model, capsys) -> None:  # noqa: ARG001
    assert cli.main(["ask", "clip", "the mugs on the table", "--explain", "--format", "json"]) == 0
    printed = capsys.readouterr().out
    assert "frame 0: mug 2, table 1" in printed
    assert 'without mug #3: on some "table"' in printed
    assert printed.count("frame ") == 2
    assert cli.main(["ask", "clip", "the leftmost mug", "--json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["ids"] for line in lines] == [[1]] * COUNT


@pytest.mark.parametrize(
    ("command", "more"), [(["ask", "clip", "mugs that are on the table"], []), (["track", "clip"], ["--exclusive"])]
)
def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(model, capsys, command, more) -> None:
    phrases = ["-p", "mug", "-p", "cup"] if command[0] == "track" else []
    arguments = [*command, *phrases, *more, "--format", "json"]
    assert cli.main([*arguments, "--out", "whole"]) == 0
    for stop in (2, 5):
        out = f"stopped-{stop}"
        model.interrupt_at = stop
        assert cli.main([*arguments, "--out", out]) == 130
        assert len(shown(f"{out}/frames.jsonl")) < COUNT
        assert cli.main([*arguments, "--out", out, "--resume"]) == 0
        assert shown(f"{out}/frames.jsonl") == shown("whole/frames.jsonl")
        assert [path.suffix for path in Path(out).glob("session-*")].count(".json") <= 1
    assert "go on with --resume" in capsys.readouterr().err


def test_another_question_cannot_go_on_with_a_run(model, capsys) -> None:
    model.interrupt_at = 2
    assert cli.main(["ask", "clip", "the mugs on the table"]) == 130
    assert cli.main(["ask", "clip", "the leftmost mug on the table", "--resume"]) == 1
    assert "begun with another question" in capsys.readouterr().err


def test_rival_phrases_have_one_owner_when_asked_for(model) -> None:  # noqa: ARG001
    arguments = ["track", "clip", "-p", "mug", "-p", "cup", "--format", "json"]
    assert cli.main([*arguments, "--out", "both"]) == 0
    assert cli.main([*arguments, "--exclusive", "--out", "one"]) == 0
    assert shown("both/frames.jsonl") == [[1, 3, 4]] * COUNT
    assert shown("one/frames.jsonl") == [[1, 3]] * COUNT


def test_what_cannot_be_asked_of_a_video_is_one_sentence(model, capsys) -> None:  # noqa: ARG001
    assert cli.main(["ask", "clip", "the mug that wants tea"]) == 1
    assert "the word 'wants' cannot be placed" in capsys.readouterr().err
    assert cli.main(["ask", "clip", "mugs", "--planner", "rules"]) == 2
    assert "the agent answers images only" in capsys.readouterr().err
    assert cli.main(["ask", "clip", "mugs", "--format", "coco"]) == 2
    assert "unknown format 'coco'" in capsys.readouterr().err
