"""The agent on a benchmark made by hand: figures, costs, and a second run that asks nothing again."""

import json

import numpy as np
import pytest
from PIL import Image
from toy_world import OracleSession, world

import masklet
from masklet import cli
from masklet.ops.masks import mask_to_polygons

SCENE = world(2)


class Oracle:
    """A model that sees all that is drawn; counts the images that it opened."""

    opened = 0

    def open(self, image):  # noqa: ARG002 - a protocol's
        Oracle.opened += 1

        class Session(OracleSession):
            def __enter__(self):
                return self

            def __exit__(self, *_):
                return None

        return Session(world=SCENE)


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    monkeypatch.setattr(masklet, "load", lambda *_, **__: Oracle(), raising=False)
    Oracle.opened = 0
    cups = sorted(SCENE.named("cup"), key=lambda thing: thing.centre)
    outline = [[float(x), float(y)] for x, y in np.asarray(mask_to_polygons(cups[0].mask)[0])]
    shapes = [{"label": "target", "points": outline}]
    labels = {"text": ["the leftmost cup", "the rightmost cup"], "is_sentence": False, "shapes": shapes}
    (tmp_path / "a.json").write_text(json.dumps(labels))
    Image.fromarray(SCENE.image).save(tmp_path / "a.jpg")
    return tmp_path


def ask(folder, out, *more: str) -> int:
    arguments = ["--gt", str(folder), "--images", str(folder), "--out", str(out), "--json", *more]
    return cli.main(["eval", "agent", "reasonseg", *arguments])


def test_right_and_wrong_answers_are_scored_and_kept(benchmark, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert ask(benchmark, out) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["gIoU"] == pytest.approx(0.5, abs=0.01)  # the second sentence means another cup
    assert (figures["sentences"], figures["ended answered"], figures["mean requests"]) == (2, 1, 0)
    assert figures["short gIoU"] == figures["gIoU"]
    assert Oracle.opened == 1
    (out / "answers.jsonl").write_text((out / "answers.jsonl").read_text() + '{"id": "cut')
    assert ask(benchmark, out) == 0
    assert Oracle.opened == 1
    assert json.loads(capsys.readouterr().out)["gIoU"] == figures["gIoU"]
    assert ask(benchmark, out, "--model", "other") == 1
    assert "other arguments" in capsys.readouterr().err


def test_a_benchmark_that_is_none_is_refused(tmp_path, capsys) -> None:
    assert (
        cli.main(
            ["eval", "agent", "coco", "--gt", str(tmp_path), "--images", str(tmp_path), "--out", str(tmp_path / "o")]
        )
        == 1
    )
    assert "unknown benchmark 'coco'" in capsys.readouterr().err
