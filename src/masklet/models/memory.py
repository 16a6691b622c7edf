"""What the tracker remembers and how it looks back: the memory encoder, the memory attention, and object pointers.

A frame is remembered for an object as a small map (its mask stamped on the image) and one vector (the object
pointer). On the next frame the image's tokens attend to those maps and vectors before the click head predicts the mask.
All objects are one batch axis; objects that remember different numbers of frames differ only in the reads they bring.

Source: Ravi et al., SAM 2 (section 4); SAM 3 paper, section 3 (tracker).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Complex, Float
from torch import Tensor, nn

from masklet.nn.attention import Attention, SelfAttention, attend
from masklet.nn.blocks import FeedForward, LayerNorm2d, PreciseMLP, Stack
from masklet.nn.positions import grid_xy, pointer_code, sine_map
from masklet.nn.rope import axial_rotation, rotate
from masklet.types import Bundle, bundle

MASK_STRIDE = 16  # of the mask that is remembered, in its own pixels per cell of the grid
_DOWNSAMPLER = (1, 4, 16, 64, 256)
_TOGETHER = 4  # objects that a CPU takes through the memory attention at once
_POSITION_WEIGHT = 0.1  # of the position code in what enters the memory attention
_LOGIT_SCALE, _LOGIT_SHIFT = 20.0, -10.0  # a probability of a mask becomes a value of [-10, 10]


@bundle
class MemoryTokens(Bundle):
    """What some objects look back at: the cells of remembered maps, then the parts of object pointers.

    `positions` say where and how long ago; the first axis is 1 when all objects share them. Only the first
    `num_cells` tokens stand on the grid and are turned by their place on it.
    """

    values: Float[Tensor, "object token memory_dim"]
    positions: Float[Tensor, "#object token memory_dim"]
    num_cells: int


@bundle
class PlacedTokens(Bundle):
    """The same, ready for every layer: keys know where and when, values what, `rotation` turns keys by their place."""

    keys: Float[Tensor, "object token memory_dim"]
    values: Float[Tensor, "object token memory_dim"]
    rotation: Complex[Tensor, "token pair"]


class MaskDownsampler(nn.Module):
    """A mask brought to the grid by four halvings, each with four times the channels."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        steps = list(pairwise(_DOWNSAMPLER))
        self.convs = Stack(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in steps)
        self.norms = Stack(LayerNorm2d(b) for _, b in steps)
        self.project = nn.Conv2d(_DOWNSAMPLER[-1], dim, 1)

    def forward(self, masks: Float[Tensor, "object 1 mask_height mask_width"]) -> Float[Tensor, "object dim h w"]:
        """The features of each cell's piece of the mask."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            masks = F.gelu(norm(conv(masks)))
        return self.project(masks)


class FuserBlock(nn.Module):
    """ConvNeXt block: a wide depthwise convolution, then a small network in each cell."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = LayerNorm2d(dim)
        self.mlp = FeedForward(dim, 4 * dim, F.gelu)
        self.scale = nn.Parameter(torch.full((dim,), 1e-6))

    def forward(self, x: Float[Tensor, "object dim height width"]) -> Float[Tensor, "object dim height width"]:
        """Adds a small correction."""
        cells = self.norm(self.depthwise(x)).permute(0, 2, 3, 1)
        return x + (self.scale.to(x.dtype) * self.mlp(cells)).permute(0, 3, 1, 2)


class MemoryEncoder(nn.Module):
    """The image and an object's mask on it, fused into one narrow map."""

    def __init__(self, config: "MaskMemory.Config") -> None:
        super().__init__()
        self.downsampler = MaskDownsampler(config.dim)
        self.project_image = nn.Conv2d(config.dim, config.dim, 1)
        self.fuser = Stack(FuserBlock(config.dim) for _ in range(config.fuser_depth))
        self.project = nn.Conv2d(config.dim, config.memory_dim, 1)

    def forward(
        self, image: Float[Tensor, "#object dim height width"], masks: Float[Tensor, "object 1 mask_height mask_width"]
    ) -> Float[Tensor, "object memory_dim height width"]:
        """`masks` are scaled logits at `MASK_STRIDE` pixels a cell; the image is projected once for all objects."""
        x = self.project_image(image) + self.downsampler(masks)
        for block in self.fuser:
            x = block(x)
        return self.project(x)


