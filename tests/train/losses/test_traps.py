"""Traps of the released training code that no other test shows to be avoided: docs/parity.md has them all."""

from dataclasses import replace

import torch

from masklet.config import PRESETS, debug
from masklet.models.detector import Detector
from masklet.nn.blocks import DropPath
from masklet.train.losses.criterion import Counts


def rates(config: Detector.Config) -> list[float]:
    with torch.device("meta"):
        model = Detector(config)
    return [module.rate for module in model.vision.trunk.modules() if isinstance(module, DropPath)]


def test_one_process_needs_no_group_to_count() -> None:
    counts = Counts(targets=3, prompts=2, present=1, semantic=1, unlocated=0)
    assert not torch.distributed.is_initialized()
    assert counts.over_processes() is counts


def test_the_drop_path_of_the_config_is_the_one_of_the_blocks() -> None:
    config = debug()
    trunk = replace(config.vision.trunk, drop_path=0.3)
    found = rates(replace(config, vision=replace(config.vision, trunk=trunk)))
    assert (min(found), max(found)) == (0, 0.3)
    assert max(rates(PRESETS["sam3"]())) == 0.1
    assert rates(PRESETS["tiny"]()) == []  # its trunk is convolutional
    assert max(rates(PRESETS["first"]())) == 0
