"""The loop on the debug model: resuming, phases, accumulation, export, and learning at all."""

import errno
import json

import numpy as np
import pytest
import torch
from colored_squares import WORDS_ONLY, ColoredSquares, make_recipe, make_task, make_trainer

from masklet.checkpoints.adapters import read
from masklet.config import PRESETS
from masklet.data.collate import collate
from masklet.data.schema import Example
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.ops.scores import joint_scores
from masklet.tokenizer import Tokenizer
from masklet.train.run import loop
from masklet.train.run.observers import JsonLog, Observer
from masklet.train.run.trainer import Trainer


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path) -> None:
    whole = make_trainer(make_recipe(), tmp_path / "whole")
    assert whole.train()
    first = make_trainer(make_recipe(), tmp_path / "parts")
    assert not first.train(max_steps=2)
    torch.rand(7)  # a resumed process has another generator state
    second = make_trainer(make_recipe(), tmp_path / "parts")
    second.resume()
    assert second.step == 2
    assert second.train()
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    for name, value in whole.weights().items():
        assert torch.equal(value, second.weights()[name]), name


def test_worker_processes_change_nothing(tmp_path) -> None:
    data = {"workers": 2, "sources": {"squares": {"kind": "scenes"}}}
    alone, helped = (
        make_trainer(make_recipe((2,)), tmp_path / "a"),
        make_trainer(make_recipe((2,), data=data), tmp_path / "b"),
    )
    alone.train()
    helped.train()
    for name, value in alone.model.state_dict().items():
        assert torch.equal(value, helped.model.state_dict()[name]), name


@pytest.mark.parametrize("sizes", [(1, 2), (4, 4)])
def test_accumulation_equals_one_large_batch(tmp_path, sizes) -> None:
    examples = [ColoredSquares().sample(np.random.default_rng(seed)) for seed in range(sum(sizes))]
    gradients = []
    for parts in ([examples[: sizes[0]], examples[sizes[0] :]], [examples]):
        trainer = make_trainer(make_recipe((1,)), tmp_path)
        trainer.model.eval()  # dropout would differ
        tokenizer = Tokenizer(vocab_size=trainer.model.config.text.vocab_size)
        batches = [collate(part, tokenizer, WORDS_ONLY, np.random.default_rng(0)) for part in parts]
        trainer.update(batches, trainer.recipe.phases[0])
        named = trainer.model.named_parameters()
        gradients.append({name: value.grad for name, value in named if value.grad is not None})
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=1e-5)


def test_time_runs_out_with_a_checkpoint(tmp_path) -> None:
    trainer = make_trainer(make_recipe((50,)), tmp_path)
    assert not trainer.train(minutes=0.0)
    assert trainer.step == 1
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000001"]


def test_the_log_has_a_line_a_step_with_every_part(tmp_path) -> None:
    trainer = make_trainer(make_recipe((2, 1)), tmp_path, [JsonLog(tmp_path)])
    trainer.train()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert {"loss", "loss_mask_one_to_many", "gradient_norm", "lr", "seconds_per_step"} <= lines[0].keys()
    for line in lines:
        assert line["images_per_second"] == pytest.approx(2 / line["seconds_per_step"], rel=0.01)


def test_a_non_finite_gradient_leaves_the_weights_alone(tmp_path) -> None:
    trainer = make_trainer(make_recipe((2,)), tmp_path)
    before = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    phase = trainer.recipe.phases[0]
    batch = trainer.task.dataset(phase)[0]
    next(trainer.model.decoder.parameters()).register_hook(lambda gradient: gradient * float("nan"))
    trainer.update([batch], phase)
    assert trainer.step == 1
    for name, value in trainer.model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_run_trains_exports_and_refuses_to_overwrite(tmp_path) -> None:
    overrides = [
        "preset=debug",
        "data.workers=0",
        "data.sources={scenes: {kind: scenes}}",
        "phases=[{steps: 2, image_size: 112, batch_size: 2, weights: {scenes: 1}}]",
    ]
    assert loop.run("builtin", overrides, tmp_path)
    weights = read(tmp_path / "weights.safetensors")
    assert weights.config == PRESETS["debug"]()
    assert not weights.parts
    assert {tensor.dtype for tensor in weights.state.values()} == {torch.float16}
    with pytest.raises(InputError, match="already holds a run"):
        loop.run("builtin", overrides, tmp_path)
    assert loop.run("builtin", overrides, tmp_path, resume=True)


