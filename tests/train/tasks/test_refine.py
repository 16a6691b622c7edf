"""Simulated corrections: what counts as missed or made up, which box is shown, and that all passes are learnt from."""

import numpy as np
import pytest
import torch

from masklet.data.collate import Targets, TrainingBatch
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.train.recipes.schema import load_recipe
from masklet.train.tasks import detector as concept
from masklet.train.tasks.refine import RefineConfig, errors_of, with_corrections
from masklet.types import Exemplars, PromptBatch

OVERRIDES = [
    "preset=debug",
    "device=cpu",
    "bfloat16=false",
    "data={sources: {scenes: {kind: scenes}}}",
    "phases=[{steps: 1, image_size: 112, batch_size: 2, max_queries: 4, weights: {scenes: 1}}]",
]
STILL = RefineConfig(rounds=1, share=1.0, jitter=0.0)
LEFT, RIGHT = [0.2, 0.2, 0.2, 0.2], [0.7, 0.7, 0.2, 0.2]


@pytest.mark.parametrize(
    ("scores", "boxes", "wanted", "missed", "made_up"),
    [
        ([0.9, 0.9], [LEFT, RIGHT], [LEFT, RIGHT], [], []),
        ([0.9, 0.4], [LEFT, RIGHT], [LEFT, RIGHT], [RIGHT], []),  # not sure
        ([0.9, 0.9], [LEFT, RIGHT], [LEFT], [], [RIGHT]),
        ([0.9, 0.4], [LEFT, RIGHT], [], [], [LEFT]),
        ([0.1, 0.1], [LEFT, RIGHT], [], [], []),
        ([0.9, 0.1], [[0.2, 0.2, 0.2, 0.09], RIGHT], [LEFT], [LEFT], []),  # overlaps by 0.45: neither found nor made up
        ([0.9, 0.1], [[0.2, 0.2, 0.2, 0.05], RIGHT], [LEFT], [LEFT], [[0.2, 0.2, 0.2, 0.05]]),
        ([0.1, 0.1], [LEFT, RIGHT], [[0.5, 0.5, 0.0, 0.2]], [], []),  # cannot be shown
        ([0.9, 0.8], [LEFT, LEFT], [LEFT], [], []),  # found twice is not made up
    ],
)
def test_what_is_missed_and_what_is_made_up(scores, boxes, wanted, missed, made_up) -> None:
    errors = errors_of(torch.tensor(scores), torch.tensor(boxes), torch.tensor(wanted).reshape(-1, 4), STILL)
    np.testing.assert_allclose(errors.missed, np.array(missed, np.float32).reshape(-1, 4))
    np.testing.assert_allclose(errors.made_up, np.array(made_up, np.float32).reshape(-1, 4))


def _prompts(count: int) -> PromptBatch:
    exemplars = Exemplars(
        boxes_cxcywh=torch.full((count, 1, 4), 0.5),
        box_labels=torch.ones(count, 1, dtype=torch.long),
        box_valid=torch.ones(count, 1, dtype=torch.bool),
        points_xy=torch.zeros(count, 0, 2),
        point_labels=torch.zeros(count, 0, dtype=torch.long),
        point_valid=torch.zeros(count, 0, dtype=torch.bool),
    )
    index = torch.zeros(count, dtype=torch.long)
    ids = torch.zeros(1, 3, dtype=torch.long)
    return PromptBatch(token_ids=ids, token_valid=ids == 0, phrase_index=index, image_index=index, exemplars=exemplars)


def _targets(prompt: list[int], boxes: list[list[float]], exhaustive: list[bool]) -> Targets:
    count = len(exhaustive)
    return Targets(
        boxes_cxcywh=torch.tensor(boxes).reshape(-1, 4),
        masks=torch.zeros(len(boxes), 4, 4, dtype=torch.bool),
        mask_valid=torch.ones(len(boxes), dtype=torch.bool),
        target_prompt=torch.tensor(prompt, dtype=torch.long),
        target_object=torch.arange(len(boxes)),
        exhaustive=torch.tensor(exhaustive, dtype=torch.bool),
        semantic_masks=torch.zeros(count, 4, 4, dtype=torch.bool),
        semantic_valid=torch.zeros(count, dtype=torch.bool),
        unlocated=torch.zeros(count, dtype=torch.bool),
    )


