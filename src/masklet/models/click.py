"""The click head: points, a box or a previous mask on one object become its mask, from the same vision pass.

A prompt encoder turns the prompt into a few tokens and a map; a small two-way transformer lets tokens and image look at
each other; the image is brought to four times the grid and multiplied with one vector per mask. Four masks come out:
number 0 is meant for prompts that leave no doubt, 1 to 3 are alternatives for those that do.

Source: Kirillov et al., Segment Anything (appendix A); Ravi et al., SAM 2 (skip connections, object score).
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from masklet.nn.attention import Attention
from masklet.nn.blocks import FeedForward, LayerNorm2d, PreciseMLP, Stack
from masklet.nn.positions import grid_xy
from masklet.types import Bundle, ClickOutput, ClickPrompt, FeaturePyramid, bundle

NUM_MASKS = 4
PADDING_LABEL = -1
LOGIT_LIMIT = 32.0  # bound of logits that are fed back as a mask prompt, in training as in use
_STABILITY_DELTA = 0.05
_STABILITY_THRESHOLD = 0.98


@bundle
class ClickFeatures(Bundle):
    """What the click head needs of an image, computed once; the finer maps are already narrowed.

    The coarse map may have a row for each object, where objects see the image through their memories.
    """

    fine: Float[Tensor, "#image eighth fine_height fine_width"]
    medium: Float[Tensor, "#image quarter medium_height medium_width"]
    coarse: Float[Tensor, "#image dim height width"]


@bundle
class EncodedClicks(Bundle):
    """Prompt tokens, and a map to add to the image."""

    tokens: Float[Tensor, "object token dim"]
    dense: Float[Tensor, "object dim #height #width"]


class ClickPromptEncoder(nn.Module):
    """Codes of points and masks."""

    def __init__(self, dim: int, mask_channels: int) -> None:
        super().__init__()
        quarter = mask_channels // 4
        self.register_buffer("frequencies", torch.randn(2, dim // 2))
        self.labels = nn.Parameter(torch.randn(4, dim))
        self.padding = nn.Parameter(torch.randn(1, dim))
        self.no_mask = nn.Parameter(torch.randn(1, dim))
        self.mask_conv1 = nn.Conv2d(1, quarter, 2, stride=2)
        self.mask_norm1 = LayerNorm2d(quarter)
        self.mask_conv2 = nn.Conv2d(quarter, mask_channels, 2, stride=2)
        self.mask_norm2 = LayerNorm2d(mask_channels)
        self.mask_conv3 = nn.Conv2d(mask_channels, dim, 1)

    frequencies: Tensor

    def forward(self, prompt: ClickPrompt) -> EncodedClicks:
        """A prompt with any point gets one padding point more, as the published model expects."""
        tokens = self.labels.new_zeros(*prompt.points_xy.shape[:1], 0, self.labels.shape[1])
        if prompt.points_xy.shape[1]:
            labels = F.pad(prompt.point_labels, (0, 1), value=PADDING_LABEL)[..., None]
            placed = self.code(F.pad(prompt.points_xy, (0, 0, 0, 1))) + self.labels[labels.squeeze(-1).clamp(min=0)]
            tokens = torch.where(labels == PADDING_LABEL, self.padding, placed)
        if prompt.mask_logits is None:
            dense = self.no_mask[:, :, None, None].expand(prompt.points_xy.shape[0], -1, -1, -1)
        else:
            x = prompt.mask_logits[:, None].to(self.mask_conv1.weight.dtype)
            x = F.gelu(self.mask_norm1(self.mask_conv1(x)))
            dense = self.mask_conv3(F.gelu(self.mask_norm2(self.mask_conv2(x))))
        return EncodedClicks(tokens=tokens, dense=dense)

    def code(self, points_xy: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch dim"]:
        """Random Fourier code of positions in [0, 1]."""
        angles = 2 * math.pi * ((2 * points_xy.float() - 1) @ self.frequencies.float())
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def code_grid(self, height: int, width: int) -> Float[Tensor, "1 dim {height} {width}"]:
        """Codes of the centres of the cells."""
        device = self.frequencies.device
        rows = (torch.arange(height, device=device) + 0.5) / height
        columns = (torch.arange(width, device=device) + 0.5) / width
        return rearrange(self.code(grid_xy(columns, rows)), "(h w) c -> 1 c h w", h=height)


class TwoWayBlock(nn.Module):
    """Tokens attend to each other and to the image, then the image attends to the tokens."""

    def __init__(self, config: "ClickHead.Config") -> None:
        super().__init__()
        dim, heads = config.dim, config.num_heads
        self.self_attention = Attention(dim, heads)
        self.norm1 = nn.LayerNorm(dim)
        self.token_to_image = Attention(dim, heads, inner_dim=dim // 2)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, config.hidden, F.relu)
        self.norm3 = nn.LayerNorm(dim)
        self.image_to_token = Attention(dim, heads, inner_dim=dim // 2)
        self.norm4 = nn.LayerNorm(dim)

    def forward(
        self,
        tokens: Float[Tensor, "object token dim"],
        image: Float[Tensor, "object cell dim"],
        token_position: Float[Tensor, "object token dim"],
        image_position: Float[Tensor, "1 cell dim"],
        *,
        first: bool,
    ) -> tuple[Float[Tensor, "object token dim"], Float[Tensor, "object cell dim"]]:
        """In the first block the tokens are their own positions: nothing is added and nothing is kept of them."""
        attention = self.self_attention
        if first:
            tokens = attention(tokens, attention.project(tokens, tokens))
        else:
            placed = tokens + token_position
            tokens = tokens + attention(placed, attention.project(placed, tokens))
        tokens = self.norm1(tokens)
        placed_image = image + image_position
        memory = self.token_to_image.project(placed_image, image)
        tokens = self.norm2(tokens + self.token_to_image(tokens + token_position, memory))
        tokens = self.norm3(tokens + self.mlp(tokens))
        memory = self.image_to_token.project(tokens + token_position, tokens)
        return tokens, self.norm4(image + self.image_to_token(placed_image, memory))


class ClickMaskDecoder(nn.Module):
    """From image and prompt tokens to masks, their predicted quality and the object's presence."""

    def __init__(self, config: "ClickHead.Config") -> None:
        super().__init__()
        dim = config.dim
        self.object_token = nn.Parameter(torch.randn(1, dim))
        self.iou_token = nn.Parameter(torch.randn(1, dim))
        self.mask_tokens = nn.Parameter(torch.randn(NUM_MASKS, dim))
        self.blocks = Stack(TwoWayBlock(config) for _ in range(config.depth))
        self.final_attention = Attention(dim, config.num_heads, inner_dim=dim // 2)
        self.final_norm = nn.LayerNorm(dim)
        self.skip_fine = nn.Conv2d(dim, dim // 8, 1)
        self.skip_medium = nn.Conv2d(dim, dim // 4, 1)
        self.upscale1 = nn.ConvTranspose2d(dim, dim // 4, 2, stride=2)
        self.upscale_norm = LayerNorm2d(dim // 4)
        self.upscale2 = nn.ConvTranspose2d(dim // 4, dim // 8, 2, stride=2)
        self.mask_mlps = Stack(PreciseMLP(dim, dim, dim, dim // 8) for _ in range(NUM_MASKS))
        self.iou_head = PreciseMLP(dim, config.iou_hidden, config.iou_hidden, NUM_MASKS)
        self.object_head = PreciseMLP(dim, dim, dim, 1)

    def forward(
        self, features: ClickFeatures, clicks: EncodedClicks, image_position: Float[Tensor, "1 dim height width"]
    ) -> ClickOutput:
        """All four masks of every object."""
        dtype = features.coarse.dtype
        num_objects = clicks.tokens.shape[0]
        own = torch.cat([self.object_token, self.iou_token, self.mask_tokens]).to(dtype)
        start = torch.cat([own.expand(num_objects, -1, -1), clicks.tokens.to(dtype)], dim=1)
        height, width = features.coarse.shape[-2:]
        image = rearrange(features.coarse + clicks.dense.to(dtype), "b c h w -> b (h w) c")
        position = rearrange(image_position.to(dtype), "1 c h w -> 1 (h w) c")
        tokens = start
        for index, block in enumerate(self.blocks):
            tokens, image = block(tokens, image, start, position, first=index == 0)
        memory = self.final_attention.project(image + position, image)
        tokens = self.final_norm(tokens + self.final_attention(tokens + start, memory))
        mask_tokens = tokens[:, 2 : 2 + NUM_MASKS]
        image = rearrange(image, "b (h w) c -> b c h w", h=height, w=width)
        medium = F.gelu(self.upscale_norm(self.upscale1(image) + features.medium))
        pixels = F.gelu(self.upscale2(medium) + features.fine)
        vectors = torch.stack([mlp(mask_tokens[:, i]) for i, mlp in enumerate(self.mask_mlps)], dim=1)
        return ClickOutput(
            mask_logits=torch.einsum("omc,ochw->omhw", vectors, pixels.to(vectors.dtype)),
            iou_scores=self.iou_head(tokens[:, 1]).sigmoid(),
            object_logits=self.object_head(tokens[:, 0]).squeeze(-1),
            mask_tokens=mask_tokens,
        )


class ClickHead(nn.Module):
    """Promptable segmentation of single objects (SAM 1 and 2's image task)."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes; `mask_channels` is the width of the code of a mask prompt."""

        dim: int = 256
        depth: int = 2
        num_heads: int = 8
        hidden: int = 2048
        iou_hidden: int = 256
        mask_channels: int = 16

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.no_memory = nn.Parameter(torch.randn(config.dim) * 0.02)
        self.prompts = ClickPromptEncoder(config.dim, config.mask_channels)
        self.decoder = ClickMaskDecoder(config)

    def project_image(self, pyramid: FeaturePyramid) -> ClickFeatures:
        """The image's share, from the click pyramid. A still image has no memory, which a learned vector marks."""
        return self.without_memory(self.narrow(pyramid))

    def narrow(self, pyramid: FeaturePyramid) -> ClickFeatures:
        """The image's share as the tracker wants it, which brings its own memories."""
        return ClickFeatures(
            fine=self.decoder.skip_fine(pyramid.fine),
            medium=self.decoder.skip_medium(pyramid.medium),
            coarse=pyramid.coarse,
        )

    def without_memory(self, features: ClickFeatures) -> ClickFeatures:
        """Features of an image without memory."""
        return replace(features, coarse=features.coarse + self.no_memory[:, None, None].to(features.coarse.dtype))

    def forward(self, features: ClickFeatures, prompt: ClickPrompt, *, multimask: bool) -> ClickOutput:
        """Three alternative masks for each object, or the single best one. `features` are of a single image."""
        position = self.prompts.code_grid(*features.coarse.shape[-2:])
        every = self.decoder(features, self.prompts(prompt), position)
        if not multimask:
            return select_single(every)
        masks, scores, tokens = every.mask_logits[:, 1:], every.iou_scores[:, 1:], every.mask_tokens[:, 1:]
        return replace(every, mask_logits=masks, iou_scores=scores, mask_tokens=tokens)


def select_single(every: ClickOutput) -> ClickOutput:
    """Mask 0, unless it is unstable: then the alternative with the highest predicted IoU.

    Source: Ravi et al., SAM 2, appendix (single-mask output).
    """
    stable = mask_stability(every.mask_logits[:, 0]) >= _STABILITY_THRESHOLD
    best = 1 + every.iou_scores[:, 1:].argmax(dim=1)
    chosen = torch.where(stable, torch.zeros_like(best), best)
    rows = torch.arange(chosen.shape[0], device=chosen.device)
    masks, scores = every.mask_logits[rows, chosen][:, None], every.iou_scores[rows, chosen][:, None]
    return replace(every, mask_logits=masks, iou_scores=scores, mask_tokens=every.mask_tokens[:, :1])


def mask_stability(mask_logits: Float[Tensor, "*batch height width"]) -> Float[Tensor, "*batch"]:
    """IoU between the mask cut slightly above and slightly below zero; 1 where both are empty."""
    area_high = (mask_logits > _STABILITY_DELTA).sum((-1, -2)).float()
    area_low = (mask_logits > -_STABILITY_DELTA).sum((-1, -2)).float()
    return torch.where(area_low > 0, area_high / area_low, torch.ones_like(area_low))
