"""From queries to predictions: how well a query fits the prompt, and which pixels it covers.

Two identities save most of the mask head's work for every prompt after the first on an image (both hold to rounding,
`tests/models/test_heads.py`): a convolution is linear, so its share from the image features is computed once per image;
and the final 1x1 convolution is folded into the mask embeddings, a few vectors instead of a map.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from masklet.nn.attention import Attention, begin_comparing, key_mask, take_rows
from masklet.nn.blocks import MLP, PreciseMLP
from masklet.types import Bundle, FeaturePyramid, TokenSet, bundle


class ConceptScorer(nn.Module):
    """Dot product of queries with the mean of the prompt's tokens.

    Source: SAM 3 paper, section 3 (detector); logits are clamped to 12 either way as published.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes and the dropout of training."""

        dim: int = 256
        hidden: int = 2048
        dropout: float = 0.1

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.scale = config.dim**-0.5
        self.prompt_mlp = MLP(config.dim, config.hidden, config.dim)
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(config.dim)
        self.prompt_project = nn.Linear(config.dim, config.dim)
        self.query_project = nn.Linear(config.dim, config.dim)
        begin_comparing(self.prompt_project, self.query_project)

    def forward(
        self, queries: Float[Tensor, "layer prompt query dim"], prompt: TokenSet
    ) -> Float[Tensor, "layer prompt query"]:
        """Logits in [-12, 12]."""
        tokens = prompt.tokens + self.dropout(self.prompt_mlp(prompt.tokens)).to(prompt.tokens.dtype)
        valid = prompt.valid[..., None]
        tokens = self.norm(tokens) * valid
        pooled = tokens.sum(dim=1) / valid.sum(dim=1).clamp(min=1)
        concept = self.prompt_project(pooled)
        logits = torch.einsum("lpqc,pc->lpq", self.query_project(queries), concept)
        return (logits * self.scale).clamp(-12, 12)


@bundle
class PixelTerms(Bundle):
    """What the image alone contributes to the two convolutions of the pixel decoder."""

    medium: Float[Tensor, "image dim medium_height medium_width"]
    fine: Float[Tensor, "image dim fine_height fine_width"]


class MaskHead(nn.Module):
    """Pixel decoder and the two predictions made from it: a mask for each query, and the concept's whole region.

    Source: SAM 3 paper, section 3 (segmentation head), adapted from MaskFormer.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes."""

        dim: int = 256
        num_heads: int = 8
        num_groups: int = 8

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim = config.dim
        self.prompt_norm = nn.LayerNorm(dim)
        self.prompt_attention = Attention(dim, config.num_heads)
        self.conv_medium = nn.Conv2d(dim, dim, 3, padding=1)
        self.norm_medium = nn.GroupNorm(config.num_groups, dim)
        self.conv_fine = nn.Conv2d(dim, dim, 3, padding=1)
        self.norm_fine = nn.GroupNorm(config.num_groups, dim)
        self.query_mlp = PreciseMLP(dim, dim, dim, dim)
        self.instance = nn.Conv2d(dim, dim, 1)
        self.semantic = nn.Conv2d(dim, 1, 1)

    def project_image(self, features: FeaturePyramid) -> PixelTerms:
        """The image's share of both convolutions, the same for all prompts."""
        return PixelTerms(medium=self.conv_medium(features.medium), fine=self.conv_fine(features.fine))

    def embed_pixels(
        self,
        memory: Float[Tensor, "prompt token dim"],
        prompt: TokenSet,
        terms: PixelTerms,
        image_index: Int[Tensor, " prompt"],
        grid: tuple[int, int],
    ) -> Float[Tensor, "prompt dim height width"]:
        """Pixel embedding of each prompt at the fine level."""
        words = self.prompt_attention.project(prompt.tokens, prompt.tokens)
        memory = memory + self.prompt_attention(self.prompt_norm(memory), words, key_mask(prompt.valid))
        x = rearrange(memory, "p (h w) c -> p c h w", h=grid[0])
        x = upsampled_conv(x, self.conv_medium.weight) + take_rows(terms.medium, image_index)
        x = F.relu(self.norm_medium(x))
        x = upsampled_conv(x, self.conv_fine.weight) + take_rows(terms.fine, image_index)
        return F.relu(self.norm_fine(x))

    def embed_queries(
        self, queries: Float[Tensor, "prompt query dim"]
    ) -> tuple[Float[Tensor, "prompt query dim"], Float[Tensor, "prompt query"]]:
        """A vector and an offset a query, with the instance convolution folded in: times pixels they are the mask."""
        embeddings = self.query_mlp(queries)
        weight = self.instance.weight.flatten(1).to(embeddings.dtype)
        bias = self.instance.bias
        assert bias is not None  # nn.Conv2d's type allows for no bias
        return (embeddings @ weight).to(queries.dtype), (embeddings @ bias.to(embeddings.dtype)).to(queries.dtype)

    def segment_concept(self, pixels: Float[Tensor, "prompt dim height width"]) -> Float[Tensor, "prompt height width"]:
        """Logits of the region that all instances cover together."""
        return self.semantic(pixels).squeeze(1)


def upsampled_conv(
    x: Float[Tensor, "prompt dim height width"], weight: Float[Tensor, "out dim 3 3"]
) -> Float[Tensor, "prompt out 2*height 2*width"]:
    """3x3 convolution, without bias, of the map doubled by nearest neighbour: 4 products an output instead of 9.

    Each output sees only 2x2 different cells; the kernel that sums the weights falling on the same cell is a transposed
    convolution of stride 2.
    """
    spread = F.conv_transpose2d(weight.flip(-1, -2).flatten(0, 1)[:, None], weight.new_ones(1, 1, 2, 2))
    kernel = rearrange(spread, "(out dim) 1 h w -> dim out h w", out=weight.shape[0])
    return F.conv_transpose2d(x, kernel, stride=2, padding=1)
