"""Two processes on a CPU: however weights are kept, they compute the gradients of one, and read each other's files.

What is drawn gives the processes different work: one has example boxes, rounds of correction, objects to click on, or
only concepts that are there, where the other has none.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from labelled_pictures import write_pictures
from safetensors.torch import load_file

from masklet.checkpoints.adapters import read
from masklet.data.pointing import PointedBatch
from masklet.train.losses.criterion import present_prompts
from masklet.train.recipes.schema import load_recipe
from masklet.train.run import distributed, loop
from masklet.train.tasks.detector import ConceptTask

OVERRIDES = [
    "preset=debug",
    "device=cpu",
    "bfloat16=false",
    "ema_decay=0.9",
    "log_every=1",
    "optim.warmup_steps=1",
    "optim.cooldown_steps=1",
    # small, as biases of keys have gradients of rounding alone, which Adam makes steps of full length of
    *(f"optim.lr_{part}=1.0e-4" for part in ("vision", "text", "rest")),
    "data.sources={mine: {kind: coco, annotations: annotations.json, images: images}}",
]
STEPS = 6
PHASE = f"steps: {STEPS}, image_size: 112, batch_size: 1, accumulate: 2, max_queries: 1, weights: {{mine: 1}}"
# updates of either kind, and boxes and clicks that correct some answers: never the same in both processes
ROUNDS = "refine: {rounds: 1, share: 0.6, sure: 0.0}, clicks: {share: 0.4, steps: 2, box_share: 0.5, objects: 2}"
PHASES = f"phases=[{{{PHASE}, {ROUNDS}}}]"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An override that names them. A third of them shows nothing."""
    return f"data.root={write_pictures(tmp_path_factory.mktemp('pictures'), count=12, bare_every=3)}"


def train(out: Path, processes: int, *changes: str, steps: int = STEPS, resume: bool = False) -> None:
    launch = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    )
    arguments = ["builtin", str(out), *OVERRIDES, PHASES, *changes, "--max-steps", str(steps)]
    command = [sys.executable, *launch, "-m", "masklet.train.run.loop", *arguments, *(["--resume"] if resume else [])]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]


def checkpoint(out: Path) -> dict[str, torch.Tensor]:
    """The state of a run, whatever number of processes left it."""
    (folder,) = (out / "checkpoints").iterdir()
    state = json.loads((folder / "state.json").read_text())
    parts = [load_file(folder / f"part-{rank}-of-{state['world']}.safetensors") for rank in range(state["world"])]
    return {
        name: torch.cat([part[name] for part in parts]) if name in state["sharded"] else value
        for name, value in parts[0].items()
    }


def assert_equal(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    """The moments of the optimiser among them are means of gradients, and of their squares."""
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=1e-5, msg=f"{name} differs")


def log(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, pictures: str) -> Path:
    out = tmp_path_factory.mktemp("alone")
    train(out, 1, pictures)
    return out


