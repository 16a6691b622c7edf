"""A tiny SAM 3 and a tiny tracker of random sizes, twice: transformers' and ours, with the same random weights."""

import random
from dataclasses import dataclass, replace
from typing import Any

import torch
import torchvision_shim  # noqa: F401, before transformers
from torch import Tensor, nn
from transformers import (
    Sam3Config,
    Sam3Model,
    Sam3TrackerConfig,
    Sam3TrackerModel,
    Sam3TrackerVideoConfig,
    Sam3TrackerVideoModel,
)
from transformers.models.sam3.configuration_sam3 import Sam3VisionConfig, Sam3ViTConfig

from masklet.checkpoints.names import Layout, names_of, transformers
from masklet.models.click import ClickHead
from masklet.models.decoder import Decoder
from masklet.models.detector import Detector
from masklet.models.fusion import FusionEncoder
from masklet.models.heads import ConceptScorer, MaskHead
from masklet.models.memory import MaskMemory
from masklet.models.prompts import ExemplarEncoder
from masklet.models.text import TextEncoder
from masklet.models.vision import Trunk, VisionEncoder

VOCABULARY, CONTEXT = 1000, 32
BACKBONE = "vision_encoder.backbone."
NECK = "vision_encoder.neck."
TRACKER_PARTS = ("vision.trunk.", "vision.click_neck.", "click.", "memory.")


@dataclass(frozen=True)
class Twins:
    """Both models, and the table between their names."""

    theirs: Sam3Model
    their_click: Sam3TrackerModel
    ours: Detector
    layout: Layout

    @property
    def image_size(self) -> int:
        return self.ours.config.image_size


@dataclass(frozen=True)
class TrackerTwins:
    """Both trackers, each on a trunk of its own with the same weights."""

    theirs: Sam3TrackerVideoModel
    ours: Detector

    @property
    def image_size(self) -> int:
        return self.ours.config.image_size


