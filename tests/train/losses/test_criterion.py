"""The total loss: its pieces, its extremes, and that accumulation and shortcuts change nothing."""

from dataclasses import fields, replace

import pytest
import torch

from masklet.data.collate import Targets
from masklet.train.losses import terms as losses
from masklet.train.losses.criterion import (
    LOSSES,
    WEIGHT_NAMES,
    Counts,
    Criterion,
    LossReport,
    LossWeights,
    matched_mask_logits,
    present_prompts,
)
from masklet.train.losses.matcher import HungarianConfig, OneToManyConfig, match_one_to_many, match_one_to_one
from masklet.train.losses.terms import projection_dice
from masklet.types import DetectorOutput

LAYERS, QUERIES, SIDE, DIM = 2, 8, 12, 6


def make_output(prompts: int, *, queries: int = 2 * QUERIES, seed: int = 0) -> DetectorOutput:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).requires_grad_()

    boxes = torch.rand(LAYERS, prompts, queries, 4, generator=generator) * 0.4 + 0.2
    return DetectorOutput(
        pred_logits=draw(LAYERS, prompts, queries),
        pred_boxes=boxes.requires_grad_(),
        presence_logits=draw(LAYERS, prompts),
        mask_embeddings=draw(prompts, queries, DIM),
        mask_biases=draw(prompts, queries),
        pixel_embeddings=draw(prompts, DIM, SIDE, SIDE),
        semantic_logits=draw(prompts, SIDE, SIDE),
    )


def make_targets(counts: list[int], *, seed: int = 1) -> Targets:
    generator = torch.Generator().manual_seed(seed)
    total = sum(counts)
    prompt = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts, dtype=torch.int64))
    masks = torch.rand(total, SIDE, SIDE, generator=generator) < 0.3
    semantic = torch.zeros(len(counts), SIDE, SIDE, dtype=torch.bool)
    for row, index in enumerate(prompt.tolist()):
        semantic[index] |= masks[row]
    return Targets(
        boxes_cxcywh=torch.rand(total, 4, generator=generator) * 0.3 + 0.3,
        masks=masks,
        mask_valid=torch.ones(total, dtype=torch.bool),
        target_prompt=prompt,
        target_object=torch.arange(total),
        exhaustive=torch.ones(len(counts), dtype=torch.bool),
        semantic_masks=semantic,
        semantic_valid=torch.tensor(counts) > 0,
        unlocated=torch.zeros(len(counts), dtype=torch.bool),
    )


def gradients(output: DetectorOutput) -> dict[str, torch.Tensor]:
    fields = {name: getattr(output, name).grad for name in DetectorOutput.__dataclass_fields__}
    return {name: value for name, value in fields.items() if value is not None}


def loss_of(criterion: Criterion, output: DetectorOutput, targets: Targets, **options) -> LossReport:
    """Of an output of doubled queries."""
    first, copies = output.split_queries(QUERIES)
    return criterion(first, targets, one_to_many=copies, **options)


@pytest.fixture
def criterion() -> Criterion:
    return Criterion(Criterion.Config())


@pytest.mark.parametrize("counts", [[2, 0, 3], [0, 0], [], [1]])
@pytest.mark.parametrize("one_to_many", [True, False])
def test_loss_and_gradients_are_finite_whatever_is_present(criterion, counts, one_to_many) -> None:
    output, targets = make_output(len(counts)), make_targets(counts)
    report = loss_of(criterion, output, targets) if one_to_many else criterion(output, targets)
    report.total.backward()
    assert torch.isfinite(report.total)
    assert not any(part.requires_grad for part in report.parts.values())
    assert all(torch.isfinite(gradient).all() for gradient in gradients(output).values())


def test_every_loss_of_the_table_has_a_weight_and_every_weight_a_loss() -> None:
    every = Criterion(Criterion.Config(weights=LossWeights(projection=1.0, somewhere=1.0)))
    parts = loss_of(every, make_output(2), make_targets([1, 2])).parts
    weights = {field.name for field in fields(LossWeights)} - {"one_to_many"}
    plain = [name for name in parts if not name.endswith("_one_to_many")]
    assert {WEIGHT_NAMES.get(name, name.removeprefix("loss_")) for name in plain} == weights
    copied = {name for name in plain if f"{name}_one_to_many" in parts}
    assert set(plain) - copied == {"loss_presence", "loss_semantic", "loss_semantic_dice", "loss_somewhere"}
    assert len(set(LOSSES)) == len(LOSSES)


def test_absent_concepts_teach_presence_and_nothing_else(criterion) -> None:
    output = make_output(3)
    report = loss_of(criterion, output, make_targets([0, 0, 0]))
    report.total.backward()
    assert report.parts["loss_presence"] > 0
    assert all(value == 0 for name, value in report.parts.items() if name != "loss_presence")
    assert gradients(output)["presence_logits"].abs().sum() > 0


