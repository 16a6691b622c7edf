"""Training the tracker on the debug model: what is answered when, what each loss looks at, and that it learns."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from masklet.checkpoints.adapters import read
from masklet.checkpoints.weights import Weights, write
from masklet.config import PRESETS
from masklet.data.tracking import TrackBatch, TrackingConfig, draw_batch
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.models.memory_bank import MemoryBank, Traversal, read_memory, recall
from masklet.scenes.layout import SceneConfig
from masklet.scenes.moving.clips import render_clip
from masklet.scenes.scene import render_scene
from masklet.train.losses.tracking import FramePrediction, TrackingLossConfig, Truth, prediction_losses
from masklet.train.recipes.schema import load_recipe
from masklet.train.run import loop
from masklet.train.tasks.rollout import Rollout, rollout_losses
from masklet.train.tasks.tracker import start_tracker
from masklet.types import DetectionSettings
from masklet.workflows.training.train_report import REPORT, ReportJob, report_training

SCENES = SceneConfig(size=112, difficulty=0.2, crowd_share=0.0, coin_share=0.0, cell_share=0.0)
CLIPS = TrackingConfig(num_frames=3, image_share=0.0, corrections=1, second_frame_share=0.0, least_area=0.01)
OVERRIDES = [
    "preset=debug",
    "data.workers=0",
    "data.sources={scenes: {kind: scenes, options: {difficulty: 0.2, crowd_share: 0, coin_share: 0}}}",
    "bfloat16=false",
    "log_every=1",
    "phases=[{steps: 3, image_size: 112, batch_size: 1, weights: {scenes: 1}, "
    "tracking: {num_frames: 2, corrections: 1, image_corrections: 1, image_batch: 2}}]",
]


@pytest.fixture(scope="module")
def model() -> Detector:
    torch.manual_seed(0)
    return Detector(PRESETS["debug"]())


def _batch(config: TrackingConfig, seed: int = 0) -> TrackBatch:
    rng = np.random.default_rng(seed)
    return draw_batch(lambda n: render_clip(int(rng.integers(2**31)), SCENES, n), 2, config, rng)


def _rollout(model: Detector, batch: TrackBatch) -> Rollout:
    tracker = model.tracker
    with torch.no_grad():
        features = tracker.tracker_features(model.vision.trunk(batch.images))
    return Rollout(tracker, batch, features, torch.Generator().manual_seed(0))


def test_masks_are_not_asked_for_again(model: Detector) -> None:
    batch = _batch(replace(CLIPS, mask_share=1.0, box_share=0.0))
    rollout = _rollout(model, batch)
    answers = list(rollout.predictions())
    assert [answer.frame for answer in answers] == [1, 2]
    assert all(answer.mask_logits.shape[1] == 3 for answer in answers)
    assert list(rollout.bank.conditioning) == [0]
    assert list(rollout.bank.tracked) == [1]  # nothing comes after the last


def test_a_click_leaves_doubt_and_its_correction_none(model: Detector) -> None:
    batch = _batch(replace(CLIPS, mask_share=0.0, box_share=0.0))
    answers = list(_rollout(model, batch).predictions())
    assert [(answer.frame, answer.mask_logits.shape[1]) for answer in answers] == [(0, 3), (0, 1), (1, 3), (2, 3)]


def test_a_box_leaves_no_doubt(model: Detector) -> None:
    batch = _batch(replace(CLIPS, mask_share=0.0, box_share=1.0, corrections=0))
    answers = list(_rollout(model, batch).predictions())
    assert [(answer.frame, answer.mask_logits.shape[1]) for answer in answers] == [(0, 1), (1, 3), (2, 3)]


def test_objects_of_other_clips_do_not_matter(model: Detector) -> None:
    model.eval()
    batch = _batch(replace(CLIPS, mask_share=1.0, box_share=0.0))
    rows = batch.clip_index == 0
    alone = replace(
        batch,
        images=batch.images[: batch.num_frames],
        masks=batch.masks[rows],
        clip_index=batch.clip_index[rows],
        first_points=batch.first_points[rows],
    )
    with torch.no_grad():
        both, one = (list(_rollout(model, b).predictions()) for b in (batch, alone))
    for first, second in zip(both, one, strict=True):
        torch.testing.assert_close(first.mask_logits[rows], second.mask_logits, rtol=1e-3, atol=1e-4)


def test_gradients_reach_every_part_through_time(model: Detector) -> None:
    """The last frame alone teaches how the first one is remembered."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(("click.", "memory.", "vision.click_neck.")))
    model.zero_grad()
    mask, click = (_batch(replace(CLIPS, mask_share=share, box_share=0.0)) for share in (1.0, 0.0))
    for batch in (mask, click):
        with torch.no_grad():
            trunk = model.vision.trunk(batch.images)
        rollout = Rollout(model.tracker, batch, model.tracker.tracker_features(trunk), torch.Generator().manual_seed(0))
        list(rollout.predictions())[-1].mask_logits.sum().backward()
    missing = {name for name, value in model.named_parameters() if value.requires_grad and value.grad is None}
    heads = ("click.decoder.iou_head.", "click.decoder.object_head.", "click.decoder.mask_mlps.0.")
    assert {name for name in missing if not name.startswith(heads)} <= {"memory.unseen_map", "memory.unseen_pointer"}