def test_each_prompt_is_shown_one_more_box_where_it_was_wrong() -> None:
    """Prompt 0 misses one, 1 makes one up, 2 is right, 3 makes one up but is not labelled in full."""
    scores = torch.tensor([[0.9, 0.0], [0.9, 0.9], [0.9, 0.0], [0.9, 0.9]])
    boxes = torch.tensor([[LEFT, RIGHT]]).expand(4, -1, -1)
    targets = _targets([0, 0, 1, 2, 3], [LEFT, RIGHT, LEFT, LEFT, LEFT], [True, True, True, False])
    rng = np.random.default_rng(0)
    exemplars = with_corrections(_prompts(4), scores, boxes, targets, STILL, rng).exemplars
    assert exemplars.box_valid.tolist() == [[True, True], [True, True], [True, False], [True, False]]
    assert exemplars.box_labels[:2].tolist() == [[1, 1], [1, 0]]
    torch.testing.assert_close(exemplars.boxes_cxcywh[:2, 1], torch.tensor([RIGHT, RIGHT]))
    assert torch.equal(exemplars.boxes_cxcywh[:, 0], torch.full((4, 4), 0.5))


def test_either_kind_of_error_is_drawn_and_boxes_are_jittered() -> None:
    scores, boxes = torch.tensor([[0.9]]), torch.tensor([[LEFT]])
    targets = _targets([0], [RIGHT], [True])
    labels, shown = set(), set()
    rng = np.random.default_rng(0)
    for _ in range(20):
        exemplars = with_corrections(_prompts(1), scores, boxes, targets, RefineConfig(rounds=1), rng).exemplars
        labels.add(int(exemplars.box_labels[0, 1]))
        shown.add(tuple(exemplars.boxes_cxcywh[0, 1].tolist()))
        near = RIGHT if exemplars.box_labels[0, 1] else LEFT
        assert (exemplars.boxes_cxcywh[0, 1] - torch.tensor(near)).abs().max() < 0.12
    assert labels == {0, 1}
    assert len(shown) == 20


def test_no_prompt_is_no_trouble() -> None:
    empty = with_corrections(
        _prompts(0), torch.zeros(0, 3), torch.zeros(0, 3, 4), _targets([], [], []), STILL, np.random.default_rng(0)
    )
    assert empty.exemplars.boxes_cxcywh.shape == (0, 2, 4)


def test_a_share_of_the_batches_has_rounds() -> None:
    rng = np.random.default_rng(0)
    rounds = [RefineConfig(rounds=5, share=0.3).rounds_of(rng) for _ in range(300)]
    assert set(rounds) == {0, 5}
    assert 0.2 < rounds.count(5) / 300 < 0.4
    assert RefineConfig().rounds_of(rng) == 0


def test_every_pass_is_learnt_from_and_the_pictures_are_looked_at_once(monkeypatch) -> None:
    recipe = load_recipe("builtin", [*OVERRIDES, "phases.0.refine={rounds: 2, share: 1.0, sure: 0.0}"])
    from masklet.train.run import loop

    base = loop.initial_weights(recipe)
    torch.manual_seed(0)
    model, task, phase = Detector(base.config), loop.make_task(recipe, base), recipe.phases[0]
    looks, asked = [], []

    def corrected(prompts: PromptBatch, *rest: object) -> PromptBatch:
        asked.append(prompts.exemplars.box_valid.sum().item())
        return with_corrections(prompts, *rest)

    monkeypatch.setattr(concept, "with_corrections", corrected)
    model.vision.trunk.register_forward_pre_hook(lambda module, images: looks.append(1))  # noqa: ARG005
    batch: TrainingBatch = task.dataset(phase)[0]
    (report,) = task.losses(model, [batch], phase, [3])
    assert len(looks) == 1
    assert len(asked) == 4  # present and absent prompts, twice
    assert asked[2] > asked[0]
    assert report.parts["loss_refined"] > 0
    (plain,) = task.losses(model, [batch], phase.model_copy(update={"refine": RefineConfig()}), [3])
    assert "loss_refined" not in plain.parts
    torch.testing.assert_close(report.total - report.parts["loss_refined"], plain.total)
    (unlucky,) = task.losses(
        model, [batch], phase.model_copy(update={"refine": RefineConfig(rounds=2, share=0.0)}), [3]
    )
    assert unlucky.parts["loss_refined"] == 0  # there, as all processes log the same parts
    report.total.backward()
    assert model.prompts.box_direct.weight.grad is not None
    assert model.prompts.box_direct.weight.grad.abs().sum() > 0


def test_settings_of_rounds_are_checked() -> None:
    with pytest.raises(InputError, match="turns"):
        load_recipe("builtin", ["phases.0.refine={turns: 2}"])
    recipe = load_recipe("detector-refine")
    assert recipe.phases[0].refine.rounds == 5