def test_leaving_out_absent_prompts_changes_nothing_when_their_presence_is_handed_in(criterion) -> None:
    targets, output = make_targets([2, 0, 3]), make_output(3)
    present = present_prompts(targets)
    kept = output.map(lambda tensor: tensor[present] if tensor.shape[0] == 3 else tensor[:, present])
    short = loss_of(
        criterion,
        kept,
        targets.select(present),
        counts=Counts.of(targets),
        absent_logits=output.presence_logits[:, ~present],
    )
    torch.testing.assert_close(short.total, loss_of(criterion, output, targets).total)


def test_halves_with_joint_counts_sum_to_the_whole(criterion) -> None:
    targets, output = make_targets([2, 0, 3, 1]), make_output(4)
    counts = Counts.of(targets)
    first = torch.tensor([True, True, False, False])
    total = torch.zeros(())
    for kept in (first, ~first):
        part = output.map(lambda tensor, kept=kept: tensor[kept] if tensor.shape[0] == 4 else tensor[:, kept])
        total = total + loss_of(criterion, part, targets.select(kept), counts=counts).total
    torch.testing.assert_close(total, loss_of(criterion, output, targets).total)
    assert Counts.of(targets.select(first)) + Counts.of(targets.select(~first)) == counts


def test_a_box_without_a_mask_gives_no_mask_loss(criterion) -> None:
    targets = make_targets([2, 0, 3])
    boxes_only = replace(
        targets,
        mask_valid=torch.zeros_like(targets.mask_valid),
        semantic_valid=torch.zeros_like(targets.semantic_valid),
    )
    output = make_output(3)
    report = loss_of(criterion, output, boxes_only)
    report.total.backward()
    assert report.parts["loss_mask"] == report.parts["loss_dice"] == report.parts["loss_semantic"] == 0
    assert report.parts["loss_bbox"] > 0
    assert torch.isfinite(output.pred_boxes.grad).all()


def test_unmatched_queries_of_an_incomplete_prompt_are_no_errors(criterion) -> None:
    targets, output = make_targets([2]), make_output(1, queries=QUERIES)
    criterion(output, replace(targets, exhaustive=torch.tensor([False]))).total.backward()
    assert (output.pred_logits.grad != 0).sum() == 2 * LAYERS


def test_targets_without_area_do_not_make_a_concept_present(criterion) -> None:
    targets = make_targets([1, 1])
    boxes = targets.boxes_cxcywh.clone()
    boxes[0, 2] = 0
    targets = replace(targets, boxes_cxcywh=boxes)
    assert present_prompts(targets).tolist() == [False, True]
    assert torch.isfinite(loss_of(criterion, make_output(2), targets).total)


def test_more_targets_than_queries_leave_the_dearest_unmatched() -> None:
    output, targets = make_output(2, queries=QUERIES), make_targets([3, 250])
    matches = match_one_to_one(
        output.pred_logits, output.pred_boxes, targets.boxes_cxcywh, targets.target_prompt, HungarianConfig()
    )
    pairs = matches.keep((matches.prompt_index == 1) & (matches.layer_index == 0))
    assert sorted(pairs.query_index.tolist()) == list(range(QUERIES))
    assert (targets.target_prompt[matches.target_index] == matches.prompt_index).all()
    assert torch.isfinite(Criterion(Criterion.Config())(make_output(2), targets).total)


def test_non_finite_predictions_are_named() -> None:
    output, targets = make_output(1), make_targets([1])
    with pytest.raises(ValueError, match="not finite"):
        match_one_to_one(
            output.pred_logits * float("nan"),
            output.pred_boxes,
            targets.boxes_cxcywh,
            targets.target_prompt,
            HungarianConfig(),
        )


def test_one_to_many_selects_at_most_k_queries_a_target() -> None:
    boxes = torch.full((1, 20, 4), 0.5) + torch.rand(1, 20, 4, generator=torch.Generator().manual_seed(0)) * 0.05
    matches = match_one_to_many(
        torch.full((1, 20), 3.0),
        boxes,
        torch.full((2, 4), 0.52),
        torch.tensor([0, 0]),
        OneToManyConfig(),
    )
    assert (torch.bincount(matches.target_index) == 4).all()


def test_a_query_of_two_targets_takes_the_better_one() -> None:
    index = (torch.tensor([0, 0, 0]), torch.tensor([1, 1, 2]))
    grid = losses.soft_targets((1, 4), index, torch.tensor([0.9, 0.2, 0.5]))
    torch.testing.assert_close(grid, torch.tensor([[0.0, 0.9, 0.5, 0.0]]))


def test_grouped_mask_logits_equal_the_plain_ones() -> None:
    output = make_output(3)
    prompt, query = torch.tensor([0, 0, 2]), torch.tensor([1, 5, 3])
    torch.testing.assert_close(matched_mask_logits(output, prompt, query), output.mask_logits(prompt, query))