def _answer(mask_logits: torch.Tensor, ious: list[list[float]], presence: list[float]) -> FramePrediction:
    count = len(mask_logits)
    return FramePrediction(
        frame=0,
        mask_logits=mask_logits,
        iou_scores=torch.tensor(ious),
        object_logits=torch.tensor(presence),
        mask_tokens=torch.zeros(count, mask_logits.shape[1], 8),
    )


def _truth() -> Truth:
    """One object on the left half, one that is not there."""
    masks = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    masks[0, 0, :, :4] = True
    return Truth(masks=masks, covered=masks.float(), visible=masks.flatten(2).any(dim=2))


def test_only_the_best_of_three_masks_is_corrected() -> None:
    left = torch.where(_truth().masks[0, 0], 9.0, -9.0)
    logits = torch.stack([torch.stack([left, -left, torch.zeros(8, 8)])] * 2).requires_grad_()
    losses = prediction_losses(_answer(logits, [[1.0, 0.0, 0.0]] * 2, [9.0, -9.0]), _truth(), TrackingLossConfig())
    assert losses["dice"] < 0.01
    (losses["dice"] + losses["focal"]).backward()
    assert logits.grad is not None
    assert logits.grad[0, 0].abs().sum() > 0
    assert logits.grad[0, 1:].abs().sum() == 0
    assert logits.grad[1].abs().sum() == 0  # an absent object teaches its absence only


def test_every_mask_is_told_how_well_it_fits() -> None:
    left = torch.where(_truth().masks[0, 0], 9.0, -9.0)
    logits = torch.stack([torch.stack([left, -left, torch.full((8, 8), 9.0)])] * 2)
    losses = prediction_losses(_answer(logits, [[0.7, 0.3, 0.5]] * 2, [0.0, 0.0]), _truth(), TrackingLossConfig())
    assert losses["iou"] == pytest.approx((0.3 + 0.3 + 0.0) / 3 / 2)  # the second object counts as 0
    assert losses["presence"] == pytest.approx(np.log(2))


def test_losses_are_weighed_as_published() -> None:
    config = TrackingLossConfig()
    assert (config.focal, config.dice, config.iou, config.presence) == (20, 1, 1, 1)


