"""The vision encoder: one plain ViT over patches, then two feature pyramids fed by its last map.

Tokens are kept window-major, `[image, window, token in window, dim]`, from the patch embedding to the end: a windowed
block then sees its windows, and a global block the whole image, by a reshape instead of a copy. The position table is
one window large, so it is added by broadcasting. Rotary tables are built once per forward and shared by all blocks.
"""

from dataclasses import dataclass, field
from itertools import pairwise

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Complex, Float
from torch import Tensor, nn

from masklet.models.conv_trunk import ConvMaps, ConvTrunk, LateralNeck
from masklet.nn.attention import SelfAttention
from masklet.nn.blocks import DropPath, FeedForward, Stack
from masklet.nn.positions import grid_positions
from masklet.nn.rope import axial_rotation
from masklet.types import FeaturePyramid


class Trunk(nn.Module):
    """Vision transformer ("Perception Encoder", L+) with windowed attention and a few global blocks.

    Source: SAM 3 paper, section 3 (image encoder).
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes; `window` is also the side of the learned position table."""

        patch_size: int = 14
        dim: int = 1024
        depth: int = 32
        num_heads: int = 16
        hidden: int = 4736
        window: int = 24
        global_blocks: tuple[int, ...] = (7, 15, 23, 31)
        rope_theta: float = 10000.0
        drop_path: float = 0.1

        def __post_init__(self) -> None:
            if self.dim % (4 * self.num_heads):
                raise ValueError(f"dim {self.dim} is not a multiple of 4 * num_heads ({4 * self.num_heads})")

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = nn.Conv2d(3, config.dim, config.patch_size, stride=config.patch_size, bias=False)
        self.position = nn.Parameter(torch.empty(config.window**2, config.dim))
        self.norm = nn.LayerNorm(config.dim)
        # From 0 in the first block to the full rate in the last
        rate_step = config.drop_path / max(config.depth - 1, 1)
        self.blocks = Stack(Block(config, index * rate_step) for index in range(config.depth))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.position, std=0.02)

    def forward(self, images: Float[Tensor, "image 3 image_height image_width"]) -> Float[Tensor, "image dim h w"]:
        """Last map of normalised images. Raises `ValueError` when the patch grid is not a whole number of windows."""
        height, width = self.grid(images.shape[-2], images.shape[-1])
        windows = (height // self.config.window, width // self.config.window)
        x = self.norm(self._embed(images, windows))
        local, whole = self._rotations(height, width, images.device)
        for index, block in enumerate(self.blocks):
            x = block(x, whole if index in self.config.global_blocks else local)
        cells = rearrange(
            x, "b (wy wx) (y x) c -> b (wy y) (wx x) c", wy=windows[0], wx=windows[1], y=self.config.window
        )
        return cells.permute(0, 3, 1, 2)  # channels stay last in memory: the necks run up to four times as fast

    def grid(self, image_height: int, image_width: int) -> tuple[int, int]:
        """Patches down and across; `ValueError` when they are not whole windows."""
        unit = self.config.patch_size * self.config.window
        if image_height % unit or image_width % unit:
            raise ValueError(f"image size {image_height}x{image_width} is not a multiple of {unit} pixels")
        return image_height // self.config.patch_size, image_width // self.config.patch_size

    def _embed(self, images: Tensor, windows: tuple[int, int]) -> Float[Tensor, "image window token dim"]:
        """Patch embedding as one matrix product on patches gathered in window-major order."""
        patch = self.config.patch_size
        patches = rearrange(
            images.to(self.patch_embed.weight.dtype),
            "b c (wy y p) (wx x q) -> b (wy wx) (y x) (c p q)",
            wy=windows[0],
            wx=windows[1],
            p=patch,
            q=patch,
        )
        embedded = F.linear(patches, self.patch_embed.weight.flatten(1))
        return embedded + self.position.to(embedded.dtype)

    def _rotations(
        self, height: int, width: int, device: torch.device
    ) -> tuple[Complex[Tensor, "local pair"], Complex[Tensor, "token pair"]]:
        """Tables of the windowed and of the global blocks."""
        window = self.config.window
        whole = rearrange(
            grid_positions(height, width, window, device),
            "(wy y wx x) two -> (wy wx y x) two",
            wy=height // window,
            y=window,
            x=window,
        )
        local = grid_positions(window, window, window, device)
        head_dim = self.config.dim // self.config.num_heads
        theta = self.config.rope_theta
        return axial_rotation(local, head_dim, theta), axial_rotation(whole, head_dim, theta)


class Block(nn.Module):
    """Pre-norm transformer block on window-major tokens."""

    def __init__(self, config: Trunk.Config, drop_path: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim)
        self.attention = SelfAttention(config.dim, config.num_heads)
        self.norm2 = nn.LayerNorm(config.dim)
        self.mlp = FeedForward(config.dim, config.hidden, F.gelu)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "image window token dim"], rotation: Complex[Tensor, "attended pair"]
    ) -> Float[Tensor, "image window token dim"]:
        """The length of `rotation` says how far attention reaches: one window, or all of them."""
        sequence = self.norm1(x).reshape(-1, rotation.shape[0], x.shape[-1])
        x = x + self.drop_path(self.attention(sequence, rotation).reshape(x.shape))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class Neck(nn.Module):
    """Feature pyramid whose levels are computed from the same map, each on its own.

    Source: Li et al., Exploring Plain Vision Transformer Backbones (ViTDet).
    """

    def __init__(self, trunk_dim: int, dim: int) -> None:
        super().__init__()
        self.fine = NeckLevel((trunk_dim, trunk_dim // 2, trunk_dim // 4), dim)
        self.medium = NeckLevel((trunk_dim, trunk_dim // 2), dim)
        self.coarse = NeckLevel((trunk_dim,), dim)

    def forward(self, x: Float[Tensor, "image trunk_dim height width"]) -> FeaturePyramid:
        """Maps at four, two and one times the grid."""
        return FeaturePyramid(fine=self.fine(x), medium=self.medium(x), coarse=self.coarse_map(x))

    def coarse_map(self, x: Float[Tensor, "image trunk_dim height width"]) -> Float[Tensor, "image dim height width"]:
        """The level that prompts look at, alone."""
        return self.coarse(x)


class NeckLevel(nn.Module):
    """Doubles the resolution once per step of `dims`, then brings the width to `dim`."""

    def __init__(self, dims: tuple[int, ...], dim: int) -> None:
        super().__init__()
        self.upsample = Stack(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in pairwise(dims))
        self.project = nn.Conv2d(dims[-1], dim, 1)
        self.smooth = nn.Conv2d(dim, dim, 3, padding=1)

    def forward(self, x: Float[Tensor, "image trunk_dim height width"]) -> Float[Tensor, "image dim h w"]:
        """The activation stands between two upsamplings only."""
        for index, upsample in enumerate(self.upsample):
            x = upsample(F.gelu(x) if index else x)
        return self.smooth(self.project(x))


TrunkMaps = Float[Tensor, "image trunk_dim height width"] | ConvMaps  # what either kind of trunk gives its necks


class VisionEncoder(nn.Module):
    """Trunk and the two pyramids: one for concepts, one for clicks and the tracker.

    Nothing behind a neck knows which kind of trunk it is.
    """

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Sizes of the trunk and the width of both pyramids."""

        trunk: Trunk.Config | ConvTrunk.Config = field(default_factory=Trunk.Config)
        dim: int = 256

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.trunk = ConvTrunk(config.trunk) if isinstance(config.trunk, ConvTrunk.Config) else Trunk(config.trunk)
        self.concept_neck = _neck(config)
        self.click_neck = _neck(config)


def _neck(config: VisionEncoder.Config) -> Neck | LateralNeck:
    if isinstance(config.trunk, ConvTrunk.Config):
        return LateralNeck(config.trunk, config.dim)
    return Neck(config.trunk.dim, config.dim)
