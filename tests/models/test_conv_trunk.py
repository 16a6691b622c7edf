import itertools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from masklet.config import tiny
from masklet.models.conv_trunk import ConvMaps, ConvTrunk, LateralNeck, patch_conv, same_conv
from masklet.models.detector import Detector
from masklet.nn.positions import sine_map

LITE = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}


def trunk_of(number: int) -> ConvTrunk:
    torch.manual_seed(number)
    width, depth = LITE[number]
    return ConvTrunk(ConvTrunk.Config(width=width, depth=depth)).eval().requires_grad_(requires_grad=False)


def test_maps_stand_at_strides_4_8_and_16_and_the_classifier_s_keeps_the_finest() -> None:
    maps = trunk_of(2)(torch.rand(1, 3, 64, 96) * 2 - 1)
    assert [tuple(each.shape[1:]) for each in (maps.fine, maps.medium, maps.coarse, maps.top, maps.summary)] == [
        (24, 16, 24),
        (48, 8, 12),
        (120, 4, 6),
        (1280, 4, 6),
        (160, 4, 6),
    ]


@pytest.mark.parametrize(("number", "blocks", "millions"), [(0, 16, 3.35), (1, 21, 4.11), (2, 21, 4.78)])
def test_sizes_are_those_of_the_published_classifiers(number: int, blocks: int, millions: float) -> None:
    trunk = trunk_of(number)
    assert len(trunk.blocks) == blocks
    published = [each.numel() for name, each in trunk.named_parameters() if not name.startswith("summary.")]
    assert sum(published) / 1e6 == pytest.approx(millions, abs=0.01)


def test_spread_kernels_are_the_same_operations_written_plainly() -> None:
    """Every convolution by `F.conv2d` on an input padded by hand, zeros between the taps where kernels are spread."""
    trunk, images = trunk_of(0), torch.rand(1, 3, 64, 64) * 2 - 1
    x = F.relu6(_plainly((images * 127.5 + 0.5) / 128, trunk.stem, 1))
    for index, block in enumerate(trunk.blocks):
        inner = x if block.expand is None else F.relu6(F.conv2d(x, block.expand.weight, block.expand.bias))
        inner = F.relu6(_plainly(inner, block.depthwise, 2 if index > 11 else 1))
        y = F.conv2d(inner, block.project.weight, block.project.bias)
        x = x + y if block.is_residual else y
    expected = F.relu6(F.conv2d(x, trunk.head.weight, trunk.head.bias))
    torch.testing.assert_close(trunk(images).top, expected, atol=1e-5, rtol=0)


def _plainly(x: torch.Tensor, conv: nn.Conv2d, spread: int) -> torch.Tensor:
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    weight = conv.weight
    if spread > 1:  # zeros between the taps
        side = spread * (kernel - 1) + 1
        weight = weight.new_zeros(*weight.shape[:2], side, side)
        weight[..., ::spread, ::spread] = conv.weight
    total = weight.shape[-1] - stride
    x = F.pad(x, (total // 2, total - total // 2, total // 2, total - total // 2))
    return F.conv2d(x, weight, conv.bias, stride, groups=conv.groups)


@pytest.mark.parity
@pytest.mark.parametrize("number", LITE)
def test_at_stride_32_it_equals_the_published_module(number: int) -> None:
    """In float64, where folding the norms changes nothing but the last bits."""
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="efficientnet-lite-pytorch is not installed")
    torch.manual_seed(0)
    published = package.EfficientNet.from_name(f"efficientnet-lite{number}", image_size=None).double().eval()
    for module in published.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_()
    from builtin_words import fold

    trunk = trunk_of(number).double()
    assert trunk.load_state_dict(fold(published.state_dict()), strict=False) == (["summary.weight", "summary.bias"], [])
    for block in trunk.blocks:
        block.depthwise.dilation = (1, 1)
    last = list(itertools.accumulate(trunk.config.repeats(index) for index in range(7)))
    trunk.blocks[last[4]].depthwise.stride = (2, 2)
    levels = torch.randint(0, 256, (1, 3, 96, 64)).double()
    expected = published.extract_features((levels - 127) / 128)
    x = F.relu6(same_conv((levels - 127) / 128, trunk.stem))
    for block in trunk.blocks:
        x = block(x)
    torch.testing.assert_close(F.relu6(trunk.head(x)), expected, atol=1e-5, rtol=0)


def test_an_image_that_does_not_halve_evenly_is_refused() -> None:
    with pytest.raises(ValueError, match="image size 80x64 is not a multiple of 32 pixels"):
        trunk_of(0)(torch.zeros(1, 3, 80, 64))


def test_the_coarse_level_begins_as_a_projection_of_the_summary() -> None:
    torch.manual_seed(0)
    config = ConvTrunk.Config()
    neck = LateralNeck(config, 16)
    fine, medium, coarse = config.dims
    maps = ConvMaps(
        fine=torch.rand(1, fine, 16, 16),
        medium=torch.rand(1, medium, 8, 8),
        coarse=torch.rand(1, coarse, 4, 4),
        top=torch.rand(1, 1280, 4, 4),
        summary=torch.rand(1, 160, 4, 4),
    )
    project = neck.coarse.project
    place = neck.place(sine_map(4, 4, 16, torch.device("cpu"))).T.unflatten(1, (4, 4))
    expected = F.conv2d(maps.summary, project.weight, project.bias) + place
    torch.testing.assert_close(neck(maps).coarse, expected)
    torch.testing.assert_close(neck.coarse_map(maps), neck(maps).coarse)


def test_channels_lie_beside_each_other_from_the_first_convolution_to_the_neck() -> None:
    model = Detector(replace(tiny(), image_size=64)).eval()
    maps = model.vision.trunk(torch.rand(1, 3, 64, 64))
    pyramid = model.vision.concept_neck(maps)
    for each in (maps.fine, maps.medium, maps.coarse, maps.top, pyramid.fine, pyramid.medium, pyramid.coarse):
        assert each.is_contiguous(memory_format=torch.channels_last)


def test_what_is_kept_of_finer_maps_is_the_convolution_and_in_bfloat16_too() -> None:
    for side, dim in ((2, 48), (4, 24), (4, 16)):
        conv, x = nn.Conv2d(dim, 32, side, stride=side, bias=False), torch.rand(2, dim, 8 * side, 4 * side)
        expected = conv(x)
        torch.testing.assert_close(patch_conv(x, conv), expected)
        rounded = patch_conv(x.bfloat16(), conv.bfloat16()).float()
        assert (rounded - expected).norm() < 0.02 * expected.norm()


def test_a_frozen_trunk_costs_no_gradient() -> None:
    model = Detector(replace(tiny(), image_size=64))
    model.vision.trunk.requires_grad_(requires_grad=False)
    assert not model.vision.trunk(torch.zeros(1, 3, 64, 64)).top.requires_grad


@pytest.mark.compile  # shape checks stand in the way of tracing, too
def test_the_trunk_exports_to_onnx_as_it_is(tmp_path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    trunk, images, path = trunk_of(0), torch.rand(1, 3, 64, 64), tmp_path / "trunk.onnx"

    class Top(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return trunk(images).top

    torch.onnx.export(Top(), (images,), str(path), dynamo=False, input_names=["images"])
    found = onnxruntime.InferenceSession(str(path)).run(None, {"images": images.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(found), trunk(images).top, atol=1e-4, rtol=0)
