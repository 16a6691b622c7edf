"""J&F against the published DAVIS evaluation, and what it does where one side is empty."""

import json
from pathlib import Path

import numpy as np
import pytest

from masklet.eval.videos.vos import MaskletScore, boundary_radius, boundary_similarity, mean_scores, score_masklet
from masklet.ops.masks import rle_decode

MASKLETS = json.loads((Path(__file__).parents[2] / "golden/video_metrics/jf.json").read_text())["masklets"]


def _masks(records: list[dict]) -> np.ndarray:
    return np.stack([rle_decode(record["counts"], *record["size"]) for record in records])


@pytest.mark.parametrize("golden", MASKLETS, ids=[masklet["name"] for masklet in MASKLETS])
def test_equals_the_davis_evaluation(golden: dict) -> None:
    score = score_masklet(_masks(golden["gt"]), _masks(golden["pred"]))
    assert boundary_radius(golden["height"], golden["width"]) == golden["boundary_radius_px"]
    np.testing.assert_allclose(score.region, golden["J"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(score.boundary, golden["F"], rtol=0, atol=1e-12)
    assert score.j_and_f == pytest.approx(golden["J_and_F"], abs=1e-12)


def test_outline_at_the_edge_of_the_image_does_not_count() -> None:
    full = np.ones((20, 30), bool)
    inner = np.zeros((20, 30), bool)
    inner[5:15, 5:15] = True
    assert boundary_similarity(full, full, 1) == 1.0
    assert boundary_similarity(full, inner, 1) == 0.0


def test_outlines_agree_within_the_radius_only() -> None:
    truth, shifted = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
    truth[20:40, 20:40], shifted[20:40, 23:43] = True, True
    assert boundary_similarity(truth, shifted, 3) == 1.0
    assert 0.4 < boundary_similarity(truth, shifted, 2) < 0.8


def test_every_object_counts_once() -> None:
    long = MaskletScore(region=np.ones(9), boundary=np.ones(9))
    short = MaskletScore(region=np.zeros(1), boundary=np.full(1, 0.5))
    assert mean_scores([long, short]) == {"J": 0.5, "F": 0.75, "J&F": 0.625}
