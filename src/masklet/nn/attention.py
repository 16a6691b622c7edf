"""Multi-head attention, twice: over one sequence (one fused projection) and over another (keys projected apart).

Everything ends in `attend`, which leaves the kernel to PyTorch wherever PyTorch has a good one. Keys and values of
`Attention` are projected by a method of their own, so that what depends on the image alone is projected once and shared
by all prompts.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn

from masklet.nn.rope import rotate
from masklet.types import Bundle, bundle


@bundle
class KeyValues(Bundle):
    """Projected keys and values, split into heads."""

    keys: Float[Tensor, "batch head token head_dim"]
    values: Float[Tensor, "batch head token head_dim"]


class SelfAttention(nn.Module):
    """Attention of a sequence to itself: bidirectional with rotary positions (vision) or causal (text)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(
        self,
        x: Float[Tensor, "batch token dim"],
        rotation: Complex[Tensor, "token pair"] | None = None,
        *,
        causal: bool = False,
    ) -> Float[Tensor, "batch token dim"]:
        """Mixes tokens; `rotation` turns queries and keys by their positions."""
        q, k, v = rearrange(self.qkv(x), "b n (three h d) -> three b h n d", three=3, h=self.num_heads)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        length = x.shape[1]
        mask = torch.ones(1, 1, length, length, dtype=torch.bool, device=x.device).tril() if causal else None
        mixed = attend(q, KeyValues(keys=k, values=v), mask)
        return self.out(rearrange(mixed, "b h n d -> b n (h d)"))


class Attention(nn.Module):
    """Attention of queries to a memory, with separate projections.

    `inner_dim` is the width inside (the click head halves it), `memory_dim` the width of keys and values (the
    tracker's memories are narrow). `dropout` acts on the attention weights in training.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        *,
        inner_dim: int | None = None,
        memory_dim: int | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inner_dim = inner_dim or dim
        if inner_dim % num_heads:
            raise ValueError(f"attention width {inner_dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.q = nn.Linear(dim, inner_dim)
        self.k = nn.Linear(memory_dim or dim, inner_dim)
        self.v = nn.Linear(memory_dim or dim, inner_dim)
        self.out = nn.Linear(inner_dim, dim)

    def project(
        self, keys: Float[Tensor, "batch token memory_dim"], values: Float[Tensor, "batch token memory_dim"]
    ) -> KeyValues:
        """Keys and values ready to be attended to, as often as wanted."""
        return KeyValues(keys=self.split(self.k(keys)), values=self.split(self.v(values)))

    def forward(
        self,
        queries: Float[Tensor, "batch query dim"],
        memory: KeyValues,
        mask: Bool[Tensor, "#batch #head #query token"] | Float[Tensor, "#batch #head #query token"] | None = None,
    ) -> Float[Tensor, "batch query dim"]:
        """Mixes the memory into each query. A bool mask is True where a key may be seen; a float mask is added."""
        mixed = attend(self.split(self.q(queries)), memory, mask, dropout=self.dropout if self.training else 0.0)
        return self.out(rearrange(mixed, "b h n d -> b n (h d)"))

    def split(self, x: Float[Tensor, "batch token inner"]) -> Float[Tensor, "batch head token head_dim"]:
        """The channels dealt to the heads."""
        return rearrange(x, "b n (h d) -> b h n d", h=self.num_heads)


def attend(
    q: Float[Tensor, "batch head query head_dim"],
    memory: KeyValues,
    mask: Bool[Tensor, "#batch #head #query token"] | Float[Tensor, "#batch #head #query token"] | None = None,
    *,
    dropout: float = 0.0,
) -> Float[Tensor, "batch head query head_dim"]:
    """Values averaged by softmax of scaled products; a bool mask is True where a key is seen, a float one is added."""
    if mask is not None and mask.is_floating_point():
        mask = mask.to(q.dtype)
    if _better_written_out(q, memory.keys, mask):
        scores = (q * q.shape[-1] ** -0.5) @ memory.keys.transpose(-1, -2)
        if mask is not None:
            scores = scores + mask if mask.is_floating_point() else scores.masked_fill(~mask, float("-inf"))
        return F.dropout(scores.softmax(dim=-1), dropout) @ memory.values
    return F.scaled_dot_product_attention(q, memory.keys, memory.values, attn_mask=mask, dropout_p=dropout)


def _better_written_out(q: Tensor, keys: Tensor, mask: Tensor | None) -> bool:
    """Whether PyTorch has no good kernel: none learns an added bias, and on a CPU the fused backward takes up to eight
    times as long as three plain products, as long as the scores of a head fit the cache."""
    if not (torch.is_grad_enabled() and q.requires_grad):
        return False
    learns_bias = mask is not None and mask.requires_grad
    return learns_bias or (q.device.type == "cpu" and q.shape[-2] * keys.shape[-2] <= 1 << 20)


@torch.no_grad()
def begin_comparing(left: nn.Linear, right: nn.Linear) -> None:
    """Begins training with two projections of one kind, so that their product says how alike two things are.

    The published model began with two random ones: docs/parity.md#how-training-begins.
    """
    left.weight.mul_(3**0.5)  # about orthogonal: lengths and angles stay
    right.weight.copy_(left.weight)
    nn.init.zeros_(left.bias)
    nn.init.zeros_(right.bias)


@torch.no_grad()
def begin_passing(attention: Attention) -> None:
    """Begins training with values that leave attention about as they came, instead of projected at random twice."""
    attention.v.weight.mul_(3**0.5)
    attention.out.weight.copy_(attention.v.weight.T)
    nn.init.zeros_(attention.v.bias)
    nn.init.zeros_(attention.out.bias)


def key_mask(valid: Bool[Tensor, "batch token"]) -> Bool[Tensor, "batch 1 1 token"]:
    """Mask that hides padding from every head and query."""
    return valid[:, None, None, :]


def share(memory: KeyValues, index: Tensor) -> KeyValues:
    """Rows of a per-image memory for each prompt; a single image is broadcast, not copied."""
    return memory.map(lambda tensor: take_rows(tensor, index))


def take_rows(tensor: Float[Tensor, "image *rest"], index: Tensor) -> Float[Tensor, "prompt *rest"]:
    """`tensor[index]`, without the copy when there is only one row to choose."""
    if tensor.shape[0] == 1:
        return tensor.expand(index.shape[0], *tensor.shape[1:])
    return torch.index_select(tensor, 0, index)
