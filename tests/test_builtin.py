"""The built-in model and the command line as a new user meets them: real weights, a real photo, no stand-ins."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import masklet
from masklet.ops.masks import mask_iou
from masklet.scenes.layout import SceneConfig
from masklet.scenes.moving.clips import render_clip

PHOTO = Path(masklet.__file__).parent / "assets" / "coins.jpg"


@pytest.fixture(scope="module")
def model() -> masklet.Model:
    return masklet.load("tiny", device="cpu", dtype="float32")


def test_most_coins_are_found_and_a_cat_is_not(model: masklet.Model) -> None:
    result = model.segment(PHOTO, ["coin", "cat"])
    assert 18 <= len(result.for_phrase("coin")) <= 30  # there are 24
    assert len(result.for_phrase("cat")) == 0
    assert result.presence["coin"] > 0.5 > result.presence["cat"]
    assert np.median(result.masks.sum(axis=(1, 2))) > 300


def test_half_precision_finds_about_as_much(model: masklet.Model) -> None:
    half = masklet.load("tiny", device="cpu", dtype="bfloat16").segment(PHOTO, "coin")
    assert abs(len(half) - len(model.segment(PHOTO, "coin"))) <= 2


def test_the_command_line_answers_in_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "masklet", "segment", str(PHOTO), "-p", "coin", "-p", "cat", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    answer = json.loads(done.stdout)
    coin, cat = answer["phrases"]
    assert (answer["width"], answer["height"]) == (384, 303)
    assert len(coin["detections"]) >= 18
    assert set(coin["detections"][0]) >= {"score", "box"}
    assert cat["detections"] == []
    assert list(tmp_path.iterdir()) == []


def test_the_demo_runs_and_writes_its_pictures(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "masklet", "demo", "--out", "pictures"]
    environment = {**os.environ, "PYTHONPATH": str(Path(masklet.__file__).parents[1])}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert "asked in words" in done.stdout
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    told, found = re.search(r"(\d+) detections\nfor 24 coins", readme), re.search(r"coin (\d+)", done.stdout)
    assert told is not None
    assert found is not None
    assert abs(int(told[1]) - int(found[1])) <= 1, "README tells what the demo finds: make docs-images"
    assert "an everyday photo:   cat 1, dog absent" in done.stdout
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "coins.png",
        "coins_by_example.png",
        "cat.png",
        "coins.json",
    }


def test_an_object_of_a_clip_is_followed(model: masklet.Model) -> None:
    """A generated clip that training never draws; the mask of the first frame is given, and would soon be wrong."""
    clip = render_clip(2**31 + 3, SceneConfig(size=336, difficulty=0.3), num_frames=16)
    target = int(np.argmax([mask.sum() for mask in clip.frames[0].masks]))
    truth = np.stack([frame.masks[target] for frame in clip.frames])
    with model.open_video([frame.image for frame in clip.frames]) as session:
        session.add_mask(7, 0, truth[0])
        results = list(session.track())
    found = np.stack([result.for_id(7).masks.any(axis=0) for result in results])
    overlaps = (found & truth).sum((1, 2)) / (found | truth).sum((1, 2))
    still = (truth[:1] & truth).sum((1, 2)) / (truth[:1] | truth).sum((1, 2))
    assert overlaps[1:].mean() > 0.6
    assert overlaps[1:].mean() > still[1:].mean() + 0.2


def test_a_click_on_a_coin_gives_the_coin(model: masklet.Model) -> None:
    with model.open(PHOTO) as session:
        clicked = session.click([(102, 196)], [1])
    rows, columns = np.mgrid[:303, :384]
    coin = np.hypot(columns - 102.5, rows - 196) < 21
    mask = clicked.masks[0]
    assert (mask & coin).sum() / (mask | coin).sum() > 0.7


def test_a_box_around_a_coin_gives_the_coin(model: masklet.Model) -> None:
    with model.open(PHOTO) as session:
        boxed = session.click(box=(81, 175, 124, 217))
    rows, columns = np.mgrid[:303, :384]
    coin = np.hypot(columns - 102.5, rows - 196) < 21
    assert mask_iou(coin[None], boxed.masks).item() > 0.75
