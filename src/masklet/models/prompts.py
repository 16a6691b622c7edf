"""The exemplar encoder: example boxes and points become prompt tokens that attended to the image.

A class token is always there, also for a prompt of words alone: the published model was trained so. The layers know no
order of the tokens, so the class token simply comes first.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from masklet.models.fusion import FusionLayer
from masklet.nn.attention import KeyValues, share, take_rows
from masklet.nn.blocks import Stack
from masklet.nn.positions import sine_code
from masklet.ops.boxes import cxcywh_to_xyxy
from masklet.ops.roi import roi_align
from masklet.types import Exemplars, TokenSet


class ExemplarEncoder(nn.Module):
    """Tokens of exemplars: their place, the features pooled there, and whether they are positive.

    Source: SAM 3 paper, section 3 (exemplar tokens).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes; `roi_size` is the side of the pooled patch of a box."""

        dim: int = 256
        depth: int = 3
        num_heads: int = 8
        hidden: int = 2048
        roi_size: int = 7
        dropout: float = 0.1

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim = config.dim
        self.config = config
        self.label = nn.Embedding(2, dim)
        self.cls = nn.Parameter(torch.empty(1, dim))
        self.box_direct = nn.Linear(4, dim)
        self.box_pool = nn.Conv2d(dim, dim, config.roi_size)
        self.box_position = nn.Linear(dim + 2, dim)
        self.point_direct = nn.Linear(2, dim)
        self.point_pool = nn.Linear(dim, dim)
        self.point_position = nn.Linear(dim, dim)
        self.pool_norm = nn.LayerNorm(dim)
        self.project = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.layers = Stack(
            FusionLayer(dim, config.num_heads, config.hidden, config.dropout) for _ in range(config.depth)
        )
        self.out_norm = nn.LayerNorm(dim)
        nn.init.normal_(self.cls)

    def project_image(
        self, x: Float[Tensor, "image token dim"], position: Float[Tensor, "token dim"]
    ) -> tuple[KeyValues, ...]:
        """Keys and values of the image for each layer, the same for all prompts."""
        return tuple(layer.cross_attention.project(x + position, x) for layer in self.layers)

    def forward(
        self,
        exemplars: Exemplars,
        coarse: Float[Tensor, "image dim height width"],
        image_memory: tuple[KeyValues, ...],
        image_index: Int[Tensor, " prompt"],
    ) -> TokenSet:
        """Class token, boxes, points of each prompt, in this order."""
        dtype = coarse.dtype
        parts = [self.cls.expand(image_index.shape[0], 1, -1).to(dtype)]
        valid = [torch.ones(image_index.shape[0], 1, dtype=torch.bool, device=coarse.device)]
        if exemplars.boxes_cxcywh.shape[1] or exemplars.points_xy.shape[1]:
            pooled_from = rearrange(self.pool_norm(rearrange(coarse, "b c h w -> b h w c")), "b h w c -> b c h w")
            features = take_rows(pooled_from, image_index)
            parts += [self._boxes(exemplars, features), self._points(exemplars, features)]
            valid += [exemplars.box_valid, exemplars.point_valid]
        tokens, all_valid = torch.cat(parts, dim=1), torch.cat(valid, dim=1)
        x = self.norm(self.project(tokens))
        for layer, memory in zip(self.layers, image_memory, strict=True):
            x = layer.attend_memory(layer.attend_self(x, valid=all_valid), share(memory, image_index))
        return TokenSet(tokens=self.out_norm(x), valid=all_valid)

    def _boxes(self, exemplars: Exemplars, features: Tensor) -> Float[Tensor, "prompt box dim"]:
        boxes = exemplars.boxes_cxcywh
        num_prompts, num_boxes = boxes.shape[:2]
        height, width = features.shape[-2:]
        cells = cxcywh_to_xyxy(boxes) * boxes.new_tensor([width, height, width, height])
        per_box = features.repeat_interleave(num_boxes, dim=0)
        regions = roi_align(per_box.float(), cells.flatten(0, 1), self.config.roi_size)
        pooled = F.linear(regions.flatten(1).to(features.dtype), self.box_pool.weight.flatten(1), self.box_pool.bias)
        cx, cy, w, h = boxes.unbind(-1)
        half = self.config.dim // 2
        # the published order of this code is y, x, height, width
        where = torch.cat([sine_code(cy, half), sine_code(cx, half), h[..., None], w[..., None]], dim=-1)
        tokens = self.box_direct(boxes.to(features.dtype)) + self.box_position(where.to(features.dtype))
        return tokens + pooled.view(num_prompts, num_boxes, self.config.dim) + self.label(exemplars.box_labels)

    def _points(self, exemplars: Exemplars, features: Tensor) -> Float[Tensor, "prompt point dim"]:
        points = exemplars.points_xy
        sampled = F.grid_sample(features.float(), 2 * points[:, :, None] - 1, align_corners=False)
        pooled = rearrange(sampled, "p c n 1 -> p n c").to(features.dtype)
        half = self.config.dim // 2
        where = torch.cat([sine_code(points[..., 0], half), sine_code(points[..., 1], half)], dim=-1)
        tokens = self.point_direct(points.to(features.dtype)) + self.point_position(where.to(features.dtype))
        return tokens + self.point_pool(pooled) + self.label(exemplars.point_labels)
