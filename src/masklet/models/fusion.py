"""The fusion encoder: image tokens look at each other and at the prompt. The prompt itself is not updated.

Its layer is used by the exemplar encoder too. The self-attention of the first layer does not see the prompt, so it is
run once per image (`begin`) and shared by all prompts on it.
"""

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from masklet.nn.attention import Attention, KeyValues, begin_comparing, key_mask
from masklet.nn.blocks import FeedForward, Stack
from masklet.types import TokenSet


class FusionLayer(nn.Module):
    """Pre-norm layer: self-attention, attention to a memory, feed-forward."""

    def __init__(self, dim: int, num_heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, num_heads, dropout=dropout)
        self.norm2 = nn.LayerNorm(dim)
        self.cross_attention = Attention(dim, num_heads, dropout=dropout)
        self.norm3 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, hidden, F.relu, dropout=dropout)
        self.dropout = nn.Dropout(dropout)

    def attend_self(
        self,
        x: Float[Tensor, "batch token dim"],
        position: Float[Tensor, "token dim"] | None = None,
        valid: Bool[Tensor, "batch token"] | None = None,
    ) -> Float[Tensor, "batch token dim"]:
        """First third of the layer. Positions are added to queries and keys, not to values."""
        normed = self.norm1(x)
        placed = normed if position is None else normed + position
        memory = self.self_attention.project(placed, normed)
        mask = None if valid is None else key_mask(valid)
        return x + self.dropout(self.self_attention(placed, memory, mask))

    def attend_memory(
        self,
        x: Float[Tensor, "batch token dim"],
        memory: KeyValues,
        valid: Bool[Tensor, "batch key"] | None = None,
    ) -> Float[Tensor, "batch token dim"]:
        """The other two thirds."""
        mask = None if valid is None else key_mask(valid)
        x = x + self.dropout(self.cross_attention(self.norm2(x), memory, mask))
        return x + self.dropout(self.mlp(self.norm3(x)))


class FusionEncoder(nn.Module):
    """Conditions the image on the prompt.

    Source: SAM 3 paper, section 3 (fusion encoder); DETR encoder with cross-attention to the prompt.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes and the dropout of training."""

        dim: int = 256
        depth: int = 6
        num_heads: int = 8
        hidden: int = 2048
        dropout: float = 0.1

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers = Stack(
            FusionLayer(config.dim, config.num_heads, config.hidden, config.dropout) for _ in range(config.depth)
        )
        for layer in self.layers:
            begin_comparing(layer.cross_attention.q, layer.cross_attention.k)

    def begin(
        self, x: Float[Tensor, "image token dim"], position: Float[Tensor, "token dim"]
    ) -> Float[Tensor, "image token dim"]:
        """Image tokens after the only step that is the same for every prompt."""
        return self.layers[0].attend_self(x, position)

    def forward(
        self, begun: Float[Tensor, "prompt token dim"], position: Float[Tensor, "token dim"], prompt: TokenSet
    ) -> Float[Tensor, "prompt token dim"]:
        """Image tokens conditioned on the prompt, from what `begin` returned. No final norm."""
        x = begun
        for index, layer in enumerate(self.layers):
            if index:
                x = layer.attend_self(x, position)
            memory = layer.cross_attention.project(prompt.tokens, prompt.tokens)
            x = layer.attend_memory(x, memory, prompt.valid)
        return x
