"""Region pooling equals the official numbers, and a slow reading of its definition."""

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from masklet.ops.roi import roi_align

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "official" / "4c_functions.safetensors")


def sample(plane: Tensor, y: float, x: float) -> float:
    """Bilinear, zero further than a cell outside, the border repeated."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = plane[top, left] * (1 - x + left) + plane[top, right] * (x - left)
    lower = plane[bottom, left] * (1 - x + left) + plane[bottom, right] * (x - left)
    return float(upper * (1 - y + top) + lower * (y - top))


def slow_roi_align(plane: Tensor, box: list[float], bins: int) -> Tensor:
    """One map, one box, one sample after the other."""
    x0, y0, x1, y1 = box
    bin_width, bin_height = max(x1 - x0, 1) / bins, max(y1 - y0, 1) / bins
    across, down = math.ceil(bin_width), math.ceil(bin_height)
    result = torch.zeros(bins, bins)
    for row in range(bins):
        for column in range(bins):
            ys = [y0 + row * bin_height + (i + 0.5) * bin_height / down for i in range(down)]
            xs = [x0 + column * bin_width + (i + 0.5) * bin_width / across for i in range(across)]
            result[row, column] = sum(sample(plane, y, x) for y in ys for x in xs) / (down * across)
    return result


def test_pooled_regions_equal_the_official_ones() -> None:
    boxes = GOLDEN["roi.0.in.boxes_xyxy"][0]
    features = GOLDEN["roi.0.in.features"].expand(len(boxes), -1, -1, -1)
    assert_close(roi_align(features, boxes, 7), GOLDEN["roi.0.out.out"], rtol=0, atol=5e-5)


@given(
    seed=st.integers(0, 2**32 - 1),
    bins=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
@settings(max_examples=40, deadline=None)
def test_pooling_equals_the_slow_definition(seed: int, bins: int, height: int, width: int) -> None:
    """Boxes inside, across and beyond the border, also inverted; drawn so that no sample falls on an edge exactly."""
    generator = torch.Generator().manual_seed(seed)
    plane = torch.randn(height, width, generator=generator, dtype=torch.float64)
    box = torch.rand(1, 4, generator=generator, dtype=torch.float64) * 16 - 4
    pooled = roi_align(plane[None, None], box, bins)[0, 0]
    assert_close(pooled.float(), slow_roi_align(plane, box[0].tolist(), bins), rtol=0, atol=1e-5)


def test_no_boxes_give_no_regions() -> None:
    assert roi_align(torch.zeros(0, 3, 4, 5), torch.zeros(0, 4), 7).shape == (0, 3, 7, 7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pooling_keeps_the_type(dtype: torch.dtype) -> None:
    pooled = roi_align(torch.ones(1, 2, 4, 4, dtype=dtype), torch.tensor([[0.0, 0.0, 2.0, 2.0]], dtype=dtype), 2)
    assert_close(pooled, torch.ones(1, 2, 2, 2, dtype=dtype))
