"""`masklet merge`: adapters and their base become a model."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import masklet.cli.models  # noqa: F401 - which adds the command
from masklet.checkpoints.adapters import read, write_adapter
from masklet.checkpoints.hub import find
from masklet.cli.app import app
from masklet.errors import InputError
from masklet.nn.lora import Adapter

BIAS = "decoder.presence_head.layers.2.bias"


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """The built-in model, calmer by two."""
    weights, path = read(find("tiny")), tmp_path / "calmer.safetensors"
    write_adapter(Adapter(tensors={BIAS: weights.state[BIAS].float() - 2}, scale=1.0), weights, "tiny", path)
    return path


def run(*arguments: str) -> str:
    return CliRunner().invoke(app, ["merge", *arguments], catch_exceptions=False).output


def test_a_share_of_an_adapter_is_merged(tmp_path, adapter) -> None:
    out, before = tmp_path / "out.safetensors", read(find("tiny")).state
    answer = json.loads(run(str(out), f"{adapter}=0.5", "--base", "tiny", "--json"))
    assert answer == {"path": str(out), "shares": {str(adapter): 0.5}}
    after = read(out).state
    torch.testing.assert_close(after[BIAS], before[BIAS].float() - 1)
    assert all(torch.equal(after[name], value) for name, value in before.items() if name != BIAS)


def test_without_a_share_all_of_it_is_merged(tmp_path, adapter) -> None:
    assert run(str(tmp_path / "out.safetensors"), str(adapter)).startswith("wrote")
    torch.testing.assert_close(read(tmp_path / "out.safetensors").state[BIAS], read(adapter).state[BIAS])


@pytest.mark.parametrize("extra", ["=much", "=inf", "=1"])
def test_what_makes_no_sense_is_refused(tmp_path, adapter, extra) -> None:
    with pytest.raises(InputError, match=r"not a number|twice"):
        run(str(tmp_path / "out.safetensors"), str(adapter), f"{adapter}{extra}")
    assert not (tmp_path / "out.safetensors").exists()
