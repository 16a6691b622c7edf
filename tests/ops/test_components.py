"""Connected parts equal the official ones (tests/golden/official/4c_functions), and a slow count."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file

from masklet.ops.components import component_areas, component_areas_by_growth, fill_holes, fill_small, remove_specks

FOLDER = Path(__file__).parents[1] / "golden" / "official"
GOLDEN = load_file(FOLDER / "4c_functions.safetensors")
CASES = json.loads((FOLDER / "4c_functions.json").read_text())["cases"]
LIMITS = {case["index"]: case["args"]["max_area"] for case in CASES if case["fn"] == "fill_holes"}

Areas = Callable[[torch.Tensor], torch.Tensor]

masks = hnp.arrays(bool, st.tuples(st.integers(0, 3), st.integers(0, 7), st.integers(0, 7)))


def flood(mask: np.ndarray) -> np.ndarray:
    """Areas by growing each part pixel by pixel."""
    areas = np.zeros(mask.shape, dtype=np.int64)
    for start in zip(*np.nonzero(mask), strict=True):
        part, grown = {start}, [start]
        while grown:
            row, column = grown.pop()
            for near in ((row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
                inside = 0 <= near[0] < mask.shape[0] and 0 <= near[1] < mask.shape[1]
                if inside and mask[near] and near not in part:
                    part.add(near)
                    grown.append(near)
        areas[start] = len(part)
    return areas


def spiral(size: int) -> np.ndarray:
    """One path one pixel wide and as long as can be, so that news travels slowly from end to end."""
    mask = np.zeros((size, size), dtype=bool)
    row, column, step_row, step_column = 0, 0, 0, 1
    turns = 0
    while turns < 2:
        mask[row, column] = True
        ahead, beyond = (row + step_row, column + step_column), (row + 2 * step_row, column + 2 * step_column)
        is_inside = all(0 <= place < size for place in ahead)
        leads_on = all(0 <= place < size for place in beyond)
        if is_inside and not mask[ahead] and not (leads_on and mask[beyond]):
            (row, column), turns = ahead, 0
        else:
            step_row, step_column, turns = step_column, -step_row, turns + 1
    return mask


@pytest.mark.parametrize("areas_of", [component_areas, component_areas_by_growth])
def test_areas_equal_the_official_ones(areas_of: Areas) -> None:
    areas = areas_of(GOLDEN["components.0.in.mask"][:, 0].bool())
    torch.testing.assert_close(areas, GOLDEN["components.0.out.areas"][:, 0].long())


@pytest.mark.parametrize("areas_of", [component_areas, component_areas_by_growth])
@given(batch=masks)
@settings(max_examples=50, deadline=None)
def test_areas_equal_those_of_a_flood(areas_of: Areas, batch: np.ndarray) -> None:
    expected = np.stack([flood(mask) for mask in batch]) if len(batch) else np.zeros(batch.shape, dtype=np.int64)
    torch.testing.assert_close(areas_of(torch.from_numpy(batch)), torch.from_numpy(expected))


@pytest.mark.parametrize("size", [1, 2, 9, 30, 65])
def test_growth_reaches_both_ends_of_a_spiral(size: int) -> None:
    path = torch.from_numpy(spiral(size))
    assert size < 3 or path.sum() > size * size // 3
    batch = torch.stack([path, ~path, path.T, torch.zeros_like(path), torch.ones_like(path)])
    areas = component_areas_by_growth(batch)
    assert areas[0].unique().tolist() == sorted({0, int(path.sum())} - ({0} if path.all() else set()))
    torch.testing.assert_close(areas, component_areas(batch))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.41, 0.5, 0.9])
def test_growth_equals_labelling_on_noise(share: float) -> None:
    """Around four tenths the parts of noise are as ragged as they get."""
    noise = torch.rand(4, 90, 120, generator=torch.Generator().manual_seed(0)) < share
    torch.testing.assert_close(component_areas_by_growth(noise), component_areas(noise))


@pytest.mark.parametrize("index", LIMITS)
def test_holes_then_specks_are_repaired_as_in_the_official_code(index: int) -> None:
    """The video model's repair: both steps, and values just across the threshold."""
    logits, limit = GOLDEN[f"fill_holes.{index}.in.masks"][:, 0], LIMITS[index]
    torch.testing.assert_close(fill_small(logits, limit), GOLDEN[f"fill_holes.{index}.out.masks"][:, 0])


@given(masks)
@settings(max_examples=50, deadline=None)
def test_a_limit_of_zero_changes_nothing(batch: np.ndarray) -> None:
    logits = torch.from_numpy(batch).float() - 0.5
    assert fill_holes(logits, 0).equal(logits)
    assert remove_specks(logits, 0).equal(logits)
    assert fill_small(logits, 0).equal(logits)


@given(masks)
@settings(max_examples=50, deadline=None)
def test_no_hole_within_the_limit_is_left(batch: np.ndarray) -> None:
    filled = fill_holes(torch.from_numpy(batch).float() - 0.5, 3)
    areas = component_areas(filled <= 0)
    assert areas[areas > 0].gt(3).all()


@given(hnp.arrays(bool, st.tuples(st.integers(0, 2), st.integers(1, 24), st.integers(1, 24))), st.integers(0, 4))
@settings(max_examples=50, deadline=None)
def test_small_parts_are_found_in_the_surroundings_of_a_mask_as_in_the_whole_picture(
    batch: np.ndarray, limit: int
) -> None:
    """Also where most of the picture is far from the mask."""
    batch[:, 12:], batch[:, :, 14:] = False, False
    logits = torch.from_numpy(batch).float() - 0.5
    whole = remove_specks(fill_holes(logits, limit, value=0.1), limit, value=-0.1)
    assert fill_small(logits, limit).equal(whole)


def test_the_only_part_of_a_mask_is_no_speck() -> None:
    logits = torch.full((1, 4, 4), -1.0)
    logits[0, 1, 1] = 1
    assert remove_specks(logits, 16).equal(logits)
