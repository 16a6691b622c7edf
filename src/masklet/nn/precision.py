"""The compute type: where bfloat16 is fast, and which parameters follow.

Matrices and norms of the trunk do, what decides coordinates does not.
"""

import torch
from torch import nn

from masklet.nn.blocks import LayerNorm2d, PreciseMLP

_FOLLOW = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.LayerNorm, nn.GroupNorm, nn.Embedding, LayerNorm2d)


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for it; without them bfloat16 is slower than float32.

    With AVX-512's, products and convolutions take half the time of float32 ones; with AMX, less still.
    torch has no public names for these two.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and (torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


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
