"""The second vision trunk: a convolutional classifier (EfficientNet-Lite) and the neck that reads its finer maps.

It serves small models: an ImageNet classifier knows a thousand kinds of things before it has seen a mask. Batch norms
are folded into the convolutions. The last stages keep their stride at 16 and spread their kernels instead, so that a
classifier's weights give a map of classes that is fine enough for detection.

Source: Tan and Le, EfficientNet; Google's EfficientNet-Lite (no squeeze-and-excite, ReLU6, fixed stem and head);
Yu and Koltun, Multi-Scale Context Aggregation by Dilated Convolutions; Lin et al., Feature Pyramid Networks.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor, nn

from masklet.nn.attention import SelfAttention
from masklet.nn.blocks import FeedForward, Stack
from masklet.nn.positions import grid_positions, sine_map
from masklet.nn.rope import axial_rotation
from masklet.types import Bundle, FeaturePyramid, bundle

STEM_DIM, HEAD_DIM = 32, 1280
# About the root mean square of the maps at strides 4, 8 and 16, of the published weights on photos. Without it, the
# first steps of training make the lateral maps so loud that nothing else is heard.
LOUDNESS = (8.8, 7.8, 6.0)
CONTEXT_DEPTH, CONTEXT_HEADS = 4, 4
CONTEXT_SPAN = 24  # what the positions of any grid are squeezed into
ROPE_THETA = 10000.0
PLACE_GAIN = 0.5
COARSE_STRIDE = 16


class ConvStage(NamedTuple):
    """Blocks of one width; the first of them has the stride. Widths and repeats are those of the smallest model."""

    kernel: int
    stride: int
    expand: int
    dim: int
    repeats: int


STAGES = (
    ConvStage(3, 1, 1, 16, 1),
    ConvStage(3, 2, 6, 24, 2),
    ConvStage(5, 2, 6, 40, 2),
    ConvStage(3, 2, 6, 80, 3),
    ConvStage(5, 1, 6, 112, 3),
    ConvStage(5, 2, 6, 192, 4),
    ConvStage(3, 1, 6, 320, 1),
)


@bundle
class ConvMaps(Bundle):
    """Maps of a convolutional trunk at strides 4, 8, 16, 16 and 16.

    The classifier reads `top`; `summary` is what is kept of it for everything else.
    """

    fine: Float[Tensor, "image fine_dim fine_height fine_width"]
    medium: Float[Tensor, "image medium_dim medium_height medium_width"]
    coarse: Float[Tensor, "image coarse_dim height width"]
    top: Float[Tensor, "image top_dim height width"]
    summary: Float[Tensor, "image summary_dim height width"]


class ConvTrunk(nn.Module):
    """EfficientNet-Lite without its classifier, at stride 16."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Multipliers of widths and repeats: 1.0 and 1.0 for lite0, 1.0 and 1.1 for lite1, 1.1 and 1.2 for lite2.

        `summary_dim` is the number of directions that are kept of the map that the classifier reads. Its first ones are
        those in which phrases are compared with cells (`models/recognition.py`).
        """

        width: float = 1.1
        depth: float = 1.2
        summary_dim: int = 160

        @property
        def patch_size(self) -> int:
            """Pixels of a cell of the coarse map, per side."""
            return COARSE_STRIDE

        @property
        def window(self) -> int:
            """Cells that an image must be a multiple of, so that every stride halves evenly."""
            return 2

        @property
        def dims(self) -> tuple[int, int, int]:
            """Channels of the maps at strides 4, 8 and 16."""
            return tuple(self.scaled(STAGES[index].dim) for index in (1, 2, 4))  # type: ignore[return-value]

        def scaled(self, dim: int) -> int:
            """A width of the smallest model in this one: a multiple of 8, at most a tenth below the exact product."""
            exact = dim * self.width
            rounded = max(8, int(exact + 4) // 8 * 8)
            return rounded + 8 if rounded < 0.9 * exact else rounded

        def repeats(self, index: int) -> int:
            """Blocks of a stage; the first and the last are never repeated."""
            plain = STAGES[index].repeats
            return plain if index in (0, len(STAGES) - 1) else math.ceil(plain * self.depth)

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.stem = nn.Conv2d(3, STEM_DIM, 3, stride=2)
        blocks, width, reached = [], STEM_DIM, 2
        self.taken: list[int] = []  # the last blocks at strides 4, 8, and 16 before the spread stages
        for index, stage in enumerate(STAGES):
            # Beyond the coarse stride, kernels are spread over the cells that further strides would have left out
            strides = reached * stage.stride <= COARSE_STRIDE
            spread = index > STAGES.index(STAGES[4])
            for repeat in range(config.repeats(index)):
                is_first = repeat == 0
                dim = config.scaled(stage.dim)
                stride = stage.stride if is_first and strides else 1
                dilation = 2 if spread and not (is_first and stage.stride == 2) else 1
                blocks.append(ConvBlock(width, dim, stage.kernel, stage.expand, stride, dilation))
                width = dim
            reached = min(COARSE_STRIDE, reached * stage.stride)
            if index in (1, 2, 4):
                self.taken.append(len(blocks) - 1)
        self.blocks = Stack(blocks)
        self.head = nn.Conv2d(width, HEAD_DIM, 1)
        self.summary = nn.Conv2d(HEAD_DIM, config.summary_dim, 1)

    def forward(self, images: Float[Tensor, "image 3 image_height image_width"]) -> ConvMaps:
        """Maps of images in [-1, 1]. Raises `ValueError` when the size is not a multiple of 32."""
        self.grid(images.shape[-2], images.shape[-1])
        levels = (images * 127.5 + 0.5) / 128  # the classifier learnt from (byte - 127) / 128
        # Channels beside each other in memory, in all that follows: half the time on processors that multiply bfloat16
        levels = levels.to(self.stem.weight.dtype, memory_format=torch.channels_last)
        x = F.relu6(same_conv(levels, self.stem))
        maps: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.taken:
                maps.append(x)
        top = F.relu6(self.head(x))
        return ConvMaps(fine=maps[0], medium=maps[1], coarse=maps[2], top=top, summary=self.summary(top))

    def grid(self, image_height: int, image_width: int) -> tuple[int, int]:
        """Cells down and across; `ValueError` when a stride would not halve evenly."""
        unit = self.config.patch_size * self.config.window
        if image_height % unit or image_width % unit:
            raise ValueError(f"image size {image_height}x{image_width} is not a multiple of {unit} pixels")
        return image_height // COARSE_STRIDE, image_width // COARSE_STRIDE


class ConvBlock(nn.Module):
    """Inverted bottleneck: widen, filter each channel, narrow; the input is added where the shape stays."""

    def __init__(self, dim: int, out: int, kernel: int, expand: int, stride: int, dilation: int) -> None:
        super().__init__()
        inner = dim * expand
        self.expand = nn.Conv2d(dim, inner, 1) if expand > 1 else None
        self.depthwise = nn.Conv2d(inner, inner, kernel, stride=stride, dilation=dilation, groups=inner)
        self.project = nn.Conv2d(inner, out, 1)
        self.is_residual = dim == out and stride == 1

    def forward(self, x: Float[Tensor, "image dim height width"]) -> Float[Tensor, "image out h w"]:
        """No activation after the narrowing."""
        inner = x if self.expand is None else F.relu6(self.expand(x))
        narrowed = self.project(F.relu6(same_conv(inner, self.depthwise)))
        return x + narrowed if self.is_residual else narrowed


def same_conv(x: Float[Tensor, "image dim height width"], conv: nn.Conv2d) -> Float[Tensor, "image out h w"]:
    """The convolution, padded as the weights were trained: of an odd padding the larger half is right and below."""
    total = (conv.kernel_size[0] - 1) * conv.dilation[0] + 1 - conv.stride[0]
    if total % 2 == 0:
        return F.conv2d(x, conv.weight, conv.bias, conv.stride, total // 2, conv.dilation, conv.groups)
    low, high = total // 2, total - total // 2
    return F.conv2d(F.pad(x, (low, high, low, high)), conv.weight, conv.bias, conv.stride, 0, 1, conv.groups)


class ContextBlock(nn.Module):
    """Pre-norm transformer block over the coarse cells; it begins as the identity."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = SelfAttention(dim, CONTEXT_HEADS)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = FeedForward(dim, 2 * dim, F.gelu)
        for last in (self.attention.out, self.mlp.down):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(
        self, x: Float[Tensor, "image token dim"], rotation: Complex[Tensor, "token pair"]
    ) -> Float[Tensor, "image token dim"]:
        """Each cell sees all of the image."""
        x = x + self.attention(self.norm1(x), rotation)
        return x + self.mlp(self.norm2(x))


