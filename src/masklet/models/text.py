"""The text encoder: a causal transformer over byte-pair tokens whose last states are the prompt, one per token.

Padding needs no mask: it stands behind every real token, where a causal model cannot see it. So the batch may be cut to
its longest phrase, and is (the tokenizer pads no further).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from masklet.nn.attention import SelfAttention
from masklet.nn.blocks import FeedForward, Stack
from masklet.types import TokenSet


class TextEncoder(nn.Module):
    """CLIP-style text transformer with a projection to the width of the detector.

    Source: SAM 3 paper, section 3 (text encoder); Radford et al., CLIP.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes; `context` is the longest token sequence, start and end included.

        `meaning_dim` is the length of what is compared with the map of a classifier (`models/recognition.py`), or 0.
        """

        vocab_size: int = 49408
        context: int = 32
        width: int = 1024
        depth: int = 24
        num_heads: int = 16
        hidden: int = 4096
        dim: int = 256
        meaning_dim: int = 0

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.width)
        self.position = nn.Parameter(torch.empty(config.context, config.width))
        self.blocks = Stack(TextBlock(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.project = nn.Linear(config.width, config.dim + config.meaning_dim)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.position, std=0.01)

    def forward(self, token_ids: Int[Tensor, "phrase token"]) -> Float[Tensor, "phrase token dim_and_meaning"]:
        """One vector for each token, start and end included; at padding the values mean nothing. See `split`."""
        x = self.tokens(token_ids)
        x = x + self.position[: token_ids.shape[1]].to(x.dtype)
        for block in self.blocks:
            x = block(x)
        return self.project(self.norm(x))

    def split(
        self, states: Float[Tensor, "phrase token dim_and_meaning"], valid: Bool[Tensor, "phrase token"]
    ) -> TokenSet:
        """The prompt's tokens, and the meaning of the phrase: what its last token, which has read all of it, says."""
        dim = self.config.dim
        if not self.config.meaning_dim:
            return TokenSet(tokens=states, valid=valid)
        rows = torch.arange(len(states), device=states.device)
        meaning = states[rows, valid.sum(dim=1) - 1, dim:]
        return TokenSet(tokens=states[..., :dim], valid=valid, meaning=meaning)


class TextBlock(nn.Module):
    """Pre-norm causal transformer block."""

    def __init__(self, config: TextEncoder.Config) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width)
        self.attention = SelfAttention(config.width, config.num_heads)
        self.norm2 = nn.LayerNorm(config.width)
        self.mlp = FeedForward(config.width, config.hidden, F.gelu)

    def forward(self, x: Float[Tensor, "phrase token width"]) -> Float[Tensor, "phrase token width"]:
        """Each token sees itself and those before it."""
        x = x + self.attention(self.norm1(x), causal=True)
        return x + self.mlp(self.norm2(x))