class MemoryLayer(nn.Module):
    """The image attends to itself, then to each object's memories."""

    def __init__(self, config: "MaskMemory.Config") -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim)
        self.self_attention = SelfAttention(config.dim, 1)
        self.norm2 = nn.LayerNorm(config.dim)
        self.cross_attention = Attention(config.dim, 1, memory_dim=config.memory_dim)
        self.norm3 = nn.LayerNorm(config.dim)
        self.mlp = FeedForward(config.dim, config.hidden, F.relu_)

    def forward(
        self,
        x: Float[Tensor, "#object cell dim"],
        reads: Sequence[PlacedTokens],
        rotation: Complex[Tensor, "cell pair"],
    ) -> Float[Tensor, "object cell dim"]:
        """What follows `look_around`. `x` has one row for all objects until they attended to their own memories."""
        x = x + self._attend(self.norm2(x), reads, rotation)
        return x + self.mlp(self.norm3(x))

    def look_around(
        self, x: Float[Tensor, "#object cell dim"], rotation: Complex[Tensor, "cell pair"]
    ) -> Float[Tensor, "#object cell dim"]:
        """Self-attention of the image."""
        return x + self.self_attention(self.norm1(x), rotation)

    def _attend(
        self,
        x: Float[Tensor, "#object cell dim"],
        reads: Sequence[PlacedTokens],
        rotation: Complex[Tensor, "cell pair"],
    ) -> Float[Tensor, "object cell dim"]:
        """Objects with memories of one length are one product; there are as many products as lengths."""
        attention = self.cross_attention
        queries = rotate(attention.split(attention.q(x)), rotation)
        sizes = [len(read.values) for read in reads]
        parts = queries.split(sizes) if len(queries) > 1 else [queries.expand(size, -1, -1, -1) for size in sizes]
        mixed = []
        for part, read in zip(parts, reads, strict=True):
            memory = attention.project(read.keys, read.values)
            mixed.append(attend(part, replace(memory, keys=rotate(memory.keys, read.rotation))))
        return attention.out(rearrange(torch.cat(mixed), "b h n d -> b n (h d)"))


