"""Fixed sine codes for maps, boxes and points. Always computed in float32: half precision would round the angles."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def sine_code(values: Float[Tensor, "*batch"], dim: int) -> Float[Tensor, "*batch {dim}"]:
    """Sines and cosines, interleaved, of `2 pi * values` at `dim / 2` wavelengths from 2 pi to 10000 * 2 pi."""
    steps = torch.arange(0, dim, 2, device=values.device, dtype=torch.float32)
    angles = 2 * math.pi * values.float()[..., None] / 10000 ** (steps / dim)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)


def sine_map(height: int, width: int, dim: int, device: torch.device) -> Float[Tensor, "{height}*{width} {dim}"]:
    """Codes of the cells of a grid in row-major order: the row in the first half of the channels, then the column."""
    rows = sine_code(_cell_fractions(height, device), dim // 2)
    columns = sine_code(_cell_fractions(width, device), dim // 2)
    grid = torch.cat([rows[:, None].expand(-1, width, -1), columns[None].expand(height, -1, -1)], dim=-1)
    return grid.flatten(0, 1)


def pointer_code(values: Float[Tensor, " item"], dim: int) -> Float[Tensor, "item {dim}"]:
    """Codes of ages: sines in the first half of the channels and cosines in the second, two of each wavelength."""
    half = dim // 2
    steps = torch.arange(half, device=values.device, dtype=torch.float32)
    angles = values.float()[:, None] / 10000 ** (2 * (steps // 2) / half)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def grid_xy(columns: Float[Tensor, " width"], rows: Float[Tensor, " height"]) -> Float[Tensor, "height*width 2"]:
    """The position of each cell, in row-major order, from those of columns and rows."""
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).flatten(0, 1)


def grid_positions(height: int, width: int, window: int, device: torch.device) -> Float[Tensor, "{height}*{width} 2"]:
    """Column and row of each cell in row-major order, squeezed so that any grid spans what one window does."""
    rows = torch.arange(height, device=device, dtype=torch.float32) * (window / height)
    columns = torch.arange(width, device=device, dtype=torch.float32) * (window / width)
    return grid_xy(columns, rows)


def _cell_fractions(length: int, device: torch.device) -> Float[Tensor, " {length}"]:
    """One-based positions over the length, as DETR counts them; the epsilon is DETR's too."""
    return torch.arange(1, length + 1, device=device, dtype=torch.float32) / (length + 1e-6)
