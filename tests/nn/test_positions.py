"""Sine codes and rotary tables equal the official ones: tests/golden/official/4c_functions."""

import json
from pathlib import Path

import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from masklet.nn.positions import sine_code, sine_map
from masklet.nn.rope import axial_rotation, rotate, rotate_at_once

FOLDER = Path(__file__).parents[1] / "golden" / "official"
GOLDEN = load_file(FOLDER / "4c_functions.safetensors")
CASES = json.loads((FOLDER / "4c_functions.json").read_text())["cases"]
MAPS = [case for case in CASES if case["fn"] == "sine2d"]
TABLES = [case for case in CASES if case["fn"] == "rope_table"]
ATOL = 1e-6


def grid_xy(side: int, scale: float) -> Tensor:
    """Columns and rows of a square grid, row by row."""
    axis = torch.arange(side) * scale
    return torch.stack([axis.repeat(side), axis.repeat_interleave(side)], dim=-1)


@pytest.mark.parametrize("case", MAPS, ids=lambda case: str(case["args"]["hw"]))
def test_the_map_of_a_grid_equals_the_official_one(case: dict) -> None:
    height, width = case["args"]["hw"]
    codes = sine_map(height, width, case["args"]["dim"], torch.device("cpu"))
    expected = GOLDEN[f"sine2d.{case['index']}.out.pos"]
    assert_close(rearrange(codes, "(h w) c -> 1 c h w", h=height), expected, rtol=0, atol=ATOL)


def test_the_code_of_an_exemplar_box_equals_the_official_one() -> None:
    cx, cy, w, h = GOLDEN["box_code.0.in.boxes_cxcywh"].unbind(-1)
    code = torch.cat([sine_code(cy, 16), sine_code(cx, 16), h[:, None], w[:, None]], dim=-1)
    assert_close(code, GOLDEN["box_code.0.out.geometry_code"], rtol=0, atol=ATOL)


def test_the_code_of_a_query_box_equals_the_official_one() -> None:
    boxes = GOLDEN["box_code.0.in.boxes_cxcywh"]
    code = sine_code(boxes[:, [1, 0, 2, 3]], 16).flatten(-2)
    assert_close(code, GOLDEN["box_code.0.out.query_code"], rtol=0, atol=ATOL)


@pytest.mark.parametrize("case", TABLES, ids=lambda case: f"side {case['args']['side']} scale {case['args']['scale']}")
def test_the_rotary_table_equals_the_official_one(case: dict) -> None:
    arguments = case["args"]
    table = axial_rotation(grid_xy(arguments["side"], arguments["scale"]), arguments["head_dim"], 10000.0)
    expected = GOLDEN[f"rope_table.{case['index']}.out.angle_cos_sin"]
    assert_close(torch.view_as_real(table), expected, rtol=0, atol=ATOL)


def test_a_rotation_turns_neighbouring_channels() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 9, 8, generator=generator)
    table = axial_rotation(grid_xy(3, 1.0), 8, 10000.0)
    u, v = x[..., 0::2], x[..., 1::2]
    turned = torch.stack([u * table.real - v * table.imag, u * table.imag + v * table.real], dim=-1).flatten(-2)
    assert_close(rotate(x, table), turned)


def test_products_of_rotated_vectors_know_only_the_offset() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 8, generator=generator)
    table = axial_rotation(grid_xy(5, 1.0), 8, 100.0)
    products = rotate(q.expand(1, 1, 25, 8), table) @ rotate(k.expand(1, 1, 25, 8), table).mT
    at = products[0, 0].view(5, 5, 5, 5)
    assert_close(at[0, 0, 1, 2], at[3, 2, 4, 4])


def test_a_rotation_keeps_the_type() -> None:
    table = axial_rotation(grid_xy(2, 1.0), 4, 10000.0)
    assert rotate(torch.ones(1, 1, 4, 4, dtype=torch.bfloat16), table).dtype == torch.bfloat16


def test_a_rotation_in_parts_is_the_same() -> None:
    """In half precision a CPU turns a few tokens at a time; these are two whole parts and a rest."""
    x = torch.randn(2, 3, 1089, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    table = axial_rotation(grid_xy(33, 1.0), 8, 10000.0)
    assert torch.equal(rotate(x, table), rotate_at_once(x, table))