class LateralNeck(nn.Module):
    """Feature pyramid from the trunk's own finer maps: each level adds what the coarser one says of the same place.

    The coarse level begins as a plain projection of what is kept of the classifier's map: what is set there (words of
    ImageNet, for the built-in model) reaches the prompt's attention unchanged. A classifier tells what is at a cell,
    not how far that thing reaches; a few blocks of attention over the cells learn this once for all prompts.
    """

    def __init__(self, config: ConvTrunk.Config, dim: int) -> None:
        super().__init__()
        fine, medium, coarse = config.dims
        self.fine = LateralLevel(fine, dim)
        self.medium = LateralLevel(medium, dim)
        self.coarse = LateralLevel(config.summary_dim, dim)
        # What the finer maps hold of each coarse cell: where in it an edge runs, which the classifier's map has lost
        self.detail_coarse = nn.Conv2d(coarse, dim, 1, bias=False)
        self.detail_medium = nn.Conv2d(medium, dim, 2, stride=2, bias=False)
        self.detail_fine = nn.Conv2d(fine, dim, 4, stride=4, bias=False)
        self.place = nn.Linear(dim, dim)
        nn.init.normal_(self.place.weight, std=PLACE_GAIN * dim**-0.5)
        nn.init.zeros_(self.place.bias)
        self.context = Stack(ContextBlock(dim) for _ in range(CONTEXT_DEPTH))
        for detail in (self.detail_coarse, self.detail_medium, self.detail_fine):
            nn.init.zeros_(detail.weight)
        nn.init.dirac_(self.coarse.smooth.weight)
        nn.init.zeros_(self.coarse.smooth.bias)  # type: ignore[arg-type]

    def forward(self, maps: ConvMaps) -> FeaturePyramid:
        """Maps at four, two and one times the grid."""
        coarse = self.coarse_map(maps)
        medium = self.medium.project(maps.medium / LOUDNESS[1]) + F.interpolate(coarse, scale_factor=2.0)
        fine = self.fine.project(maps.fine / LOUDNESS[0]) + F.interpolate(medium, scale_factor=2.0)
        return FeaturePyramid(fine=self.fine.smooth(fine), medium=self.medium.smooth(medium), coarse=coarse)

    def coarse_map(self, maps: ConvMaps) -> Float[Tensor, "image dim height width"]:
        """The level that prompts look at, alone."""
        fine, medium, coarse = (maps.fine / LOUDNESS[0], maps.medium / LOUDNESS[1], maps.coarse / LOUDNESS[2])
        detail = patch_conv(fine, self.detail_fine) + patch_conv(medium, self.detail_medium)
        detail = detail + self.detail_coarse(coarse)
        x = self.coarse.smooth(self.coarse.project(maps.summary) + detail)
        height, width = x.shape[-2:]
        positions = grid_positions(height, width, CONTEXT_SPAN, x.device)
        rotation = axial_rotation(positions, x.shape[1] // CONTEXT_HEADS, ROPE_THETA)
        # Where a cell lies becomes part of what it says: attention can then average the places of a thing's cells
        cells = x.flatten(2).transpose(1, 2) + self.place(sine_map(height, width, x.shape[1], x.device).to(x.dtype))
        for block in self.context:
            cells = block(cells, rotation)
        return cells.transpose(1, 2).unflatten(2, (height, width))


def patch_conv(x: Float[Tensor, "image dim height width"], conv: nn.Conv2d) -> Float[Tensor, "image out h w"]:
    """A convolution whose kernels lie beside each other, as a product of patches.

    In bfloat16 the convolution itself is wrong on processors with AMX, for 16 or 24 channels and kernels of 4 (torch
    2.13, oneDNN): not by roundings, by all of the value.
    """
    side = conv.kernel_size[0]
    return F.conv2d(F.pixel_unshuffle(x, side), conv.weight.flatten(1)[:, :, None, None], conv.bias)


class LateralLevel(nn.Module):
    """What one level of the trunk becomes: brought to the common width, and smoothed after the sum."""

    def __init__(self, trunk_dim: int, dim: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(trunk_dim, dim, 1)
        self.smooth = nn.Conv2d(dim, dim, 3, padding=1)
