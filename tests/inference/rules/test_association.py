"""Detections go to masklets as in the official code (tests/golden/official/4c_functions), and by hand-made tables."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import interpolate

from masklet.inference.rules.association import FrameDetections, Matches, Proposals, associate, video_scores
from masklet.inference.rules.rules import Rules, sam3, sam3_1

FOLDER = Path(__file__).parents[2] / "golden" / "official"
GOLDEN = load_file(FOLDER / "4c_functions.safetensors")
CASES = [case for case in json.loads((FOLDER / "4c_functions.json").read_text())["cases"] if case["fn"] == "associate"]
NAMES = {
    "assoc_iou_thresh": "min_hit_iou",
    "trk_assoc_iou_thresh": "min_match_iou",
    "new_det_thresh": "min_birth_score",
    "o2o_matching_masklets_enable": "one_to_one",
}


def detections_of(mask_logits: Tensor, scores: list[float]) -> FrameDetections:
    return FrameDetections(mask_logits=mask_logits, scores=torch.tensor(scores), boxes_xyxy=torch.zeros(len(scores), 4))


def proposals_of(mask_logits: Tensor, object_ids: list[int]) -> Proposals:
    return Proposals(object_ids=tuple(object_ids), mask_logits=mask_logits, object_logits=torch.zeros(len(object_ids)))


def strips(*spans: tuple[int, int]) -> Tensor:
    """Logits of masks that fill the columns from the first to before the second number, of ten."""
    columns = torch.arange(10)
    rows = [(columns >= low) & (columns < high) for low, high in spans]
    return torch.stack(rows)[:, None, :].expand(-1, 2, -1).float() - 0.5 if rows else torch.zeros(0, 2, 10)


def match(detected: Tensor, scores: list[float], tracked: Tensor, rules: Rules | None = None) -> Matches:
    """Masklets are numbered 10, 11, ..."""
    ids = list(range(10, 10 + len(tracked)))
    return associate(detections_of(detected, scores), proposals_of(tracked, ids), rules or sam3())


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["index"]))
def test_matches_equal_the_official_ones(case: dict) -> None:
    name, args, expected = f"associate.{case['index']}.in", case["args"], case["out"]
    rules = Rules(**{NAMES[key]: value for key, value in args["options"].items()})
    tracked = GOLDEN[f"{name}.trk_masks"]
    detected = GOLDEN[f"{name}.det_masks"]
    if detected.shape[1:] != tracked.shape[1:]:  # the last case; here both always come on one grid
        detected = interpolate(detected[None], tracked.shape[1:], mode="bilinear")[0]
    matches = associate(detections_of(detected, args["det_scores"]), proposals_of(tracked, args["trk_obj_ids"]), rules)
    assert list(matches.new) == expected["new_det_inds"]
    assert list(matches.unmatched) == expected["unmatched_trk_ids"]
    assert list(matches.empty) == expected["empty_trk_ids"]
    hits = [expected["det_to_trk"].get(str(row), []) for row in range(len(args["det_scores"]))]
    assert [list(ids) for ids in matches.hits] == hits
    assert list(matches.confident) == [(int(key), row) for key, row in expected["trk_to_high_conf_det"].items()]


def test_one_detection_may_show_several_masklets_and_the_other_way_round() -> None:
    matches = match(strips((0, 4), (4, 8), (0, 1)), [0.9, 0.9, 0.9], strips((0, 4), (0, 3), (5, 8)))
    assert matches.hits == ((10, 11), (12,), (10, 11))
    assert matches.confident == ((10, 0),)
    assert matches.hit == {10, 11, 12}


@pytest.mark.parametrize(
    ("span", "hits", "unmatched"),
    [
        ((0, 10), ((10,),), ()),
        ((0, 5), ((10,),), ()),  # IoU 0.5 is a match
        ((0, 4), ((10,),), (10,)),  # touched and unmatched at once
        ((0, 1), ((10,),), (10,)),  # IoU 0.1 is a hit
    ],
)
def test_a_masklet_is_hit_from_one_overlap_on_and_matched_from_another(
    span: tuple[int, int], hits: tuple, unmatched: tuple
) -> None:
    matches = match(strips(span), [0.9], strips((0, 10)))
    assert (matches.hits, matches.unmatched) == (hits, unmatched)


def test_without_masklets_every_detection_is_new_and_later_only_sure_ones() -> None:
    spans = strips((0, 2), (4, 6))
    assert match(spans, [0.55, 0.95], strips()).new == (0, 1)
    assert match(spans, [0.55, 0.95], strips((8, 10))).new == (1,)
    assert match(spans, [0.699, 0.7], strips((8, 10))).new == (1,)


def test_without_detections_masklets_are_unmatched_or_empty() -> None:
    matches = match(strips(), [], strips((0, 2), (0, 0), (3, 5)))
    assert (matches.unmatched, matches.empty, matches.hits, matches.new) == ((10, 12), (11,), (), ())


def test_of_two_sure_detections_of_one_masklet_the_later_counts() -> None:
    matches = match(strips((0, 10), (0, 9)), [0.95, 0.85], strips((0, 10)))
    assert matches.confident == ((10, 1),)
    assert match(strips((0, 10), (0, 9)), [0.95, 0.75], strips((0, 10))).confident == ((10, 0),)


def test_one_to_one_leaves_the_lesser_masklet_of_a_detection_unmatched() -> None:
    tracked = strips((0, 8), (0, 6))
    assert match(strips((0, 8)), [0.9], tracked).unmatched == ()
    assert match(strips((0, 8)), [0.9], tracked, Rules(one_to_one=True)).unmatched == (11,)


def test_sam_3_1_calls_a_part_of_a_masklet_sure() -> None:
    detected, tracked = strips((0, 4)), strips((0, 10))
    assert match(detected, [0.9], tracked).confident == ()
    assert match(detected, [0.9], tracked, sam3_1()).confident == ((10, 0),)


def test_scores_of_video_equal_the_official_ones() -> None:
    """The official video detector folds presence into the logit."""
    golden = load_file(FOLDER / "1_detector.safetensors")
    names = [key for key in golden if key.startswith("video_joint.") and key.endswith(".joint_logits")]
    assert names
    for name in names:
        case = name.split(".")[1]
        logits, presence = golden[f"{case}.out.pred_logits"], golden[f"{case}.out.presence_logit_dec"]
        scores = video_scores(logits[..., 0], presence.reshape(len(logits)))
        torch.testing.assert_close(scores, golden[name][..., 0].sigmoid(), rtol=0, atol=1e-5)


def test_scores_of_video_stay_off_zero_and_one() -> None:
    scores = video_scores(torch.tensor([[-50.0, 0.0, 50.0]]), torch.tensor([50.0]))
    np.testing.assert_allclose(scores[0].numpy(), [0.001, 0.5, 0.999], atol=2e-5)