def draw_config(seed: int) -> Detector.Config:
    """Sizes that exercise every choice: grids of one window and of several, odd depths, any set of global blocks."""
    pick = random.Random(seed)
    patch, window, tiles = pick.choice([7, 8, 14]), pick.choice([2, 3, 4]), pick.choice([1, 2, 3])
    heads, depth = pick.choice([1, 2, 4]), pick.choice([2, 3, 4])
    dim, inner_heads = pick.choice([32, 64]), pick.choice([1, 2, 4])
    layers = {"dim": dim, "num_heads": inner_heads, "hidden": pick.choice([48, 64])}

    def depths() -> int:
        return pick.choice([1, 2, 3])

    trunk = Trunk.Config(
        patch_size=patch,
        dim=heads * pick.choice([8, 16]),
        depth=depth,
        num_heads=heads,
        hidden=pick.choice([40, 74]),
        window=window,
        global_blocks=tuple(sorted(pick.sample(range(depth), pick.choice([1, 2])))),
    )
    text_heads = pick.choice([1, 2, 3])
    text = TextEncoder.Config(
        vocab_size=VOCABULARY,
        context=CONTEXT,
        width=text_heads * 8,
        depth=depths(),
        num_heads=text_heads,
        hidden=40,
        dim=dim,
    )
    return Detector.Config(
        image_size=patch * window * tiles,
        vision=VisionEncoder.Config(trunk=trunk, dim=dim),
        text=text,
        prompts=ExemplarEncoder.Config(**layers, depth=depths(), roi_size=pick.choice([5, 7])),
        fusion=FusionEncoder.Config(**layers, depth=depths()),
        decoder=Decoder.Config(**layers, depth=depths(), bias_hidden=dim, num_queries=pick.choice([3, 7, 10])),
        scoring=ConceptScorer.Config(dim=dim, hidden=layers["hidden"]),
        masks=MaskHead.Config(dim=dim, num_heads=inner_heads),
        click=ClickHead.Config(dim=dim, num_heads=pick.choice([2, 8]), hidden=64, iou_hidden=pick.choice([32, 48])),
        memory=MaskMemory.Config(dim=dim, memory_dim=dim // 4, depth=2, hidden=64),
    )


def make_twins(seed: int) -> Twins:
    """Weights leave the flat start of training: with it every answer is nearly constant and hides mistakes."""
    config = draw_config(seed)
    torch.manual_seed(seed)
    theirs, their_click = Sam3Model(concept_config(config)).eval(), Sam3TrackerModel(click_config(config)).eval()
    for parameter in [*theirs.parameters(), *their_click.parameters()]:
        parameter.data += 0.2 * torch.randn(parameter.shape)
    shared = theirs.state_dict()
    their_click.load_state_dict(
        {n: shared[n] for n in their_click.state_dict() if n.startswith(BACKBONE)}, strict=False
    )
    their_click.shared_image_embedding.load_state_dict(their_click.prompt_encoder.shared_embedding.state_dict())
    layout = transformers(config)
    ours = Detector(config)
    state = {
        name: value for entry in entries(layout) for name, value in entry.read(whole_state(theirs, their_click)).items()
    }
    absent = {name: torch.zeros_like(ours.state_dict()[name]) for name in layout.absent}
    memory = {name: value for name, value in ours.state_dict().items() if name.startswith("memory.")}
    ours.load_state_dict(state | absent | memory)
    ours.eval()
    for model in (theirs, their_click, ours):
        model.requires_grad_(requires_grad=False)
    return Twins(theirs=theirs, their_click=their_click, ours=ours, layout=layout)


def draw_tracker_config(seed: int, patch_size: int | None = None) -> Detector.Config:
    """As `draw_config`, with the widths that transformers' tracker needs; memories are chosen and kept as it does."""
    pick = random.Random(seed)
    config, dim = draw_config(seed), 256
    trunk = config.vision.trunk
    grid, patch = config.image_size // trunk.patch_size, patch_size or trunk.patch_size
    memory = MaskMemory.Config(
        dim=dim,
        memory_dim=64,
        depth=pick.choice([1, 2, 3]),
        hidden=pick.choice([48, 64]),
        fuser_depth=pick.choice([1, 2]),
        selective=False,
        half_maps=False,
    )
    return replace(
        config,
        image_size=grid * patch,
        vision=replace(config.vision, dim=dim, trunk=replace(trunk, patch_size=patch)),
        text=replace(config.text, dim=dim),
        prompts=replace(config.prompts, dim=dim),
        fusion=replace(config.fusion, dim=dim),
        decoder=replace(config.decoder, dim=dim),
        scoring=replace(config.scoring, dim=dim),
        masks=replace(config.masks, dim=dim),
        click=replace(config.click, dim=dim),
        memory=memory,
    )


def make_tracker_twins(seed: int, patch_size: int | None = None) -> TrackerTwins:
    """Weights are less wild than those of `make_twins`: a tracker feeds on its own answers, and rounding with them."""
    config = draw_tracker_config(seed, patch_size)
    torch.manual_seed(seed)
    theirs, ours = Sam3TrackerVideoModel(tracker_config(config)).eval(), Detector(config).eval()
    for parameter in theirs.parameters():
        parameter.data += 0.05 * torch.randn(parameter.shape)
    theirs.mask_decoder.pred_obj_score_head.proj_out.bias.data += 3.5  # seen, mostly
    theirs.shared_image_embedding.load_state_dict(theirs.prompt_encoder.shared_embedding.state_dict())
    layout = transformers(config)
    foreign = whole_state(theirs, theirs)
    used = (*layout.concept, *layout.click, *layout.memory)
    known = [entry for entry in used if foreign.keys() >= set(names_of(entry.theirs))]
    state = {name: value for entry in known for name, value in entry.read(foreign).items()}
    wanted = {name for name in ours.state_dict() if name.startswith(TRACKER_PARTS)}
    assert state.keys() >= wanted
    ours.load_state_dict({name: state[name] for name in wanted}, strict=False)
    for model in (theirs, ours):
        model.requires_grad_(requires_grad=False)
    return TrackerTwins(theirs=theirs, ours=ours)


def entries(layout: Layout) -> tuple:
    return layout.concept + layout.click


def whole_state(theirs: nn.Module, their_click: nn.Module) -> dict[str, Tensor]:
    """The tensors of both under the names of a file that holds the whole system."""
    state = {f"detector_model.{name}": value for name, value in theirs.state_dict().items()}
    for name, value in their_click.state_dict().items():
        if name.startswith(NECK):
            state[f"tracker_neck.{name.removeprefix(NECK)}"] = value
        elif not name.startswith(BACKBONE):
            state[f"tracker_model.{name}"] = value
    return state


def vision_config(config: Detector.Config) -> Sam3VisionConfig:
    trunk = config.vision.trunk
    vit = Sam3ViTConfig(
        hidden_size=trunk.dim,
        intermediate_size=trunk.hidden,
        num_hidden_layers=trunk.depth,
        num_attention_heads=trunk.num_heads,
        image_size=config.image_size,
        patch_size=trunk.patch_size,
        window_size=trunk.window,
        global_attn_indexes=list(trunk.global_blocks),
        pretrain_image_size=trunk.window * trunk.patch_size,
        layer_norm_eps=1e-5,  # the official value, and ours; transformers' default is 1e-6
    )
    grid = config.image_size // trunk.patch_size
    return Sam3VisionConfig(
        backbone_config=vit,
        fpn_hidden_size=config.vision.dim,
        scale_factors=[4.0, 2.0, 1.0, 0.5],
        backbone_feature_sizes=[[grid * scale] * 2 for scale in (4, 2, 1)],
    )


def concept_config(config: Detector.Config) -> Sam3Config:
    def layers(part: ExemplarEncoder.Config | FusionEncoder.Config | Decoder.Config) -> dict[str, int]:
        sizes = {"hidden_size": part.dim, "num_layers": part.depth, "num_attention_heads": part.num_heads}
        return sizes | {"intermediate_size": part.hidden}

    return Sam3Config(
        vision_config=vision_config(config),
        text_config={
            "vocab_size": VOCABULARY,
            "hidden_size": config.text.width,
            "intermediate_size": config.text.hidden,
            "projection_dim": 16,
            "num_hidden_layers": config.text.depth,
            "num_attention_heads": config.text.num_heads,
            "max_position_embeddings": CONTEXT,
            "hidden_act": "gelu",
            "bos_token_id": VOCABULARY - 2,
            "eos_token_id": VOCABULARY - 1,
        },
        geometry_encoder_config=layers(config.prompts) | {"roi_size": config.prompts.roi_size},
        detr_encoder_config=layers(config.fusion),
        detr_decoder_config=layers(config.decoder) | {"num_queries": config.decoder.num_queries},
        mask_decoder_config={
            "hidden_size": config.masks.dim,
            "num_upsampling_stages": 3,
            "num_attention_heads": config.masks.num_heads,
        },
    )


def click_config(config: Detector.Config) -> Sam3TrackerConfig:
    return Sam3TrackerConfig(vision_config=vision_config(config), **click_parts(config))


def tracker_config(config: Detector.Config) -> Sam3TrackerVideoConfig:
    memory = config.memory
    sizes: dict[str, Any] = {
        "memory_attention_num_layers": memory.depth,
        "memory_attention_feed_forward_hidden_size": memory.hidden,
        "memory_fuser_num_layers": memory.fuser_depth,
        "image_size": config.image_size,  # last: it sets the sizes of the parts
    }
    return Sam3TrackerVideoConfig(vision_config=vision_config(config), **click_parts(config), **sizes)


def click_parts(config: Detector.Config) -> dict[str, Any]:
    click = config.click
    return {
        "prompt_encoder_config": {
            "hidden_size": click.dim,
            "image_size": config.image_size,
            "patch_size": config.vision.trunk.patch_size,
            "mask_input_channels": click.mask_channels,
        },
        "mask_decoder_config": {
            "hidden_size": click.dim,
            "mlp_dim": click.hidden,
            "num_hidden_layers": click.depth,
            "num_attention_heads": click.num_heads,
            "iou_head_hidden_dim": click.iou_hidden,
        },
    }
