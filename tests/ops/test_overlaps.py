"""Overlaps are counted exactly, and settled as in the official code (tests/golden/official/4c_functions)."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file

from masklet.ops.masks import mask_iou
from masklet.ops.overlaps import (
    SUPPRESSED,
    binary_masks,
    keep_topmost_pixels,
    memory_object_logits,
    overlap_table,
    overlap_table_at_once,
    suppress_shrunken,
)

GOLDEN = load_file(Path(__file__).parents[1] / "golden" / "official" / "4c_functions.safetensors")

sizes = st.tuples(st.integers(0, 60), st.integers(0, 130))


@st.composite
def two_sets(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Masks on one grid, some larger than a tile, some empty."""
    size = draw(sizes)
    one, other = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    return tuple(  # type: ignore[return-value]
        draw(hnp.arrays(bool, (count, *size), fill=st.booleans())) for count in (one, other)
    )


@given(two_sets())
def test_overlaps_equal_those_counted_mask_by_mask(sets: tuple[np.ndarray, np.ndarray]) -> None:
    masks, others = sets
    for count in (overlap_table, overlap_table_at_once):
        table = count(torch.from_numpy(masks), torch.from_numpy(others))
        np.testing.assert_array_equal(table.areas, masks.sum((1, 2)))
        np.testing.assert_array_equal(table.other_areas, others.sum((1, 2)))
        np.testing.assert_array_equal(table.iou(), mask_iou(masks, others))


def test_overlaps_of_many_large_masks_are_exact() -> None:
    """Areas above 2**16, at the size of the published model."""
    random = np.random.default_rng(0)
    masks = random.random((5, 288, 288)) < np.linspace(0, 1, 5)[:, None, None]
    expected = (masks[:, None] & masks[None]).sum((2, 3))
    for count in (overlap_table, overlap_table_at_once):
        table = count(torch.from_numpy(masks), torch.from_numpy(masks))
        assert table.areas.max() == 288 * 288
        np.testing.assert_array_equal(table.shared, expected)


def test_overlaps_of_the_smaller_area() -> None:
    masks = torch.zeros(3, 4, 4, dtype=torch.bool)
    masks[0] = True
    masks[1, :1] = True
    table = overlap_table(masks, masks)
    np.testing.assert_array_equal(table.of_smaller(), [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_mask_is_where_the_logits_are_above_zero(dtype: torch.dtype) -> None:
    logits = torch.tensor([[[-1.0, 0.0, 0.5]]], dtype=dtype)
    assert binary_masks(logits).tolist() == [[[False, False, True]]]


@pytest.mark.parametrize("index", range(2))
def test_topmost_pixels_equal_the_official_ones(index: int) -> None:
    kept = keep_topmost_pixels(GOLDEN[f"pixel_nonoverlap.{index}.in.masks"][:, 0])
    assert kept.equal(GOLDEN[f"pixel_nonoverlap.{index}.out.masks"][:, 0])


@pytest.mark.parametrize("index", range(4))
def test_shrunken_objects_equal_the_official_ones(index: int) -> None:
    left = suppress_shrunken(GOLDEN[f"shrink.{index}.in.masks"][:, 0])
    assert left.equal(GOLDEN[f"shrink.{index}.out.masks"][:, 0])


def test_an_object_that_loses_too_much_to_a_surer_one_is_suppressed_whole() -> None:
    logits = torch.full((2, 4, 8), 1.0)
    logits[1, :, :6] = 2
    logits[1, :, 6:] = -1
    left = suppress_shrunken(logits)
    assert left[0].eq(SUPPRESSED).all()  # a quarter is left of it
    assert left[1].equal(logits[1])
    assert suppress_shrunken(logits, min_ratio=0.25).equal(logits)
    assert suppress_shrunken(logits[:1]).equal(logits[:1])


def test_the_object_logit_of_memory_says_whether_there_is_a_pixel() -> None:
    logits = torch.full((2, 3, 3), -1.0)
    logits[1, 2, 0] = 0.1
    assert memory_object_logits(logits).tolist() == [-10, 10]
