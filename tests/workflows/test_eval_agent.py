"""The agent on a benchmark made by hand: figures, costs, and a second run that asks nothing again."""

import json

import numpy as np
import pytest
from PIL import Image
from toy_world import OracleSession, world

import masklet
from masklet import cli
from masklet.cli.evaluation import agent as agent_command
from masklet.formats import referring
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


def test_our_own_set_is_made_and_scored_by_exact_sets(tmp_path, monkeypatch, capsys) -> None:
    from masklet.scenes.own_questions import draw_own_scene
    from masklet.workflows.evaluation import own_set

    items = own_set.own_items
    monkeypatch.setattr(own_set, "own_items", lambda sizes, _: items(sizes, 36))
    scenes = {}

    class Seeing:
        """Knows the scenes by their pixels; of a photo it finds nothing."""

        def open(self, image):
            for seed in range(20):
                scene = scenes.setdefault(seed, draw_own_scene(seed))
                if scene.image.shape == image.shape and np.array_equal(scene.image, image):
                    return Oracle.open(self, scene)
            return Oracle.open(self, Blank())

    class Blank:
        def named(self, phrase):  # noqa: ARG002
            return []

    def opened(_, seen):
        class Session(OracleSession):
            def __enter__(self):
                return self

            def __exit__(self, *_):
                return None

        return Session(world=seen)

    monkeypatch.setattr(Oracle, "open", opened)
    monkeypatch.setattr(masklet, "load", lambda *_, **__: Seeing(), raising=False)
    assert cli.main(["eval", "agent", "own", "--out", str(tmp_path / "out"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    kept = {json.loads(line)["id"]: json.loads(line) for line in (tmp_path / "out" / "answers.jsonl").open()}
    labels = json.loads((tmp_path / "out" / "set" / "own.json").read_text())["sentences"]
    assert figures["sentences"] == len(kept) == len(labels) == 36
    photos = [each for each in labels if not each["id"].startswith("scene")]
    empty = sum(not each["instances"] for each in photos)
    assert figures["exact"] == pytest.approx((36 - len(photos) + empty) / 36)
    assert figures["exact where nothing is meant"] == 1
    assert {"exact negation", "exact order", "exact count", "count gIoU"} <= figures.keys()


def test_descriptions_are_scored_by_boxes(benchmark, tmp_path, capsys) -> None:
    (first, *_) = sorted(SCENE.named("cup"), key=lambda thing: thing.centre)
    x0, y0, x1, y1 = map(int, first.box)
    kinds = [("the leftmost cup", "object_description"), ("dragon", "object_category"), ("cup", "object_category")]
    described = [
        {"id": place, "text": text, "image_ids": [1], "anno_info": {"type": kind}}
        for place, (text, kind) in enumerate(kinds)
    ]
    boxes = [[x0, y0, x1 - x0, y1 - y0]]
    boxes += [
        [int(t.box[0]), int(t.box[1]), int(t.box[2] - t.box[0]), int(t.box[3] - t.box[1])]
        for t in SCENE.named("cup")
        if t is not first
    ]
    objects = [
        {"id": place, "image_id": 1, "bbox": box, "description_ids": [0, 2] if place == 0 else [2]}
        for place, box in enumerate(boxes)
    ]
    labels = {"images": [{"id": 1, "file_name": "a.jpg"}], "descriptions": described, "annotations": objects}
    (tmp_path / "omni.json").write_text(json.dumps(labels))
    out = tmp_path / "o"
    arguments = ["--gt", str(tmp_path / "omni.json"), "--images", str(benchmark), "--out", str(out), "--json"]
    assert cli.main(["eval", "agent", "omnilabel", *arguments]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["AP descr"] == figures["AP categ"] == pytest.approx(1)
    assert figures["AP"] == pytest.approx(1, abs=1e-4)


def test_labels_are_asked_for_where_a_benchmark_needs_them(capsys) -> None:
    assert cli.main(["eval", "agent", "reasonseg"]) == 2
    assert "give the labels with --gt" in capsys.readouterr().err


def test_help_names_every_benchmark_that_there_is() -> None:
    assert set(agent_command.BENCHMARKS) == set(referring.BENCHMARKS)
