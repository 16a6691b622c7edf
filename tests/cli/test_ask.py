"""`masklet ask` with a model that knows two mugs and a table."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from fault_server import chat_server, said
from PIL import Image

import masklet
from masklet import cli
from masklet.query.answer import Answer
from masklet.query.evaluate import ask
from masklet.query.nodes import Node

BOXES = {"mug": [(10, 20, 30, 42), (70, 80, 90, 95)], "table": [(0, 40, 60, 60)]}


@dataclass(frozen=True)
class Found:
    phrases: tuple[str, ...]
    scores: np.ndarray
    boxes: np.ndarray
    presence: dict[str, float]

    def __len__(self) -> int:
        return len(self.phrases)

    def mask(self, index: int, *, cut: float = 0.5) -> np.ndarray:  # noqa: ARG002 - bools
        x0, y0, x1, y1 = self.boxes[index].astype(int)
        mask = np.zeros((100, 100), bool)
        mask[y0:y1, x0:x1] = True
        return mask


shown: list[Node] = []


class Fake:
    def ask(self, image: Path, question: Node, *, threshold: float) -> Answer:
        def find(phrases, least):  # noqa: ARG001
            rows = [(phrase, box) for phrase in phrases for box in BOXES.get(phrase, [])]
            boxes = np.array([box for _, box in rows], np.float32).reshape(-1, 4)
            presence = {phrase: 0.9 if phrase in BOXES else 0.1 for phrase in phrases}
            return Found(tuple(phrase for phrase, _ in rows), np.full(len(rows), 0.9, np.float32), boxes, presence)

        def like(concept, least):
            shown.append(concept)
            return find([concept.phrase], least)

        pixels = np.asarray(Image.open(image).convert("RGB"))
        return replace(ask(find, pixels, question, threshold=threshold, like=like), path=image)


@pytest.fixture
def photo(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(masklet, "load", lambda *_, **__: Fake(), raising=False)
    Image.new("RGB", (100, 100)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_an_answer_is_counted_explained_and_drawn(photo, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert cli.main(["ask", str(photo), "the mug on the table", "--explain", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert 'read as related("mug", on, "table")' in printed
    assert "looked for: mug (0.90), table (0.90)" in printed
    assert 'without mug 2: on some "table"' in printed
    assert (out / "photo.overlay.png").is_file()
    drawn = np.asarray(Image.open(out / "photo.explained.png"))  # enlarged; the photo is black
    kept, left_out, helped = (
        drawn[y * drawn.shape[1] // 100, x * drawn.shape[1] // 100] for x, y in ((12, 36), (88, 88), (4, 56))
    )
    assert max(kept) - min(kept) > 10  # a colour
    assert left_out.max() == left_out.min() < helped.max() == helped.min()  # grey, and lighter


def test_json_holds_the_readings_and_the_instances(photo, capsys) -> None:
    assert cli.main(["ask", str(photo), "the two largest mugs", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["readings"] == ['ranked("mug", large, 1, 2)']
    assert [each["box"] for each in printed["instances"]] == [list(map(float, box)) for box in BOXES["mug"]]
    assert printed["files"] == []


def test_what_is_not_there_is_nothing_found(photo, tmp_path, capsys) -> None:
    assert cli.main(["ask", str(photo), "dogs", "--out", str(tmp_path / "out")]) == 0
    assert "photo.png: 0 (nothing found)" in capsys.readouterr().out


def test_a_sentence_that_cannot_be_read_is_refused_before_a_model_is_loaded(monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(masklet, "load", lambda *_, **__: pytest.fail("loaded"), raising=False)
    assert cli.main(["ask", str(tmp_path / "no.png"), "the dog that wants a ball"]) == 1
    assert "the word 'wants' cannot be placed" in capsys.readouterr().err


class FakeModel:
    """Opens images on which mugs and a table stand where `BOXES` says."""

    def open(self, image):  # noqa: ARG002 - any
        class Session:
            size = (100, 100)

            def find(self, phrases, **_):
                rows = [(phrase, box) for phrase in phrases for box in BOXES.get(phrase, [])]
                boxes = np.array([box for _, box in rows], np.float32).reshape(-1, 4)
                presence = {phrase: 0.9 if phrase in BOXES else 0.1 for phrase in phrases}
                return Found(tuple(phrase for phrase, _ in rows), np.full(len(rows), 0.9, np.float32), boxes, presence)

            def click(self, *_, **__):
                raise NotImplementedError

            def close(self) -> None:
                return

            def __enter__(self):
                return self

            def __exit__(self, *_):
                return None

        return Session()


@pytest.fixture
def agent_photo(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(masklet, "load", lambda *_, **__: FakeModel(), raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Image.new("RGB", (100, 100)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def seeing(body):
    """A server whose model sees, proposes mugs, prefers what comes first, and accepts what it judges."""
    schema = body.get("response_format", {}).get("json_schema", {}).get("schema", {})
    words = json.dumps(body["messages"])
    if "bounding box" in words:
        return said({"content": "I cannot say"})
    if "largest shape" in words:
        first = "red" if len([m for m in seen if "largest shape" in m]) % 2 == 0 else "blue"
        seen.append("largest shape")
        return said({"content": json.dumps({"tool": "echo", "arguments": {"colour": first}})})
    seen.append(words)
    names = re.findall(r'"enum": \["(\w+)"\]', json.dumps(schema))
    for name, arguments in (
        ("echo", {"colour": "green"}),
        ("verdict", {"verdict": "accept"}),
        ("prefer", {"better": "first"}),
        ("propose", {"phrases": ["mug", "table"]}),
        ("segment", {"phrases": ["mug"]}),
    ):
        if name in names and not (name == "segment" and "A1 | mug" in words):
            return said({"content": json.dumps({"tool": name, "arguments": arguments})})
    return said({"content": json.dumps({"tool": "answer", "arguments": {"masks": ["A1"]}})})


seen: list[str] = []


def test_the_agent_answers_by_rules_and_leaves_a_trace(agent_photo, tmp_path, capsys) -> None:
    record, out = tmp_path / "traces", tmp_path / "out"
    arguments = ["--planner", "rules", "--record", str(record), "--out", str(out)]
    assert cli.main(["ask", str(agent_photo), "the mug on the table", *arguments]) == 0
    assert "answered: mug" in capsys.readouterr().out
    assert (out / "photo.png").is_file()
    lines = [json.loads(line) for line in (record / "photo.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["begin", "ask", "reply", "ran", "ask", "reply", "finish"]
    assert cli.main(["ask", str(agent_photo), "--replay", str(record / "photo.jsonl")]) == 0
    assert "runs again as it was recorded\nanswered: A1" in capsys.readouterr().out
    assert cli.main(["ask", "--show", str(record / "photo.jsonl")]) == 0
    page = (record / "photo.html").read_text()
    assert "<h1>the mug on the table</h1>" in page
    assert "query {&quot;question&quot;" in page
    assert "<script" not in page
    Image.new("RGB", (100, 100), "red").save(agent_photo)
    assert cli.main(["ask", str(agent_photo), "--replay", str(record / "photo.jsonl")]) == 1
    assert "line 1 (begin) differs from the trace in image" in capsys.readouterr().err
    assert cli.main(["ask", "--replay", str(record / "photo.jsonl")]) == 2
    assert "a trace runs again on its image" in capsys.readouterr().err


@pytest.mark.parametrize(("effort", "status"), [("normal", "answered"), ("high", "answered")])
def test_a_model_that_sees_is_shown_candidates_and_compares_them_at_high_effort(
    agent_photo, effort, status, capsys
) -> None:
    seen.clear()
    with chat_server(seeing) as (url, requests):
        arguments = ["ask", str(agent_photo), "what one drinks from", "--planner", url, "--effort", effort, "--json"]
        assert cli.main(arguments) == 0
        printed = json.loads(capsys.readouterr().out)
        first = len(requests)
        assert cli.main(arguments) == 0
    assert printed["status"] == status, printed
    assert {each["phrase"] for each in printed["instances"]} == {"mug"}
    assert ("Best so far: 'mug'" in " ".join(seen)) is (effort == "high")
    assert any("id | phrase | score" in each for each in seen)
    probes = 1 + 2 + 2  # a way to call tools, two images, two boxes
    assert len(requests) - first == first - probes  # what the server can do was kept


READ_FILE = json.dumps({"tool": "read_file", "arguments": {"path": "/etc/passwd"}})


@pytest.mark.parametrize(
    ("said_then", "reason"),
    [
        ("It is in the picture. " * 50_000, "the reply holds no tool call"),  # a megabyte
        (READ_FILE, "there is no tool 'read_file'"),  # as an order that is written in a picture would have it
        ('{"tool": "answer", "arguments": {"masks": ["../../etc"]}}', "'../../etc' does not exist; available: A1"),
        ('{"tool": "answer"', "answer: masks: Field required"),
    ],
)
def test_whatever_a_model_says_ends_with_a_sentence_and_what_was_found(agent_photo, capsys, said_then, reason) -> None:
    def behave(body):
        words = json.dumps(body["messages"])
        if "A1 | mug" in words:
            return said({"content": said_then})
        return seeing(body)

    seen.clear()
    with chat_server(behave) as (url, _):
        assert cli.main(["ask", str(agent_photo), "the mug one drinks from", "--planner", url, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["status"] == "degraded"
    assert "the planner made 6 mistakes; the last: " in printed["reason"]
    assert reason in printed["reason"]
    assert {each["phrase"] for each in printed["instances"]} == {"mug"}


def test_the_published_loop_can_be_asked_for(agent_photo, tmp_path, capsys) -> None:
    def behave(body):
        if "segment_phrase" not in json.dumps(body["messages"]):
            return seeing(body)
        if "gives 2 masks" in json.dumps(body["messages"]):
            chosen = {"name": "select_masks_and_return", "parameters": {"final_answer_masks": [2]}}
            return said({"content": f"<tool>{json.dumps(chosen)}</tool>"})
        return said({"content": '<tool>{"name": "segment_phrase", "parameters": {"text_prompt": "mug"}}</tool>'})

    seen.clear()
    with chat_server(behave) as (url, _):
        arguments = ["ask", str(agent_photo), "the second mug", "--planner", url, "--mode", "classic"]
        assert cli.main([*arguments, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (printed["status"], [each["id"] for each in printed["instances"]]) == ("answered", ["A1"])
        assert cli.main([*arguments, "--record", str(tmp_path)]) == 1
        assert "the published loop keeps no trace" in capsys.readouterr().err


def test_a_server_plans_and_is_checked(agent_photo, capsys) -> None:
    def behave(body):
        content = body["messages"][-1]["content"]
        words = content if isinstance(content, str) else ""
        if "echo" in words and isinstance(content, str):
            return said({"content": '{"tool": "echo", "arguments": {"colour": "green"}}'})
        if len(body["messages"]) == 2:
            return said({"content": '{"tool": "segment", "arguments": {"phrases": ["mug"]}}'})
        return said({"content": '{"tool": "answer", "arguments": {"masks": ["A1"]}}'})

    with chat_server(behave) as (url, _):
        assert cli.main(["ask", str(agent_photo), "what one drinks from", "--planner", url, "--json"]) == 0
        printed = json.loads(capsys.readouterr().out)
        assert (printed["status"], printed["reason"]) == ("answered", "")
        assert [each["id"] for each in printed["instances"]] == ["A1"]
        assert cli.main(["ask", "--check", url]) == 0
    assert "does not see images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--planner", "https://api.example.com/v1"], "allow it with --allow-remote"),
        (["--planner", "nonsense"], "is no address of a server"),
        (["--planner", "rules", "--mode", "wild"], "unknown mode 'wild'"),
        (["--planner", "rules", "--effort", "huge"], "unknown effort 'huge'"),
        (["--planner", "rules", "--effort", "high"], "--effort high needs a language model"),
        (["--planner", "rules", "--mode", "classic"], "--mode classic needs a language model"),
        (["--planner", "rules", "--budget", "rounds=0"], "'rounds=0' is no limit"),
        (["--planner", "rules", "--budget", "money=3"], "'money=3' is no limit"),
        (["--planner", "rules", "--verifier", "nowhere"], "nowhere has no verifier"),
        (["--show", "nowhere.jsonl"], "is not a trace of the agent"),
    ],
)
def test_planners_that_cannot_be_used_are_refused(agent_photo, arguments, sentence, capsys) -> None:
    assert cli.main(["ask", str(agent_photo), "mugs", *arguments]) in (1, 2)
    assert sentence in capsys.readouterr().err


def test_a_dead_server_is_one_sentence(agent_photo, capsys) -> None:
    assert cli.main(["ask", str(agent_photo), "mugs", "--planner", "http://127.0.0.1:9/v1"]) == 1
    assert "no way of calling a tool worked" in capsys.readouterr().err


def test_the_tools_are_printed_as_schemas(capsys) -> None:
    assert cli.main(["ask", "--tools-schema"]) == 0
    assert {each["type"] for each in json.loads(capsys.readouterr().out)} == {"function"}


def test_without_an_image_or_a_question_it_says_what_is_missing(capsys) -> None:
    assert cli.main(["ask"]) == 2
    assert "ask needs an image and a question" in capsys.readouterr().err


def test_boxes_show_what_a_concept_of_the_question_means(photo, capsys) -> None:
    shown.clear()
    assert cli.main(["ask", str(photo), "the leftmost mug on the table", "--box", "mug=10,20,30,42", "--json"]) == 0
    assert [(each.phrase, each.boxes) for each in shown] == [("mug", ((10, 20, 30, 42),))]
    assert len(json.loads(capsys.readouterr().out)["instances"]) == 1
    assert cli.main(["ask", str(photo), "mugs", "--box", "10,20,30,42", "--json"]) == 0
    assert len(shown) == 2


@pytest.mark.parametrize(
    ("box", "sentence"),
    [("dog=1,2,3,4", "no concept 'dog'"), ("1,2,3,4", "several concepts"), ("mug=1,2,3", "box")],
)
def test_a_box_that_shows_no_concept_of_the_question_is_refused(photo, capsys, box, sentence) -> None:
    assert cli.main(["ask", str(photo), "the mug on the table", "--box", box]) in (1, 2)
    assert sentence in capsys.readouterr().err
