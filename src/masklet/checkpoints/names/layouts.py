"""Both foreign formats: their names from the table, and what their files hold beside the model's tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor

from masklet.checkpoints.names.entries import ForeignFormat, Layout, Unread
from masklet.checkpoints.names.table import read_table
from masklet.errors import InputError
from masklet.models.detector import Detector
from masklet.models.vision import Trunk
from masklet.nn.positions import grid_positions
from masklet.nn.rope import axial_rotation


def official(config: Detector.Config) -> Layout:
    """Names of `sam3.pt`."""
    vision, text = "detector.backbone.vision_backbone.", "detector.backbone.language_backbone."
    dead = _dead_layers(
        config,
        projects=[f"{vision}{convs}.3.conv_1x1" for convs in ("convs", "sam2_convs")],
        smooths=[f"{vision}{convs}.3.conv_3x3" for convs in ("convs", "sam2_convs")],
        pixel="detector.segmentation_head.pixel_decoder.",
    )
    dead[f"{text}encoder.text_projection"] = (config.text.width, -1)
    return _layout(
        "official", config, dead, unread="tracker.no_mem_pos_enc", ignored=f"{vision}trunk.blocks.#.attn.freqs_cis"
    )


def transformers(config: Detector.Config) -> Layout:
    """Names of transformers' `Sam3VideoModel`; a file of a plain `Sam3Model` has no prefix and no optional groups."""
    necks = ("detector_model.vision_encoder.neck", "tracker_neck")
    dead = _dead_layers(
        config,
        projects=[f"{neck}.fpn_layers.3.proj1" for neck in necks],
        smooths=[f"{neck}.fpn_layers.3.proj2" for neck in necks],
        pixel="detector_model.mask_decoder.pixel_decoder.",
    )
    dead["detector_model.text_encoder.text_projection.weight"] = (-1, config.text.width)
    return _layout(
        "transformers",
        config,
        dead,
        unread="tracker_model.no_memory_positional_encoding",
        ignored="tracker_model.shared_image_embedding.positional_embedding",
    )


def _dead_layers(
    config: Detector.Config, *, projects: Sequence[str], smooths: Sequence[str], pixel: str
) -> dict[str, tuple[int, ...]]:
    """Shapes of the fourth level of both necks and of the third stage of the pixel decoder."""
    dim = config.vision.dim
    weights = {name: (dim, _vit(config).dim, 1, 1) for name in projects}
    weights |= {name: (dim, dim, 3, 3) for name in (*smooths, f"{pixel}conv_layers.2")}
    weights |= {f"{pixel}norms.2": (dim,)}
    return {f"{name}.weight": shape for name, shape in weights.items()} | {f"{name}.bias": (dim,) for name in weights}


def _vit(config: Detector.Config) -> Trunk.Config:
    """The sizes of the vision transformer. Raises: InputError when the model has another trunk."""
    if not isinstance(config.vision.trunk, Trunk.Config):
        raise InputError(
            "the model has a convolutional trunk, for which this format has no names: convert it to masklet"
        )
    return config.vision.trunk


def _layout(
    kind: str, config: Detector.Config, dead: dict[str, tuple[int, ...]], *, unread: str, ignored: str
) -> Layout:
    entries, absent = read_table(kind, config)
    return Layout(
        concept=tuple(entries["concept"]),
        click=tuple(entries["click"]),
        memory=(*entries["memory"], Unread(unread, (1, 1, config.memory.dim))),
        dead=dead,
        absent=tuple(absent),
        ignored=(ignored,),
    )


def _rotary_buffers(config: Detector.Config) -> dict[str, Tensor]:
    """The tables that official files hold for every block; ours are made on the fly."""
    trunk, device = _vit(config), torch.device("cpu")
    side, head_dim = config.image_size // trunk.patch_size, trunk.dim // trunk.num_heads
    local, whole = (
        axial_rotation(grid_positions(reach, reach, trunk.window, device), head_dim, trunk.rope_theta)
        for reach in (trunk.window, side)
    )
    return {
        f"detector.backbone.vision_backbone.trunk.blocks.{index}.attn.freqs_cis": (
            whole if index in trunk.global_blocks else local
        ).clone()
        for index in range(trunk.depth)
    }


def _with_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Files of a plain `Sam3Model` lack the prefix that files of the whole system have."""
    if any(name.startswith("detector_model.") for name in tensors):
        return tensors
    return {f"detector_model.{name}": tensor for name, tensor in tensors.items()}


FORMATS: dict[str, ForeignFormat] = {
    "official": ForeignFormat(
        layout=official,
        recognise=lambda tensors: any(name.startswith(("detector.", "tracker.")) for name in tensors),
        buffers=_rotary_buffers,
        is_checkpoint=True,
    ),
    "transformers": ForeignFormat(
        layout=transformers,
        recognise=lambda _: True,  # so that a file of no known format is told what this one would hold
        complete=_with_prefix,
    ),
}