def test_the_debug_model_learns_one_clip() -> None:
    torch.manual_seed(0)
    model = Detector(PRESETS["debug"]())
    start_tracker(model)
    batch = _batch(replace(CLIPS, num_frames=2, mask_share=1.0, box_share=0.0, max_objects=2), seed=3)
    config = TrackingLossConfig(dice=5.0)
    learnt = [p for n, p in model.named_parameters() if n.startswith(("click.", "memory.", "vision.click_neck."))]
    optimizer = torch.optim.AdamW(learnt, lr=2e-3)
    with torch.no_grad():
        trunk = model.vision.trunk(batch.images)
    history = []
    for step in range(120):
        losses = rollout_losses(model.tracker, batch, trunk, config, torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        history.append(losses["loss_dice"].item())
    assert history[0] > 0.8
    assert np.mean(history[-5:]) < 0.35


@pytest.fixture(scope="module")
def started() -> Detector:
    torch.manual_seed(0)
    model = Detector(PRESETS["first"]())
    start_tracker(model)
    return model.eval().requires_grad_(requires_grad=False)


def test_comparison_makes_a_place_agree_with_itself(started: Detector) -> None:
    grid = started.click.prompts.code_grid(24, 24).flatten(2)[0].T
    attention = started.click.decoder.blocks[0].token_to_image
    q, k = attention.split(attention.q(grid)[None]), attention.split(attention.k(grid)[None])
    logits = torch.einsum("bhqd,bhkd->hqk", q, k) / q.shape[-1] ** 0.5
    own = logits.diagonal(dim1=1, dim2=2)
    assert own.mean() > 5
    assert (own - logits.mean(dim=-1)).min() > 0.5


def test_the_neck_begins_as_the_detectors_at_the_loudness_of_codes(started: Detector) -> None:
    scene = render_scene(0, SceneConfig(size=336)).image
    trunk = started.vision.trunk(torch.from_numpy(scene).permute(2, 0, 1)[None].float() / 127.5 - 1)
    click, concept = started.vision.click_neck(trunk), started.vision.concept_neck(trunk)
    for level in ("fine", "medium", "coarse"):
        own, model = getattr(click, level), getattr(concept, level)
        assert own.std() == pytest.approx(1, abs=1e-3)
        torch.testing.assert_close(own * model.std(), model, rtol=1e-3, atol=1e-4)


def test_a_remembered_mask_is_heard_where_it_was(started: Detector) -> None:
    """Two objects on one picture: what they see of it differs at their own places most."""
    batch = _batch(replace(CLIPS, mask_share=1.0, box_share=0.0, second_frame_share=0.0), seed=3)
    rollout = _rollout(started, batch)
    list(rollout.predictions())
    bank = MemoryBank(conditioning={0: rollout.bank.conditioning[0]})
    read = read_memory(started.memory, recall(bank, 1, rollout.config, Traversal()), Traversal())
    seen = started.memory.look_back(rollout._features_of(1).coarse, [read])
    covered = F.interpolate(batch.masks[:, :1].float(), seen.shape[-2:], mode="area")[:, 0]
    pairs = [(i, j) for i in range(len(seen)) for j in range(i) if batch.clip_index[i] == batch.clip_index[j]]
    assert pairs
    for i, j in pairs:
        difference, own = (seen[i] - seen[j]).norm(dim=0), (covered[i] - covered[j]).abs()
        if (own > 0.6).any():
            assert difference[own > 0.6].mean() > 2 * difference[own < 0.05].mean()
            assert difference[own > 0.6].mean() > 0.25 * seen[i].norm(dim=0).mean()


def _detector_alone(path: Path) -> Path:
    """A file of random weights without click head and memory."""
    torch.manual_seed(1)
    config = PRESETS["debug"]()
    parts = ("click.", "memory.", "vision.click_neck.")
    state = {name: value.half() for name, value in Detector(config).state_dict().items() if not name.startswith(parts)}
    write(Weights(config=config, state=state, origin="a test", settings=DetectionSettings(even_score=0.4)), path)
    return path


def test_a_tracker_needs_a_detector(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="initial_weights"):
        loop.run("builtin-tracker", [*OVERRIDES, "initial_weights=null"], tmp_path)


def test_a_run_changes_the_tracker_and_nothing_else(tmp_path: Path) -> None:
    path = _detector_alone(tmp_path / "base.safetensors")
    state = read(path).state
    overrides = [*OVERRIDES, f"initial_weights={path}"]
    assert loop.run("builtin-tracker", overrides, tmp_path / "run")
    after = read(tmp_path / "run/weights.safetensors")
    assert after.parts == {"click", "memory"}
    assert after.settings.even_score == 0.4
    for name, value in state.items():
        assert torch.equal(after.state[name], value), name
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert {"loss", "loss_focal", "loss_dice", "loss_iou", "loss_presence"} <= lines[-1].keys()


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path: Path) -> None:
    overrides = [*OVERRIDES, f"initial_weights={_detector_alone(tmp_path / 'base.safetensors')}"]
    assert loop.run("builtin-tracker", overrides, tmp_path / "whole")
    assert not loop.run("builtin-tracker", overrides, tmp_path / "parts", max_steps=2)
    torch.rand(7)  # a resumed process has another generator state
    assert loop.run("builtin-tracker", overrides, tmp_path / "parts", resume=True)
    whole, parts = (read(tmp_path / name / "weights.safetensors").state for name in ("whole", "parts"))
    for name, value in whole.items():
        assert torch.equal(value, parts[name]), name


