"""Checkpoints of a process: what was saved comes back, and a save that ends early leaves the one before."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from masklet.errors import InputError
from masklet.train.run import loop
from masklet.train.run import run_state as checkpoints
from masklet.train.run.run_state import Checkpoints, read_state, restore

PART = "part-0-of-1.safetensors"


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {
        "weight": torch.full((3, 2), value),
        "half": torch.full((2,), value, dtype=torch.bfloat16),
        "step": torch.tensor(value),
    }


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "checkpoints").iterdir()}


def test_what_was_saved_comes_back_exactly(tmp_path) -> None:
    store = Checkpoints(tmp_path)
    assert store.newest is None
    store.save(5, tensors(1.25), {"recipe": {"seed": 3}})
    store.wait()
    assert store.newest == tmp_path / "checkpoints" / "step-00000005"
    assert read_state(store.newest) == {"recipe": {"seed": 3}, "step": 5, "world": 1, "sharded": []}
    target = tensors(0.0)
    places = {name: value.data_ptr() for name, value in target.items()}
    restore(store.newest, target)
    for name, value in tensors(1.25).items():
        assert torch.equal(target[name], value)
        assert target[name].data_ptr() == places[name]  # filled, not replaced


def test_only_the_newest_is_kept(tmp_path) -> None:
    store = Checkpoints(tmp_path)
    for step in (9, 10, 100_000_001):
        store.save(step, tensors(step), {})
    store.wait()
    assert names(tmp_path) == {"step-100000001"}


def test_a_step_is_saved_once(tmp_path) -> None:
    store = Checkpoints(tmp_path)
    store.save(5, tensors(1.0), {})
    store.save(5, tensors(2.0), {})
    store.wait()
    target = tensors(0.0)
    restore(store.newest, target)
    assert target["step"] == 1.0


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path, monkeypatch) -> None:
    """The state is that of the call, and until its file is there the one before stands."""
    store = Checkpoints(tmp_path)
    store.save(1, tensors(1.0), {})
    store.wait()
    go_on, begun = threading.Event(), threading.Event()

    def slow(content: dict, path: Path) -> None:
        begun.set()
        assert go_on.wait(30)
        save_file(content, path)

    monkeypatch.setattr(checkpoints, "save_file", slow)
    live = tensors(2.0)
    store.save(2, live, {})
    assert begun.wait(30)
    live["weight"].fill_(7.0)
    assert store.newest is not None
    assert store.newest.name == "step-00000001"
    go_on.set()
    store.wait()
    assert names(tmp_path) == {"step-00000002"}
    target = tensors(0.0)
    restore(store.newest, target)
    assert torch.equal(target["weight"], torch.full((3, 2), 2.0))


def test_a_save_that_was_killed_leaves_the_one_before(tmp_path) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, tensors(1.0), {})
    store.wait()
    left = tmp_path / "checkpoints" / "step-00000002.unfinished"
    left.mkdir()
    (left / PART).write_bytes(b"half of")
    again = Checkpoints(tmp_path)
    assert again.newest is not None
    assert again.newest.name == "step-00000001"
    again.forget_unfinished()
    assert names(tmp_path) == {"step-00000001"}
    (tmp_path / "checkpoints" / "step-00000000").mkdir()  # killed before it was removed
    again.save(2, tensors(2.0), {})
    again.wait()
    assert names(tmp_path) == {"step-00000002"}


def test_a_failure_is_told_at_the_next_save_and_leaves_the_one_before(tmp_path, monkeypatch) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, tensors(1.0), {})
    store.wait()

    def full(*arguments: object) -> None:
        del arguments
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", full)
        store.save(2, tensors(2.0), {})
        with pytest.raises(InputError, match="the disk is full"):
            store.save(3, tensors(3.0), {})
    assert store.newest is not None
    assert store.newest.name == "step-00000001"
    store.save(3, tensors(3.0), {})
    store.wait()
    assert store.newest.name == "step-00000003"


def test_a_part_that_never_comes_is_an_error(tmp_path, monkeypatch) -> None:
    store = Checkpoints(tmp_path)
    store.world = 2
    monkeypatch.setattr(checkpoints, "PATIENCE", 0.1)
    store.save(1, tensors(1.0), {})
    with pytest.raises(InputError, match="did not write its part"):
        store.wait()
    assert store.newest is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"more": torch.zeros(1)}, "another recipe: 1 names differ, such as more"),
        ({"weight": torch.zeros(3, 3)}, "weight has the shape"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, changes, message) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, tensors(1.0), {})
    store.wait()
    with pytest.raises(InputError, match=message):
        restore(store.newest, {**tensors(0.0), **changes})


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"step": 1})])
def test_a_broken_state_is_refused(tmp_path, content) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, tensors(1.0), {})
    store.wait()
    assert store.newest is not None
    (store.newest / "state.json").write_text(content)
    with pytest.raises(InputError, match="step-00000001"):
        restore(store.newest, tensors(0.0))


def test_a_broken_part_is_refused(tmp_path) -> None:
    store = Checkpoints(tmp_path)
    store.save(1, tensors(1.0), {})
    store.wait()
    assert store.newest is not None
    part = store.newest / PART
    part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(InputError, match="cannot read the checkpoint"):
        restore(store.newest, tensors(0.0))


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_as_if_nothing_had_been(tmp_path) -> None:
    """Every step is saved, so that the blow falls while a checkpoint is written, or just before or after."""
    phase = "phases=[{steps: 12, image_size: 112, batch_size: 1, weights: {scenes: 1}}]"
    sources = "data={workers: 0, sources: {scenes: {kind: scenes}}}"
    overrides = ["preset=debug", "device=cpu", "bfloat16=false", "checkpoint_minutes=0", sources, phase]
    command = [sys.executable, "-m", "masklet.train.run.loop", "builtin", str(tmp_path / "killed"), *overrides]
    with subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        store = Checkpoints(tmp_path / "killed")
        while store.newest is None or int(store.newest.name.removeprefix("step-")) < 3:
            assert process.poll() is None
            time.sleep(0.002)
        process.kill()
    assert store.newest is not None
    assert read_state(store.newest)["step"] < 12
    assert loop.run("builtin", overrides, tmp_path / "killed", resume=True)
    assert loop.run("builtin", overrides, tmp_path / "whole")
    killed, whole = (load_file(tmp_path / name / "checkpoints/step-00000012" / PART) for name in ("killed", "whole"))
    assert killed.keys() == whole.keys()
    for name, value in whole.items():
        assert torch.equal(killed[name], value), name
