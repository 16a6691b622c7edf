"""Matchers, losses, schedule and layer decay equal the official classes: tests/golden/train_losses_golden.json."""

import json
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from masklet.train.losses import terms as losses
from masklet.train.losses.matcher import (
    HungarianConfig,
    MatchedPairs,
    OneToManyConfig,
    match_one_to_many,
    match_one_to_one,
)
from masklet.train.run.optim import inverse_sqrt_factor, layer_scale

GOLDEN = json.loads((Path(__file__).parents[2] / "golden" / "train_losses_golden.json").read_text())
INPUTS = {name: torch.tensor(values) for name, values in GOLDEN["inputs"].items()}
LOGITS = INPUTS["pred_logits"][..., 0]
BOXES = INPUTS["pred_boxes_cxcywh"]
TARGETS = INPUTS["target_boxes_cxcywh_packed"]
TARGET_PROMPT = torch.repeat_interleave(torch.arange(3), INPUTS["num_boxes"])
PRESENT = INPUTS["num_boxes"] > 0
NORMALISER = GOLDEN["num_boxes_normaliser"]


def one_to_one() -> MatchedPairs:
    return match_one_to_one(LOGITS[None], BOXES[None], TARGETS, TARGET_PROMPT, HungarianConfig())


def one_to_many() -> MatchedPairs:
    return match_one_to_many(LOGITS, BOXES, TARGETS, TARGET_PROMPT, OneToManyConfig())


