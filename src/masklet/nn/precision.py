"""Which parameters follow the compute type: matrices and norms of the trunk do, what decides coordinates does not."""

import torch
from torch import nn

from masklet.nn.blocks import LayerNorm2d, PreciseMLP

_FOLLOW = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.LayerNorm, nn.GroupNorm, nn.Embedding, LayerNorm2d)


def cast_compute(module: nn.Module, dtype: torch.dtype) -> None:
    """Casts weights in place. Heads (`PreciseMLP`), learned tokens, queries and position tables stay in float32.

    A plain `module.to(dtype)` would round those too: half-precision boxes are wrong by several pixels.
    """
    if isinstance(module, PreciseMLP):
        return
    if isinstance(module, _FOLLOW):
        module.to(dtype)
    for child in module.children():
        cast_compute(child, dtype)
