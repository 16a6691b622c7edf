"""The estimate before a run: a real update that leaves no trace, and advice where memory ends."""

import json

import pytest
import torch
from colored_squares import make_recipe, make_trainer

from masklet.errors import InputError
from masklet.train.recipes.schema import Recipe, Validation
from masklet.train.run.estimate import Estimate, estimate, memory_explained


def test_a_run_that_was_estimated_equals_one_that_was_not_bit_for_bit(tmp_path) -> None:
    plain, estimated = (make_trainer(make_recipe((2, 1)), tmp_path / name) for name in ("plain", "estimated"))
    weights = {name: value.clone() for name, value in estimated.model.state_dict().items()}
    found = estimate(estimated)
    assert estimated.step == 0
    assert not estimated.means.take()
    assert all(torch.equal(value, weights[name]) for name, value in estimated.model.state_dict().items())
    assert found.seconds > 0
    plain.train()
    estimated.train()
    mine, other = estimated._tensors(), plain._tensors()
    assert mine.keys() == other.keys()
    for name, value in other.items():
        assert torch.equal(mine[name], value), name


def test_what_was_measured_is_taken_back_even_when_it_fails(tmp_path) -> None:
    trainer = make_trainer(make_recipe((2,)), tmp_path)
    rates = [group["peak_lr"] for group in trainer.optimizer.param_groups]

    def fail(*_, **__) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    trainer.optimizer.step = fail
    with pytest.raises(InputError, match="out of memory"), memory_explained(trainer.recipe):
        estimate(trainer)
    assert [group["peak_lr"] for group in trainer.optimizer.param_groups] == rates
    assert trainer.step == 0


def test_the_largest_phase_is_measured_and_the_time_is_that_of_all(tmp_path, monkeypatch) -> None:
    small = {"image_size": 56, "batch_size": 2, "weights": {"squares": 1.0}, "options": {"squares": {"size": 112}}}
    phases = [{**small, "steps": 8}, {**small, "image_size": 112, "accumulate": 2, "steps": 3}]
    trainer = make_trainer(make_recipe(phases=phases), tmp_path)
    measured = []

    def time_update(_, phase) -> float:
        measured.append(phase.image_size)
        return 6.0

    monkeypatch.setattr("masklet.train.run.estimate._time_update", time_update)
    found = estimate(trainer)
    assert measured == [112, 112]  # the first may have been slowed by what is only done once
    assert found.seconds == pytest.approx(3 * 6 + 8 * 6 / 8)


def sentence(**changes) -> str:
    values = {"recipe": make_recipe((400,)), "device": "cpu", "memory": 2_100_000_000, "free": None, "seconds": 2100.0}
    return str(Estimate(**{**values, **changes}))


def test_an_estimate_is_a_sentence() -> None:
    assert sentence() == "about 2.1 GB and 35 minutes on cpu (400 updates of 2 images)"
    on_gpu = sentence(device="cuda", free=139_800_000_000)
    assert on_gpu == "about 2.1 GB of 139.8 GB that are free and 35 minutes on cuda (400 updates of 2 images)"
    assert sentence(memory=None) == "about 35 minutes on cpu (400 updates of 2 images)"
    validated = make_recipe((400,)).model_copy(update={"validation": Validation()})
    assert sentence(recipe=validated).endswith("(400 updates of 2 images, validation not counted)")


def test_an_estimate_for_programs(tmp_path) -> None:
    found = estimate(make_trainer(make_recipe((5,)), tmp_path))
    values = json.loads(json.dumps(found.to_json()))
    assert values.keys() == {"device", "memory", "free", "seconds", "updates", "images_per_update"}
    assert (values["device"], values["updates"], values["images_per_update"]) == ("cpu", 5, 2.0)
    assert values["memory"] > 10_000_000


def remedies(recipe: Recipe, error: Exception) -> str:
    with pytest.raises(InputError) as caught, memory_explained(recipe):
        raise error
    return str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
        MemoryError(),
    ],
)
def test_without_memory_it_is_said_what_to_lower(error) -> None:
    said = remedies(make_recipe((3,), initial_weights="sam3"), error)
    assert said == (
        "out of memory: set checkpoint_activations=true; "
        "lower the batch: phases.0.batch_size=1 phases.0.accumulate=2; "
        "learn adapters alone: the recipe finetune-lora; take smaller images: phases.0.image_size below 112"
    )


def test_what_is_low_already_is_not_advised() -> None:
    phase = {"image_size": 1008, "batch_size": 1, "weights": {"squares": 1.0}, "steps": 1}
    lean = make_recipe(phases=[phase], checkpoint_activations=True, lora={"rank": 2}, initial_weights="sam3")
    said = remedies(lean, MemoryError())
    assert said == "out of memory: take smaller images: phases.0.image_size below 1008"


def test_other_errors_are_left_alone() -> None:
    with pytest.raises(RuntimeError, match="shapes"), memory_explained(make_recipe((1,))):
        raise RuntimeError("shapes differ")
