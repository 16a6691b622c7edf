"""Rotary positions on a two-dimensional grid: the column turns the first half of each head, the row the second.

The table is complex, because a complex product is the one form of this rotation that PyTorch runs vectorised on
interleaved pairs (measured on a CPU: twice as fast as the real form). It stays in float32 whatever the model's type.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

_PART = 512  # tokens whose float32 copies stay in the cache of a CPU core


def axial_rotation(
    positions_xy: Float[Tensor, "token 2"], head_dim: int, theta: float
) -> Complex[Tensor, "token pair"]:
    """Unit complex numbers that turn pair `i` of a head by its angle; x first, then y.

    Positions are in units of patches of the training grid, so larger grids pass fractions.

    Source: Heo et al., Rotary Position Embedding for Vision Transformer (ECCV 2024), axial form.
    """
    quarter = head_dim // 4
    steps = torch.arange(quarter, device=positions_xy.device, dtype=torch.float32)
    frequencies = theta ** (-steps / quarter)
    angles = (positions_xy[:, :, None] * frequencies).flatten(1)
    return torch.polar(torch.ones_like(angles), angles)


def rotate(
    x: Float[Tensor, "batch head token head_dim"], rotation: Complex[Tensor, "token pair"]
) -> Float[Tensor, "batch head token head_dim"]:
    """Neighbouring channels `(2i, 2i+1)` turned as a complex number, computed in float32."""
    if x.device.type != "cpu" or x.dtype == torch.float32 or x.requires_grad:
        return rotate_at_once(x, rotation)
    # A few tokens at a time: copies of all in float32 cost a CPU more than the arithmetic
    turned = torch.empty_like(x)
    for start in range(0, len(rotation), _PART):
        part = slice(start, start + _PART)
        turned[:, :, part] = rotate_at_once(x[:, :, part], rotation[part])
    return turned


def rotate_at_once(
    x: Float[Tensor, "batch head token head_dim"], rotation: Complex[Tensor, "token pair"]
) -> Float[Tensor, "batch head token head_dim"]:
    """The same by one product, for devices made for it and where it is learned through."""
    pairs = torch.view_as_complex(x.float().unflatten(-1, (-1, 2)).contiguous())
    return torch.view_as_real(pairs * rotation).flatten(-2).to(x.dtype)
