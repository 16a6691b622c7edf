"""The built-in model is as good as when it was shipped, on pictures and clips that are drawn for this (`quality_set`).

Figures may rise. They may fall by the width of what other processors change, and no further.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from quality_set import GOLDEN, click_figures, concept_figures, draw_scenes, load_model, predict, track_figures

from masklet.ops.runs import RunTable, pair_iou

FIGURES = json.loads((GOLDEN / "figures.json").read_text())
MARGIN = 0.01  # of a figure between 0 and 1: one instance of a hundred

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model():
    return load_model()


@pytest.fixture(scope="module")
def scenes():
    return draw_scenes()


@pytest.fixture(scope="module")
def files(model, scenes, tmp_path_factory) -> tuple[Path, Path]:
    return predict(model, scenes, tmp_path_factory.mktemp("quality"))


def assert_no_worse(figures: dict[str, float]) -> None:
    fallen = {name: (value, FIGURES[name]) for name, value in figures.items() if value < FIGURES[name] - MARGIN}
    assert not fallen, "now and before"


def test_phrases_are_answered_no_worse(files):
    assert_no_worse(concept_figures(*files))


def test_clicks_are_answered_no_worse(model, scenes):
    assert_no_worse(click_figures(model, scenes))


def test_objects_are_followed_no_worse(model):
    assert_no_worse(track_figures(model))


def test_the_evaluator_gives_the_stored_predictions_their_figures(files, tmp_path):
    stored = shutil.copy(GOLDEN / "predictions.json", tmp_path / "stored.json")
    figures = concept_figures(files[0], Path(stored))
    assert figures == pytest.approx({name: FIGURES[name] for name in figures}, abs=1e-12)


def test_predictions_are_the_stored_ones(files):
    """Nearly every sure instance is found again, with the same outline and score."""
    now, before = (json.loads(path.read_text()) for path in (files[1], GOLDEN / "predictions.json"))
    sure = [each for each in before if each["score"] >= 0.5]
    again = sum(_is_among(each, now) for each in sure)
    assert len(sure) > 50
    assert again >= 0.97 * len(sure)


def _is_among(one: dict, many: list[dict]) -> bool:
    near = [each for each in many if each["image_id"] == one["image_id"] and abs(each["score"] - one["score"]) < 0.02]
    masks = [each["segmentation"] for each in (one, *near)]
    heights, widths = zip(*(mask["size"] for mask in masks), strict=True)
    table = RunTable.of([mask["counts"] for mask in masks], heights, widths)
    others = np.arange(1, len(masks))
    return bool((pair_iou(table, np.zeros_like(others), table, others) > 0.95).any())
