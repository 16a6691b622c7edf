"""Parameter groups, schedule and weight average."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from masklet.config import PRESETS
from masklet.models.detector import Detector
from masklet.train.recipes.schema import parse_recipe
from masklet.train.run.optim import (
    OptimConfig,
    WeightAverage,
    cosine_factor,
    factor_of_update,
    highest_factor,
    layer_scale,
    parameter_groups,
)


def test_every_parameter_is_in_one_group_with_its_own_rate_and_decay() -> None:
    torch.manual_seed(0)
    model = Detector(PRESETS["debug"]())
    config = OptimConfig()
    found = {}
    for group in parameter_groups(model, config):
        for parameter in group["params"]:
            assert id(parameter) not in found
            found[id(parameter)] = (group["peak_lr"], group["weight_decay"])
    named = dict(model.named_parameters())
    assert len(found) == len(named)
    settings = {name: found[id(parameter)] for name, parameter in named.items()}
    assert settings["vision.trunk.position"] == (config.lr_vision, 0.0)
    assert settings["vision.trunk.patch_embed.weight"] == (config.lr_vision * 0.9**5, 0.1)
    assert all(decay == 0 for name, (_, decay) in settings.items() if name.endswith("bias") or named[name].ndim < 2)
    assert {rate for name, (rate, _) in settings.items() if name.startswith("text.")} == {config.lr_text}
    assert {rate for name, (rate, _) in settings.items() if name.startswith("decoder.")} == {config.lr_rest}


def test_frozen_parameters_are_left_out() -> None:
    model = nn.Linear(2, 2)
    model.weight.requires_grad_(requires_grad=False)
    groups = parameter_groups(model, OptimConfig())
    assert [tuple(parameter.shape) for group in groups for parameter in group["params"]] == [(2,)]


def test_no_update_is_wasted_on_a_rate_of_nothing() -> None:
    config = OptimConfig(warmup_steps=4, cooldown_steps=4, timescale=4)
    factors = [factor_of_update(update, 40, config) for update in range(40)]
    assert min(factors) > 0
    assert factors[0] == 0.25
    assert max(factors) == factors[3] == 1.0


def test_a_cosine_rises_in_a_line_and_falls_in_half_a_wave() -> None:
    factors = [cosine_factor(step, 110, warmup=10) for step in (0, 5, 10, 35, 60, 85, 110)]
    expected = [0, 0.5, 1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]
    assert factors == pytest.approx(expected)
    config = OptimConfig(schedule="cosine", warmup_steps=4, cooldown_steps=40, timescale=1)
    updates = [factor_of_update(update, 40, config) for update in range(40)]
    assert min(updates) > 0
    assert updates[0] == 0.25
    assert updates.index(1.0) == 3
    assert all(after < before for before, after in pairwise(updates[3:]))


def test_a_phase_with_a_rate_begins_the_schedule_anew() -> None:
    phases = [{"steps": 5}, {"steps": 3}, {"steps": 4, "rate": 0.1}, {"steps": 2}, {"steps": 1, "rate": 2}]
    common = {"image_size": 112, "batch_size": 1, "weights": {"scenes": 1}}
    data = {"sources": {"scenes": {"kind": "scenes"}}}
    recipe = parse_recipe({"preset": "debug", "data": data, "phases": [{**common, **phase} for phase in phases]})
    courses = [recipe.schedule_at(step) for step in range(recipe.total_steps)]
    assert courses == [(0, 8, 1.0)] * 8 + [(8, 6, 0.1)] * 6 + [(14, 1, 2.0)]


def test_parts_outside_the_trunk_are_not_scaled() -> None:
    assert layer_scale("vision.concept_neck.fine.weight", 12, 0.9) == 1.0
    assert layer_scale("vision.trunk.blocks.11.attention.qkv.weight", 12, 0.9) == 0.9


def test_average_follows_the_weights_and_keeps_their_type() -> None:
    model = nn.Linear(2, 2).to(torch.bfloat16)
    average = WeightAverage(model, 0.9)
    with torch.no_grad():
        model.weight.fill_(1.0)
    for step in range(1, 200):
        average.update(model, step)
    state = average.state_dict(model)
    assert state["weight"].dtype == torch.bfloat16
    torch.testing.assert_close(state["weight"], torch.ones(2, 2, dtype=torch.bfloat16))
    assert average.shadow["weight"].dtype == torch.float32


def test_shares_of_a_schedule_follow_its_length_and_whole_numbers_do_not():
    shares = OptimConfig(warmup_steps=0.05, cooldown_steps=0.05, timescale=0.05)
    steps = OptimConfig(warmup_steps=20, cooldown_steps=20, timescale=20)
    of_400 = [[factor_of_update(update, 400, each) for update in range(400)] for each in (shares, steps)]
    assert_close(*map(torch.tensor, of_400))
    assert highest_factor(400, steps) > 0.9
    assert highest_factor(30, steps) < 0.7, "with neither warm-up nor cool-down over there is nothing between"
    assert highest_factor(30, shares) > 0.8
