"""Connected parts equal the official ones (tests/golden/official/4c_functions), and a slow count."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file

from masklet.ops.components import component_areas, fill_holes, remove_specks

FOLDER = Path(__file__).parents[1] / "golden" / "official"
GOLDEN = load_file(FOLDER / "4c_functions.safetensors")
CASES = json.loads((FOLDER / "4c_functions.json").read_text())["cases"]
LIMITS = {case["index"]: case["args"]["max_area"] for case in CASES if case["fn"] == "fill_holes"}

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


def test_areas_equal_the_official_ones() -> None:
    areas = component_areas(GOLDEN["components.0.in.mask"][:, 0].bool())
    torch.testing.assert_close(areas, GOLDEN["components.0.out.areas"][:, 0].long())


@given(masks)
@settings(max_examples=50, deadline=None)
def test_areas_equal_those_of_a_flood(batch: np.ndarray) -> None:
    expected = np.stack([flood(mask) for mask in batch]) if len(batch) else np.zeros(batch.shape, dtype=np.int64)
    torch.testing.assert_close(component_areas(torch.from_numpy(batch)), torch.from_numpy(expected))


@pytest.mark.parametrize("index", LIMITS)
def test_holes_then_specks_are_repaired_as_in_the_official_code(index: int) -> None:
    """The video model's repair: both steps, and values just across the threshold."""
    logits, limit = GOLDEN[f"fill_holes.{index}.in.masks"][:, 0], LIMITS[index]
    repaired = remove_specks(fill_holes(logits, limit, value=0.1), limit, value=-0.1)
    torch.testing.assert_close(repaired, GOLDEN[f"fill_holes.{index}.out.masks"][:, 0])


@given(masks)
@settings(max_examples=50, deadline=None)
def test_a_limit_of_zero_changes_nothing(batch: np.ndarray) -> None:
    logits = torch.from_numpy(batch).float() - 0.5
    assert fill_holes(logits, 0).equal(logits)
    assert remove_specks(logits, 0).equal(logits)


@given(masks)
@settings(max_examples=50, deadline=None)
def test_no_hole_within_the_limit_is_left(batch: np.ndarray) -> None:
    filled = fill_holes(torch.from_numpy(batch).float() - 0.5, 3)
    areas = component_areas(filled <= 0)
    assert areas[areas > 0].gt(3).all()


def test_the_only_part_of_a_mask_is_no_speck() -> None:
    logits = torch.full((1, 4, 4), -1.0)
    logits[0, 1, 1] = 1
    assert remove_specks(logits, 16).equal(logits)
