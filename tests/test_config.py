"""The shipped sizes: the defaults are the published model, every preset builds, and a config survives JSON."""

import json
from dataclasses import replace

import pytest
import torch

from masklet.checkpoints.configs import from_dict, to_dict
from masklet.config import PRESETS, sam3
from masklet.models.detector import Detector
from masklet.models.vision import Trunk, VisionEncoder


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds_without_memory_and_survives_json(name: str) -> None:
    config = PRESETS[name]()
    with torch.device("meta"):
        Detector(config)
    assert from_dict(Detector.Config, json.loads(json.dumps(to_dict(config)))) == config


def test_the_defaults_are_the_published_model() -> None:
    assert sam3() == Detector.Config()
    assert sam3().image_size == 1008
    assert sam3().vision.trunk.global_blocks == (7, 15, 23, 31)


def test_the_built_in_model_is_small() -> None:
    with torch.device("meta"):
        detector = Detector(PRESETS["tiny"]())
    assert sum(parameter.numel() for parameter in detector.parameters()) < 16.0e6


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValueError, match=r"unknown keys in Detector\.Config: imagesize"):
        from_dict(Detector.Config, {"imagesize": 336})


def test_sizes_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="different widths"):
        replace(sam3(), vision=VisionEncoder.Config(dim=128))
    with pytest.raises(ValueError, match="image_size 1000 is not a multiple of 336"):
        replace(sam3(), image_size=1000)
    with pytest.raises(ValueError, match="multiple of 4"):
        Trunk.Config(dim=100, num_heads=3)