def test_the_processes_have_different_work(pictures) -> None:
    recipe = load_recipe("builtin", [*OVERRIDES, PHASES, pictures])
    task = loop.make_task(recipe, loop.initial_weights(recipe))
    assert isinstance(task, ConceptTask)
    dataset = task.dataset(recipe.phases[0])
    every = [dataset[index] for index in range(8 * STEPS)]
    kinds = [isinstance(batch, PointedBatch) for batch in every]
    assert kinds[::2] == kinds[1::2]
    clicked = [batch for batch in every if isinstance(batch, PointedBatch)]
    objects = [len(batch.targets.exhaustive) for batch in clicked]
    assert any(first != second for first, second in zip(objects[::2], objects[1::2], strict=True)), objects
    batches = [batch for batch in every if not isinstance(batch, PointedBatch)]
    present = [int(present_prompts(batch.targets).sum()) for batch in batches]
    shown = [bool(batch.prompts.exemplars.box_valid.any()) for batch in batches]
    absent = [len(batch.targets.exhaustive) - count for batch, count in zip(batches, present, strict=True)]
    for work in (present, absent, shown):
        assert any(bool(first) != bool(second) for first, second in zip(work[::2], work[1::2], strict=True)), work


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_learn_what_one_does(tmp_path, alone, pictures, parallel) -> None:
    train(tmp_path, 2, pictures, f"parallel={parallel}")
    one, two = checkpoint(alone), checkpoint(tmp_path)
    assert one.keys() == two.keys()
    for name, value in one.items():  # the moments of the optimiser are means of gradients, and of their squares
        torch.testing.assert_close(
            two[name], value, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
    for first, second in zip(log(alone), log(tmp_path), strict=True):
        assert second["loss"] == pytest.approx(first["loss"], rel=1e-4)
        assert second["gradient_norm"] == pytest.approx(first["gradient_norm"], rel=1e-3)
    assert read(tmp_path / "weights.safetensors").state.keys() == read(alone / "weights.safetensors").state.keys()
    (folder,) = (tmp_path / "checkpoints").iterdir()
    sharded = json.loads((folder / "state.json").read_text())["sharded"]
    encoders = {name for name in one if name.split(".")[1] == "text" or ".vision.trunk." in name}
    assert set(sharded) == ({name for name in encoders if not name.endswith(".step")} if parallel == "fsdp" else set())


@pytest.mark.slow
def test_two_processes_with_muon_learn_what_one_does(tmp_path, pictures) -> None:
    for processes in (1, 2):
        train(tmp_path / str(processes), processes, pictures, "parallel=fsdp", "optim.matrices=muon", steps=3)
    one, two = (checkpoint(tmp_path / str(processes)) for processes in (1, 2))
    assert one.keys() == two.keys()
    assert_equal(two, one)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [(2, 1), (1, 2)])
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, alone, pictures, first, then) -> None:
    train(tmp_path, first, pictures, "parallel=fsdp", steps=STEPS // 2)
    train(tmp_path, then, pictures, "parallel=fsdp", resume=True)
    one, resumed = checkpoint(alone), checkpoint(tmp_path)
    assert one.keys() == resumed.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            resumed[name], value, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.slow
def test_adapters_and_layers_computed_twice_are_sharded_too(tmp_path, alone, pictures) -> None:
    changes = (
        pictures,
        f"initial_weights={alone / 'weights.safetensors'}",
        "train=[]",
        "lora={rank: 2}",
        "checkpoint_activations=true",
        "parallel=fsdp",
    )
    train(tmp_path / "one", 1, *changes, steps=3)
    train(tmp_path / "two", 2, *changes, steps=3)
    one, two = checkpoint(tmp_path / "one"), checkpoint(tmp_path / "two")
    assert all(".lora_" in name for name in one)
    assert any(value.abs().max() > 0 for name, value in one.items() if name.endswith("lora_up"))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(
            two[name], value, rtol=1e-3, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_clipping_bounds_the_norm_of_all_gradients_together() -> None:
    parameters = [
        torch.nn.Parameter(torch.zeros(3)),
        torch.nn.Parameter(torch.zeros(2, 2)),
        torch.nn.Parameter(torch.zeros(1)),
    ]
    parameters[0].grad, parameters[1].grad = torch.full((3,), 2.0), torch.ones(2, 2)
    assert distributed.clip_gradients(parameters, 1.0).item() == pytest.approx(4.0)
    assert parameters[0].grad[0].item() == pytest.approx(0.5, rel=1e-5)
    assert parameters[1].grad[0, 0].item() == pytest.approx(0.25, rel=1e-5)
    assert distributed.clip_gradients(parameters, 5.0).item() == pytest.approx(1.0, rel=1e-5)
    assert parameters[0].grad[0].item() == pytest.approx(0.5, rel=1e-5)


def test_a_process_alone_sums_nothing_but_fills_what_was_not_used() -> None:
    parameters = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))]
    parameters[0].grad = torch.full((2,), 3.0)
    distributed.sum_gradients(parameters)
    assert torch.equal(parameters[0].grad, torch.full((2,), 3.0))
    assert parameters[1].grad is not None
    assert torch.equal(parameters[1].grad, torch.zeros(2))
    assert distributed.rank_and_world() == (0, 1)
    assert distributed.any_process(flag=True)
    assert not distributed.any_process(flag=False)
