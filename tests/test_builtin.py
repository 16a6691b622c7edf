"""The built-in model and the command line as a new user meets them: real weights, a real photo, no stand-ins."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import masklet

PHOTO = Path(__file__).parents[1] / "examples" / "images" / "coins.jpg"


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
    command = [sys.executable, "-m", "masklet.cli", "segment", str(PHOTO), "-p", "coin", "-p", "cat", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path)
    answer = json.loads(done.stdout)
    coin, cat = answer["phrases"]
    assert (answer["width"], answer["height"]) == (384, 303)
    assert len(coin["detections"]) >= 18
    assert set(coin["detections"][0]) >= {"score", "box"}
    assert cat["detections"] == []
    assert list(tmp_path.iterdir()) == []


def test_the_demo_runs_and_writes_its_pictures(tmp_path: Path) -> None:
    demo = PHOTO.parents[1] / "demo.py"
    done = subprocess.run(
        [sys.executable, str(demo), str(tmp_path)], check=True, capture_output=True, text=True, env=dict(os.environ)
    )
    assert "asked in words" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"coins.png", "coins_by_example.png", "coins.json"}
