"""Muon: what an orthogonal update is, which parameters get one, and that a run with it resumes."""

import pytest
import torch
from colored_squares import OPTIM, make_recipe, make_trainer
from torch import nn

from masklet.config import PRESETS
from masklet.models.detector import Detector
from masklet.train.run.muon import Muon, orthogonal
from masklet.train.run.optim import OptimConfig, parameter_groups

MUON = {**OPTIM, "warmup_steps": 2, "cooldown_steps": 2, "matrices": "muon"}


@pytest.mark.parametrize("shape", [(24, 80), (80, 24), (48, 48)])
def test_an_orthogonal_matrix_keeps_directions_and_evens_their_lengths(shape) -> None:
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrix = left @ torch.diag(torch.logspace(0, -1, len(right))) @ right
    inside = left.T @ orthogonal(matrix) @ right.T
    lengths = inside.diagonal()
    assert 0.6 < lengths.min() <= lengths.max() < 1.3
    assert (inside - lengths.diag()).abs().max() < 0.15, "singular vectors stay"
    assert orthogonal(torch.zeros(shape)).abs().max() == 0


def test_a_step_is_as_long_as_one_of_adamw_whatever_the_gradient() -> None:
    torch.manual_seed(0)
    for scale in (1e-4, 1e4):
        layer = nn.Conv2d(16, 32, 3, bias=False)
        before = layer.weight.detach().clone()
        group = {"params": [layer.weight], "lr": 0.01, "weight_decay": 0.0, "orthogonal": True}
        optimizer = Muon([group])
        optimizer.state[layer.weight]["exp_avg"] = torch.zeros_like(layer.weight)
        layer.weight.grad = torch.randn_like(layer.weight) * scale
        optimizer.step()
        moved = (layer.weight.detach() - before).square().mean().sqrt()
        assert 0.15 * 0.01 < moved < 0.25 * 0.01
        assert ((layer.weight.detach() - before) * layer.weight.grad).sum() < 0, "downhill"


def test_what_is_no_matrix_or_lies_in_an_encoder_stays_with_adamw() -> None:
    model = Detector(PRESETS["debug"]())
    named = {id(parameter): name for name, parameter in model.named_parameters()}
    orthogonals = {
        named[id(parameter)]
        for group in parameter_groups(model, OptimConfig(matrices="muon"))
        if group["orthogonal"]
        for parameter in group["params"]
    }
    for part in ("vision.concept_neck.", "fusion.", "decoder.", "masks."):
        assert any(name.startswith(part) for name in orthogonals), part
    shapes = [dict(model.named_parameters())[name].flatten(1).shape for name in orthogonals]
    assert min(map(min, shapes)) >= 9
    assert not any(name.startswith(("vision.trunk.", "text.")) for name in orthogonals)
    published = parameter_groups(model, OptimConfig())
    assert not any(group["orthogonal"] for group in published)


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(tmp_path) -> None:
    recipe = make_recipe(optim=MUON)
    whole = make_trainer(recipe, tmp_path / "whole")
    assert whole.train()
    assert not make_trainer(recipe, tmp_path / "parts").train(max_steps=2)
    second = make_trainer(recipe, tmp_path / "parts")
    second.resume()
    assert second.train()
    adamw = make_trainer(make_recipe(), tmp_path / "adamw")
    adamw.train()
    different = 0
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
        different += not torch.equal(value, adamw.model.state_dict()[name])
    assert different > 50, "the option does something"