class MaskMemory(nn.Module):
    """The tracker's own weights; it also uses the click head and a neck, which still images need, too."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes and counts.

        A frame attends to `num_maps - 1` recent maps, to those of at most `max_conditioning` frames where the object
        was given, and to at most `max_pointers` object pointers. A recent frame is used when its `usefulness` (seen,
        and with a good mask) exceeds `min_usefulness`; `selective` False takes the latest frames instead. Maps are
        kept in half precision (bfloat16) when `half_maps`, as the published model keeps them.
        """

        dim: int = 256
        memory_dim: int = 64
        depth: int = 4
        hidden: int = 2048
        fuser_depth: int = 2
        num_maps: int = 7
        max_conditioning: int = 4
        max_pointers: int = 16
        selective: bool = True
        min_usefulness: float = 0.01
        half_maps: bool = True
        rope_theta: float = 10000.0

        def __post_init__(self) -> None:
            if self.dim % self.memory_dim:
                raise ValueError(f"dim {self.dim} is not a multiple of memory_dim {self.memory_dim}")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        dim, memory_dim = config.dim, config.memory_dim
        self.encoder = MemoryEncoder(config)
        self.layers = Stack(MemoryLayer(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(dim)
        self.ages = nn.Parameter(torch.randn(config.num_maps, memory_dim) * 0.02)
        self.unseen_map = nn.Parameter(torch.zeros(memory_dim))
        self.unseen_pointer = nn.Parameter(torch.randn(dim) * 0.02)
        self.pointer_mlp = PreciseMLP(dim, dim, dim, dim)
        self.pointer_age = nn.Linear(dim, memory_dim)
        self.mask_prompt = nn.Conv2d(1, 1, 4, stride=4)

    def look_back(
        self, image: Float[Tensor, "#object dim height width"], reads: Sequence[MemoryTokens]
    ) -> Float[Tensor, "object dim height width"]:
        """The image features of each object after attending to its memories, in the order of `reads`."""
        height, width = image.shape[-2:]
        position = sine_map(height, width, image.shape[1], image.device).to(image.dtype)
        x = rearrange(image, "b c h w -> b (h w) c") + _POSITION_WEIGHT * position
        rotation = self._rotation(height, width, image.device)
        x = self.layers[0].look_around(x, rotation)
        groups = _group([place(read, rotation) for read in reads], image.device)
        sizes = [sum(len(read.values) for read in group) for group in groups]
        parts = x.split(sizes) if len(x) > 1 else [x] * len(groups)
        seen = []
        for part, group in zip(parts, groups, strict=True):
            for index, layer in enumerate(self.layers):
                part = layer(layer.look_around(part, rotation) if index else part, group, rotation)  # noqa: PLW2901
            seen.append(part)
        return rearrange(self.norm(torch.cat(seen)), "b (h w) c -> b c h w", h=height, w=width)

    def encode(
        self,
        image: Float[Tensor, "#object dim height width"],
        mask_logits: Float[Tensor, "object any_height any_width"],
        object_logits: Float[Tensor, " object"],
        binary: Bool[Tensor, " object"],
    ) -> Float[Tensor, "object memory_dim height width"]:
        """Maps to remember. A mask that the user or the detector gave is remembered as `binary`, black or white.

        The mask is made soft or binary at the size it comes in, and resized after: docs/parity.md#memory-encoder.
        """
        size = (image.shape[-2] * MASK_STRIDE, image.shape[-1] * MASK_STRIDE)
        mask_logits = mask_logits.float()
        probabilities = torch.where(binary[:, None, None], (mask_logits > 0).float(), mask_logits.sigmoid())
        masks = resize_smoothly((probabilities * _LOGIT_SCALE + _LOGIT_SHIFT)[:, None], size)
        maps = self.encoder(image, masks.to(image.dtype))
        maps = maps + torch.where(object_logits[:, None] > 0, 0, self.unseen_map)[:, :, None, None].to(maps.dtype)
        return maps.to(torch.bfloat16) if self.config.half_maps and not self.training else maps

    def point(
        self, mask_tokens: Float[Tensor, "object dim"], object_logits: Float[Tensor, " object"]
    ) -> Float[Tensor, "object dim"]:
        """Object pointers; an object that is not seen has the same one everywhere."""
        return torch.where(object_logits[:, None] > 0, self.pointer_mlp(mask_tokens), self.unseen_pointer)

    def assemble(
        self,
        maps: Sequence[Float[Tensor, "object memory_dim height width"]],
        map_ages: Sequence[int],
        pointers: Sequence[Float[Tensor, "object dim"]],
        pointer_ages: Sequence[float | int],
    ) -> MemoryTokens:
        """Tokens to look back at. `map_ages` are rows of `ages`; `pointer_ages` fractions of the longest look back."""
        height, width = maps[0].shape[-2:]
        device, memory_dim = maps[0].device, self.config.memory_dim
        place = sine_map(height, width, memory_dim, device)
        positions = [place + self.ages[age] for age in map_ages]
        values = [rearrange(one, "o c h w -> o (h w) c").to(self.pointer_age.weight.dtype) for one in maps]
        if pointers:
            parts = self.config.dim // memory_dim
            fractions = torch.tensor(pointer_ages, dtype=torch.float32, device=device)
            code = pointer_code(fractions, self.config.dim).to(self.pointer_age.weight.dtype)
            positions.append(self.pointer_age(code).repeat_interleave(parts, dim=0))
            values += [one.unflatten(1, (parts, memory_dim)).to(values[0].dtype) for one in pointers]
        return MemoryTokens(
            values=torch.cat(values, dim=1),
            positions=torch.cat(positions)[None],
            num_cells=len(maps) * height * width,
        )

    def _rotation(self, height: int, width: int, device: torch.device) -> Complex[Tensor, "cell pair"]:
        columns, rows = (torch.arange(length, dtype=torch.float32, device=device) for length in (width, height))
        return axial_rotation(grid_xy(columns, rows), self.config.dim, self.config.rope_theta)


def resize_smoothly(
    x: Float[Tensor, "batch channel any_height any_width"], size: tuple[int, int]
) -> Float[Tensor, "batch channel height width"]:
    """Bilinear, averaging where it shrinks, corners not aligned; the same tensor when nothing changes."""
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False, antialias=True)


def place(read: MemoryTokens, rotation: Complex[Tensor, "cell pair"]) -> PlacedTokens:
    """Tokens with their places on a grid that repeats for each map; pointers stand nowhere, and nothing turns them."""
    num_pointers = read.values.shape[1] - read.num_cells
    still = torch.ones(num_pointers, rotation.shape[1], dtype=rotation.dtype, device=rotation.device)
    return PlacedTokens(
        keys=read.values + read.positions.to(read.values.dtype),
        values=read.values,
        rotation=torch.cat([rotation.repeat(read.num_cells // len(rotation), 1), still]),
    )


def _group(reads: Sequence[PlacedTokens], device: torch.device) -> list[list[PlacedTokens]]:
    """Reads that go through the layers together: all, or on a CPU a few objects, whose numbers fit its cache."""
    if device.type != "cpu":
        return [list(reads)]
    return [
        [replace(read, keys=keys, values=values)]
        for read in reads
        for keys, values in zip(read.keys.split(_TOGETHER), read.values.split(_TOGETHER), strict=True)
    ]


def stack_reads(reads: Sequence[MemoryTokens]) -> MemoryTokens:
    """Reads of equal lengths as one."""
    values = torch.cat([read.values for read in reads])
    positions = torch.cat([read.positions.expand(len(read.values), -1, -1) for read in reads])
    return MemoryTokens(values=values, positions=positions, num_cells=reads[0].num_cells)
