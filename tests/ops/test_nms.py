"""Mask NMS keeps what the official code keeps (tests/golden/official), and no two that overlap too much."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file

from masklet.ops.masks import mask_iou
from masklet.ops.nms import nms_masks, nms_prompts

FOLDER = Path(__file__).parents[1] / "golden" / "official"
GOLDEN = load_file(FOLDER / "4c_functions.safetensors")
DETECTOR = load_file(FOLDER / "1_detector.safetensors")
CASES = [case for case in json.loads((FOLDER / "4c_functions.json").read_text())["cases"] if case["fn"] == "nms"]
VIDEO = json.loads((FOLDER / "1_detector.json").read_text())["video_joint"]

masks = hnp.arrays(bool, st.tuples(st.integers(0, 6), st.just(5), st.just(70)))


def kept(mask_logits: torch.Tensor, scores: torch.Tensor, min_score: float, max_overlap: float) -> list[int]:
    rows = (scores > min_score).nonzero()[:, 0]
    return rows[nms_masks(mask_logits[rows], scores[rows], max_overlap)].tolist()


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["index"]))
def test_detections_kept_equal_the_official_ones(case: dict) -> None:
    name, args = f"nms.{case['index']}", case["args"]
    rows = kept(GOLDEN[f"{name}.in.masks"], GOLDEN[f"{name}.in.probs"], args["prob_threshold"], args["iou_threshold"])
    assert rows == GOLDEN[f"{name}.out.keep"].nonzero()[:, 0].tolist()


@pytest.mark.parametrize("case", VIDEO["cases"])
@pytest.mark.parametrize("max_overlap", VIDEO["nms_iou_thresh"])
def test_queries_kept_equal_those_of_the_official_video_detector(case: str, max_overlap: float) -> None:
    scores = DETECTOR[f"video_joint.{case}.joint_logits"][..., 0].sigmoid()
    expected = DETECTOR[f"video_joint.{case}.nms{round(100 * max_overlap)}.keep"].bool()
    assert len(scores)
    for prompt, row in enumerate(scores):
        rows = kept(DETECTOR[f"{case}.out.pred_masks"][prompt], row, VIDEO["nms_prob_thresh"][case], max_overlap)
        assert rows == expected[prompt].nonzero()[:, 0].tolist()


@given(masks, st.randoms(use_true_random=False), st.sampled_from([0.0, 0.1, 0.5, 0.9]))
def test_no_two_kept_overlap_more_and_each_lost_one_overlaps_a_surer_kept_one(
    batch: np.ndarray, random: object, limit: float
) -> None:
    scores = torch.tensor([random.random() for _ in batch])  # type: ignore[attr-defined]
    rows = nms_masks(torch.from_numpy(batch).float() - 0.5, scores, limit).tolist()
    overlaps = mask_iou(batch, batch)
    for row in range(len(batch)):
        others = [other for other in rows if other != row and scores[other] >= scores[row]]
        assert (row in rows) == all(overlaps[row, other] <= limit for other in others)


def test_a_part_of_a_surer_detection_goes_by_its_own_area() -> None:
    whole = torch.full((1, 4, 50), 1.0)
    part = torch.full((1, 4, 50), -1.0)
    part[:, :, 48:] = 1
    both, scores = torch.cat([whole, part]), torch.tensor([0.9, 0.8])
    assert nms_masks(both, scores, 0.1).tolist() == [0, 1]
    assert nms_masks(both, scores, 0.1, of_smaller=True).tolist() == [0]


def test_of_equal_scores_the_first_is_kept() -> None:
    same = torch.ones(3, 4, 4)
    assert nms_masks(same, torch.tensor([0.5, 0.7, 0.7]), 0.1).tolist() == [1]
    assert nms_masks(same[:0], torch.zeros(0), 0.1).tolist() == []


def _columns(*spans: tuple[int, int]) -> torch.Tensor:
    """Logits of masks that hold the columns from one to another of 60."""
    logits = torch.full((len(spans), 8, 60), -1.0)
    for row, (left, right) in enumerate(spans):
        logits[row, :, left:right] = 1
    return logits


@pytest.mark.parametrize(
    ("spans", "scores", "groups"),
    [
        pytest.param([(0, 60), (0, 28), (30, 60)], [0.9, 0.6, 0.5], [0], id="around two"),
        pytest.param([(0, 20), (0, 60), (20, 40), (40, 60)], [0.6, 0.9, 0.6, 0.6], [1], id="around three"),
        pytest.param([(0, 60), (0, 28), (30, 60)], [0.4, 0.45, 0.42], [0], id="none likely, the parts surer"),
        pytest.param([(0, 60), (0, 28), (30, 60)], [0.9, 0.6, 0.4], [], id="one of the two is unlikely"),
        pytest.param([(0, 60), (0, 28), (2, 30)], [0.9, 0.6, 0.6], [], id="the same part twice"),
        pytest.param([(0, 60), (0, 15), (30, 45)], [0.9, 0.6, 0.6], [], id="two that leave half of it"),
        pytest.param([(10, 60), (0, 30), (34, 60)], [0.9, 0.6, 0.6], [0], id="around most of two"),
        pytest.param([(10, 40), (0, 24), (26, 60)], [0.9, 0.6, 0.6], [], id="the larger one mostly beside it"),
        pytest.param([(0, 30), (0, 26), (27, 60)], [0.9, 0.6, 0.6], [], id="one beside it"),
    ],
)
def test_an_outline_around_several_others_is_dropped(
    spans: list[tuple[int, int]], scores: list[float], groups: list[int]
) -> None:
    one_prompt = torch.zeros(len(spans), dtype=torch.long)
    rows = nms_prompts(_columns(*spans), torch.tensor(scores), one_prompt, 0.9).tolist()
    assert rows == [row for row in range(len(spans)) if row not in groups]


def test_a_group_goes_only_where_its_own_prompt_found_the_parts() -> None:
    logits, scores = _columns((0, 60), (0, 28), (30, 60)), torch.tensor([0.9, 0.6, 0.6])
    assert nms_prompts(logits, scores, torch.tensor([0, 0, 0]), 0.5).tolist() == [1, 2]
    assert nms_prompts(logits, scores, torch.tensor([0, 0, 1]), 0.5).tolist() == [0, 1, 2]
    assert nms_prompts(logits[:0], scores[:0], torch.zeros(0, dtype=torch.long), 0.5).tolist() == []