def test_left_out_masks_are_made_up_for_by_the_others() -> None:
    few = Criterion(Criterion.Config(max_masks=3))
    targets = make_targets([6])
    same = replace(targets, masks=targets.masks[:1].expand(6, -1, -1), boxes_cxcywh=targets.boxes_cxcywh)
    output = make_output(1)
    flat = replace(output, mask_embeddings=output.mask_embeddings * 0, mask_biases=output.mask_biases * 0)
    expected = Criterion(Criterion.Config())(flat, same).parts["loss_mask"]
    torch.testing.assert_close(few(flat, same).parts["loss_mask"], expected)


def test_sampled_mask_losses_agree_with_whole_ones_when_points_are_uniform() -> None:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(4, 8, 8, generator=generator)
    logits = torch.nn.functional.interpolate(coarse[:, None], size=64, mode="bilinear")[:, 0] * 3
    targets = torch.zeros(4, 64, 64, dtype=torch.bool)
    targets[:, 16:48, 8:40] = True
    points = torch.rand(4, 40000, 2, generator=generator)
    sampled = losses._sample(logits, points), losses._sample(targets.float(), points)
    whole = logits.flatten(1), targets.flatten(1).float()
    for (a, b), (c, d) in [(sampled, whole)]:
        focal_sampled = losses.sigmoid_focal(a, b, alpha=0.25, gamma=2.0).mean(-1)
        focal_whole = losses.sigmoid_focal(c, d, alpha=0.25, gamma=2.0).mean(-1)
        torch.testing.assert_close(focal_sampled, focal_whole, rtol=0.03, atol=0.002)
        torch.testing.assert_close(losses.dice(a, b), losses.dice(c, d), rtol=0.03, atol=0.01)


def test_most_sampled_points_are_uncertain_ones() -> None:
    logits = torch.linspace(-8, 8, 64).expand(2, 64, 64)
    points = losses.uncertain_points(logits, 400, generator=torch.Generator().manual_seed(0))
    assert points.shape == (2, 400, 2)
    uncertain, uniform = losses._sample(logits, points).abs().split([300, 100], dim=1)
    assert uncertain.mean() < uniform.mean() / 2


def test_large_masks_are_sampled_and_small_ones_compared_whole() -> None:
    logits, targets = torch.randn(2, 16, 16), torch.rand(2, 16, 16) < 0.5
    arguments = {"alpha": 0.25, "gamma": 2.0}
    whole = losses.mask_losses(logits, targets, num_points=256, **arguments)
    sampled = losses.mask_losses(logits, targets, num_points=64, **arguments)
    torch.testing.assert_close(whole[1], losses.dice(logits.flatten(1), targets.flatten(1).float()))
    assert not torch.equal(whole[0], sampled[0])


def test_of_a_box_without_a_mask_the_projections_of_the_mask_are_learnt() -> None:
    weights = LossWeights(projection=1.0)
    criterion, targets = Criterion(Criterion.Config(weights=weights)), make_targets([2, 0, 3])
    assert criterion(make_output(3), targets).parts["loss_projection"] == 0
    boxes_only = replace(
        targets,
        mask_valid=torch.zeros_like(targets.mask_valid),
        semantic_valid=torch.zeros_like(targets.semantic_valid),
    )
    output = make_output(3)
    report = criterion(output, boxes_only)
    report.total.backward()
    assert report.parts["loss_projection"] > 0
    assert output.mask_embeddings.grad.abs().sum() > 0


def test_projections_agree_when_the_mask_reaches_every_side_of_its_box() -> None:
    mask = torch.full((1, 8, 8), -20.0)
    mask[0, 2, 1:7] = 20.0
    mask[0, 2:6, 3] = 20.0  # a T: much less than its box, with the same projections
    box = torch.tensor([[0.5, 0.5, 0.75, 0.5]])
    assert projection_dice(mask, box).item() == pytest.approx(0, abs=1e-6)
    assert projection_dice(-mask, box).item() > 0.1
    smaller = torch.tensor([[0.25, 0.5, 0.25, 0.5]])
    # 6 columns where 2 are wanted: 1 - (2 * 2 + 1) / (6 + 2 + 1)
    assert projection_dice(mask, smaller).item() == pytest.approx(1 - 5 / 9, abs=1e-6)


def test_a_label_of_the_whole_image_teaches_presence_and_one_sure_query() -> None:
    criterion = Criterion(Criterion.Config(weights=LossWeights(somewhere=1.0)))
    targets = make_targets([2, 0])
    somewhere = replace(targets, unlocated=torch.tensor([False, True]), exhaustive=torch.tensor([True, False]))
    output = make_output(2)
    assert present_prompts(somewhere).tolist() == [True, True]
    report = criterion(output, somewhere)
    report.total.backward()
    best = output.pred_logits.detach()[:, 1].argmax(dim=1)
    moved = output.pred_logits.grad[:, 1] != 0
    assert moved.sum(dim=1).tolist() == [1] * len(best)
    assert moved.int().argmax(dim=1).tolist() == best.tolist()
    assert (output.presence_logits.grad[:, 1] < 0).all()
    assert output.pred_boxes.grad[:, 1].abs().sum() == 0