def test_an_image_size_that_the_model_cannot_take_is_refused_before_the_first_update(tmp_path) -> None:
    sizes = ", ".join(f"{{steps: 1, image_size: {size}, batch_size: 1, weights: {{scenes: 1}}}}" for size in (112, 120))
    phases, sources = f"phases=[{sizes}]", "data.sources={scenes: {kind: scenes}}"
    with pytest.raises(InputError, match=r"phases.1.image_size is 120; this model takes multiples of"):
        loop.run("builtin", ["preset=debug", sources, phases], tmp_path)
    assert not any(tmp_path.iterdir())


class Breaking(Observer):
    """Fails after the second update, as a device or a disk would."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def stepped(self, step: int) -> None:
        if step == 2:
            raise self.error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"), "out of memory: set checkpoint_"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full; the last checkpoint is kept"),
    ],
)
def test_a_run_that_breaks_says_why_and_goes_on_from_its_checkpoint(tmp_path, error, sentence) -> None:
    given = [
        "preset=debug",
        "device=cpu",
        "checkpoint_minutes=0",
        "data={sources: {scenes: {kind: scenes}}}",
        "phases=[{steps: 3, image_size: 112, batch_size: 1, weights: {scenes: 1}}]",
    ]
    with pytest.raises(InputError, match=sentence):
        loop.run("builtin", given, tmp_path, observers=[Breaking(error)])
    assert loop.run("builtin", given, tmp_path, resume=True)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000003"]


@pytest.mark.slow
def test_a_few_pictures_are_learnt_and_their_absent_phrases_rejected(tmp_path) -> None:
    examples = [ColoredSquares().sample(np.random.default_rng(seed)) for seed in range(4)]

    class Few:
        def sample(self, rng: np.random.Generator) -> Example:
            return examples[int(rng.integers(len(examples)))]

    still = {"crop_probability": 0.0, "pad_probability": 0.0, "flip_probability": 0.0, "color_probability": 0.0}
    phase = {"image_size": 112, "batch_size": 4, "weights": {"squares": 1.0}, "augment": still}
    words_only = {"visual_probability": 0.0, "text_and_box_probability": 0.0}
    recipe = make_recipe(ema_decay=None, phases=[{**phase, "steps": 400}], collate=words_only, log_every=50)
    torch.manual_seed(0)
    config = PRESETS["debug"]()
    tokenizer = Tokenizer(vocab_size=config.text.vocab_size)
    trainer = Trainer(Detector(config), make_task(recipe, tokenizer, Few()), recipe, tmp_path)
    trainer.train()
    trainer.model.eval()
    batch = collate(examples, tokenizer, WORDS_ONLY, np.random.default_rng(0))
    with torch.no_grad():
        output = trainer.model(batch.images, batch.prompts)
    scores = joint_scores(output.pred_logits[-1], output.presence_logits[-1])
    present = torch.bincount(batch.targets.target_prompt, minlength=len(scores)) > 0
    assert (scores[~present] < 0.5).all()
    best = scores.max(dim=1)
    assert (best.values[present] > 0.5).all()
    rows = present.nonzero()[:, 0]
    masks = output.mask_logits(rows, best.indices[rows]) > 0
    wanted = batch.targets.semantic_masks[rows]
    iou = (masks & wanted).flatten(1).sum(1) / (masks | wanted).flatten(1).sum(1)
    assert (iou > 0.75).all(), iou
