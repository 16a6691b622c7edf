"""The vision encoder equals the official one, step by step: tests/golden/official/1_vision."""

import pytest
import torch
from einops import rearrange
from official_data import check, tensors
from torch import Tensor

from masklet.models.detector import Detector
from masklet.nn.positions import sine_map
from masklet.types import FeaturePyramid

GOLDEN = tensors("official/1_vision")
DEPTH = 4


@pytest.fixture(scope="module")
def steps(detector: Detector) -> dict[str, Tensor]:
    """What passes through the trunk, by the names of the golden file, brought to rows and columns."""
    seen: dict[str, Tensor] = {}
    trunk = detector.vision.trunk

    def keep(name: str):
        def hook(_module, _inputs, output) -> None:
            seen[name] = to_rows(output)

        return hook

    def keep_embedding(_module, inputs) -> None:
        seen["vit_embed"] = to_rows(inputs[0])

    handles = [
        trunk.norm.register_forward_pre_hook(keep_embedding),
        trunk.norm.register_forward_hook(keep("vit_ln_pre")),
    ]
    handles += [block.register_forward_hook(keep(f"vit_block{i}")) for i, block in enumerate(trunk.blocks)]
    seen["map"] = trunk(GOLDEN["images"])
    for handle in handles:
        handle.remove()
    return seen


def to_rows(tokens: Tensor) -> Tensor:
    """Window-major tokens of a square grid as the official map, channels last."""
    return rearrange(tokens, "b (wy wx) (y x) c -> b (wy y) (wx x) c", wy=2, y=4)


@pytest.mark.parametrize("name", ["vit_embed", "vit_ln_pre", *(f"vit_block{i}" for i in range(DEPTH))])
def test_each_step_of_the_trunk_equals_the_official_one(steps: dict[str, Tensor], name: str) -> None:
    check(steps[name], GOLDEN[name], "vision")


def test_the_trunk_returns_the_last_block_as_a_map(steps: dict[str, Tensor]) -> None:
    check(rearrange(steps["map"], "b c h w -> b h w c"), GOLDEN[f"vit_block{DEPTH - 1}"], "vision")


@pytest.mark.parametrize(("neck", "prefix"), [("concept_neck", "fpn"), ("click_neck", "tracker_fpn")])
def test_both_pyramids_equal_the_official_ones(
    detector: Detector, steps: dict[str, Tensor], neck: str, prefix: str
) -> None:
    pyramid: FeaturePyramid = getattr(detector.vision, neck)(steps["map"])
    for level, features in enumerate((pyramid.fine, pyramid.medium, pyramid.coarse)):
        expected = GOLDEN[f"{prefix}{level}"]  # the finer levels are stored for the first image alone
        check(features[: len(expected)], expected, "vision")


@pytest.mark.parametrize(("name", "side"), [("pos1", 16), ("pos2", 8)])
def test_the_position_maps_equal_the_official_ones(name: str, side: int) -> None:
    codes = sine_map(side, side, 32, torch.device("cpu"))
    check(rearrange(codes, "(h w) c -> 1 c h w", h=side), GOLDEN[name], "vision")


def test_a_grid_that_is_not_whole_windows_is_refused(detector: Detector) -> None:
    with pytest.raises(ValueError, match="112x100 is not a multiple of 56"):
        detector.vision.trunk(torch.zeros(1, 3, 112, 100))


def test_channels_of_the_map_are_last_in_memory(detector: Detector) -> None:
    """The necks are several times as fast with it, and hand it on."""
    with torch.inference_mode():
        grid_map = detector.vision.trunk(GOLDEN["images"])
        fine = detector.vision.click_neck(grid_map).fine
    assert grid_map.is_contiguous(memory_format=torch.channels_last)
    assert fine.is_contiguous(memory_format=torch.channels_last)