def classes(matches: MatchedPairs, weight: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    index = (matches.prompt_index, matches.query_index)
    aligned = losses.alignment(LOGITS[index], BOXES[index], TARGETS[matches.target_index], 0.25)
    soft = losses.soft_targets(tuple(LOGITS.shape), index, aligned)
    return soft, *losses.iou_aware_bce(LOGITS, soft, weight_positive=weight, gamma=2.0)


def check(value: torch.Tensor, expected: float) -> None:
    torch.testing.assert_close(value.double(), torch.tensor(expected).double(), rtol=1e-5, atol=0)


def test_hungarian_pairs_are_the_official_ones() -> None:
    matches, expected = one_to_one(), GOLDEN["hungarian"]
    assert matches.prompt_index.tolist() == expected["batch_idx"]
    assert matches.query_index.tolist() == expected["query_idx"]
    assert matches.target_index.tolist() == list(range(len(TARGETS)))


def test_one_to_many_pairs_are_the_official_ones() -> None:
    matches, expected = one_to_many(), GOLDEN["one_to_many"]
    assert matches.prompt_index.tolist() == expected["batch_idx"]
    assert matches.query_index.tolist() == expected["query_idx"]
    assert matches.target_index.tolist() == expected["target_idx_packed"]


@pytest.mark.parametrize(("name", "match"), [("boxes_o2o", one_to_one), ("boxes_o2m", one_to_many)])
def test_box_losses_equal_the_official_ones(name, match) -> None:
    matches = match()
    distance, overlap = losses.box_losses(
        BOXES[matches.prompt_index, matches.query_index], TARGETS[matches.target_index]
    )
    check(distance.sum() / NORMALISER, GOLDEN["losses"][name]["loss_bbox"])
    check(overlap.sum() / NORMALISER, GOLDEN["losses"][name]["loss_giou"])


@pytest.mark.parametrize(
    ("name", "match"),
    [("ia_bce_finetune_config_o2o", one_to_one), ("ia_bce_finetune_config_o2m", one_to_many)],
)
def test_gated_classification_equals_the_official_one(name, match) -> None:
    _, towards, away = classes(match(), 10.0)
    gated = (towards + away) * PRESENT[:, None]
    check(gated.sum() / (len(LOGITS) * 200), GOLDEN["losses"][name]["loss_ce"])


def test_ungated_classification_equals_the_official_one() -> None:
    _, towards, away = classes(one_to_one(), 10.0)
    check((towards + away).mean(), GOLDEN["losses"]["ia_bce_no_presence_mean"]["loss_ce"])


def test_classification_without_unknown_negatives_equals_the_official_one() -> None:
    soft, towards, away = classes(one_to_one(), 10.0)
    known = (soft > 0) | INPUTS["is_exhaustive"].bool()[:, None]
    expected = GOLDEN["losses"]["ia_bce_weak_loss_non_exhaustive"]["loss_ce"]
    check((towards + away * known).sum() / known.sum(), expected)


def test_focal_positives_equal_the_official_ones() -> None:
    soft, _, away = classes(one_to_one(), 10.0)
    towards = 10 * losses.sigmoid_focal(LOGITS, soft, alpha=0.5, gamma=2.0) * (soft > 0)
    gated = (towards + away) * PRESENT[:, None]
    check(gated.sum() / (len(LOGITS) * 200), GOLDEN["losses"]["ia_bce_pos_focal"]["loss_ce"])


def test_presence_equals_the_official_one() -> None:
    loss = losses.presence_loss(INPUTS["presence_logit"].T, PRESENT).sum() / len(PRESENT)
    check(loss, GOLDEN["losses"]["ia_bce_finetune_config_o2o"]["presence_loss"])


def test_mask_losses_equal_the_official_ones() -> None:
    matches = one_to_one()
    matches = matches.keep(INPUTS["is_valid_mask"].bool()[matches.target_index])
    focal, dice = losses.mask_losses(
        INPUTS["pred_masks"][matches.prompt_index, matches.query_index],
        INPUTS["target_masks_packed"].bool()[matches.target_index],
        alpha=0.25,
        gamma=2.0,
        num_points=24 * 24,
    )
    check(focal.sum() / NORMALISER, GOLDEN["losses"]["masks_full_resolution_o2o"]["loss_mask"])
    check(dice.sum() / NORMALISER, GOLDEN["losses"]["masks_full_resolution_o2o"]["loss_dice"])


def unions() -> torch.Tensor:
    masks = INPUTS["target_masks_packed"].bool()
    return torch.stack([masks[prompt == TARGET_PROMPT].any(dim=0) for prompt in range(3)])


def test_semantic_losses_equal_the_official_ones() -> None:
    focal, dice = losses.mask_losses(INPUTS["semantic_logits"][PRESENT, 0], unions()[PRESENT], alpha=0.6, gamma=2.0)
    check(focal.mean(), GOLDEN["losses"]["semantic_downsample_False"]["loss_semantic_seg"])
    check(dice.mean(), GOLDEN["losses"]["semantic_downsample_False"]["loss_semantic_dice"])


def test_semantic_losses_at_the_resolution_of_the_logits_equal_the_official_ones() -> None:
    small = F.max_pool2d(unions()[:, None].float(), 2)[:, 0].bool()
    focal, dice = losses.mask_losses(INPUTS["semantic_logits"][PRESENT, 0], small[PRESENT], alpha=0.6, gamma=2.0)
    check(focal.mean(), GOLDEN["losses"]["semantic_downsample_True"]["loss_semantic_seg"])
    check(dice.mean(), GOLDEN["losses"]["semantic_downsample_True"]["loss_semantic_dice"])


@pytest.mark.parametrize("case", GOLDEN["inverse_sqrt_schedule"], ids=lambda case: str(case["total"]))
def test_schedule_equals_the_official_one(case) -> None:
    for step, expected in case["values"]:
        factor = inverse_sqrt_factor(
            step,
            case["total"],
            warmup=case["warmup_steps"],
            cooldown=case["cooldown_steps"],
            timescale=case["timescale"],
        )
        assert case["base_lr"] * factor == pytest.approx(expected, rel=1e-5, abs=1e-15)


def test_layer_decay_equals_the_official_one() -> None:
    table = {int(layer): scale for layer, scale in GOLDEN["layer_decay_0.9_scales_by_layer_id_32_blocks"].items()}
    assert layer_scale("vision.trunk.patch_embed.weight", 32, 0.9) == pytest.approx(table[0], rel=1e-5)
    for block in range(32):
        name = f"vision.trunk.blocks.{block}.norm1.weight"
        assert layer_scale(name, 32, 0.9) == pytest.approx(table[block + 1], rel=1e-5)
    for name in ("vision.trunk.position", "vision.concept_neck.coarse.weight", "decoder.queries"):
        assert layer_scale(name, 32, 0.9) == table[33]
