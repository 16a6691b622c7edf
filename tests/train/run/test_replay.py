"""Replay: general pictures beside one's own, and the source that tells what was forgotten."""

from pathlib import Path

import pytest
import torch
from labelled_pictures import write_pictures

from masklet.checkpoints.adapters import read
from masklet.checkpoints.weights import Weights, write
from masklet.config import PRESETS
from masklet.data.everyday import WithEverydayNegatives
from masklet.data.sources import GeneratedSource
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.train.recipes.phase_sources import PhaseSources
from masklet.train.recipes.schema import load_recipe
from masklet.train.recipes.source_specs import SacoSpec
from masklet.train.run import loop

SMALL = ["device=cpu", "bfloat16=false", "data.workers=0", "phases.0.image_size=112", "phases.0.steps=2"]


@pytest.mark.parametrize("name", ["finetune-replay", "presence-only"])
def test_every_other_picture_is_a_general_one(name, tmp_path):
    pictures = write_pictures(tmp_path / "pictures", count=4)
    recipe = load_recipe(name, [*SMALL, f"data.root={pictures}", "data.sources.mine.split=all"])
    (phase,) = recipe.phases
    assert phase.weights == {"mine": 0.5, "general": 0.5}
    kinds = {source: type(each) for source, each in PhaseSources(recipe).images(phase).items()}
    assert kinds == {"mine": WithEverydayNegatives, "general": GeneratedSource}


def test_ones_own_pictures_are_learnt_from_as_often_as_without_replay():
    alone, replayed = load_recipe("finetune"), load_recipe("finetune-replay")
    assert replayed.total_steps * replayed.phases[0].weights["mine"] == alone.total_steps
    assert replayed.phases[0].image_size == alone.phases[0].image_size
    assert replayed.train == alone.train


def test_general_pictures_may_be_ones_own():
    spec = "{kind: saco, annotations: general/annotations.json, images: general/images}"
    recipe = load_recipe("finetune-replay", [f"data.sources.general={spec}"])
    assert isinstance(recipe.data.sources["general"], SacoSpec)
    assert recipe.general == "general"


def test_a_general_source_must_be_there():
    with pytest.raises(InputError, match="general: there is no source 'photos'"):
        load_recipe("finetune", ["general=photos"])


def test_a_run_with_replay_leaves_weights(tmp_path: Path):
    torch.manual_seed(0)
    config = PRESETS["debug"]()
    write(
        Weights(config=config, state=dict(Detector(config).state_dict()), origin="a test"),
        tmp_path / "base.safetensors",
    )
    pictures = write_pictures(tmp_path / "pictures", count=4)
    own = [f"initial_weights={tmp_path / 'base.safetensors'}", f"data.root={pictures}", "data.sources.mine.split=all"]
    assert loop.run("finetune-replay", [*SMALL, *own], tmp_path / "run")
    assert read(tmp_path / "run/weights.safetensors").config == config