def test_a_run_that_an_older_version_began_goes_on_and_is_reported(tmp_path: Path) -> None:
    overrides = [*OVERRIDES, f"initial_weights={_detector_alone(tmp_path / 'base.safetensors')}"]
    out = tmp_path / "run"
    assert not loop.run("builtin-tracker", overrides, out, max_steps=1)

    # Phases of every task had a number of prompts once
    recipe = json.loads((out / "recipe.json").read_text())
    recipe["phases"] = [{**phase, "max_queries": 16} for phase in recipe["phases"]]
    (out / "recipe.json").write_text(json.dumps(recipe))
    (state,) = out.glob("checkpoints/step-*/state.json")
    state.write_text(json.dumps({**json.loads(state.read_text()), "recipe": recipe}))

    assert report_training(ReportJob(out=out)).page == out / REPORT
    assert loop.run("builtin-tracker", overrides, out, resume=True)
    assert "max_queries" not in json.loads((out / "recipe.json").read_text())["phases"][0]


def test_sections_of_the_tracking_task_are_checked() -> None:
    recipe = load_recipe("builtin-tracker")
    assert recipe.phases[0].tracking.mask_share == 0.7
    assert recipe.phases[0].criterion.dice == 5.0
    assert recipe.phases[3].augment.degrees == 0
    wrong = ("phases.0.tracking.nonsense=1", "phases.0.augment.nonsense=1", "criterion.nonsense=1", "task=nonsense")
    for override in wrong:
        with pytest.raises(InputError):
            load_recipe("builtin-tracker", [override])


def test_the_published_tracker_runs_in_small(tmp_path: Path) -> None:
    small = ["steps=2", "image_size=112", "batch_size=1", "accumulate=1"]
    clips = ["corrections=1", "image_corrections=1", "image_batch=2"]
    frames = [f"phases.{phase}.tracking.num_frames={2 + phase}" for phase in range(3)]
    changes = [f"phases.{phase}.{change}" for phase in range(3) for change in small]
    changes += [f"phases.{phase}.tracking.{change}" for phase in range(3) for change in clips]
    scenes = "{kind: scenes, options: {difficulty: 0.2, crowd_share: 0, coin_share: 0}}"
    recipe = load_recipe("tracker")
    assert [(phase.steps, phase.batch_size * phase.accumulate) for phase in recipe.phases] == [
        (190000, 512),
        (30000, 512),
        (30000, 512),
    ]
    overrides = [
        f"data.sources={{sa1b: {scenes}, video: {scenes}, external: {scenes}}}",
        f"initial_weights={_detector_alone(tmp_path / 'base.safetensors')}",
        *("data.workers=0", "bfloat16=false", "log_every=1", "optim.warmup_steps=1", "device=cpu"),
        *(*changes, *frames),
    ]
    assert loop.run("tracker", overrides, tmp_path / "run")
    rates = [json.loads(line)["lr"] for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert len(rates) == 6
    assert (rates[0], rates[2]) == pytest.approx((5e-4, 5e-5))  # the second schedule is that of both long phases
    assert rates[0] > rates[1] > 0
    assert rates[2] > rates[3] > rates[4] > rates[5] > 0
    assert read(tmp_path / "run/weights.safetensors").parts == {"click", "memory"}


def test_what_is_covered_by_half_a_cell_counts_half() -> None:
    batch = _batch(replace(CLIPS, mask_share=1.0, box_share=0.0))
    truth = Truth.of(batch, 28, 28)
    expected = F.avg_pool2d(batch.masks.float(), 4)
    torch.testing.assert_close(truth.covered, expected)
