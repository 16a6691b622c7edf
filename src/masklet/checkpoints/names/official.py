"""Names of `sam3.pt`."""

import torch
from torch import Tensor

from masklet.checkpoints.names.entries import (
    WEIGHT_AND_BIAS,
    Entry,
    ForeignFormat,
    Join,
    Layout,
    PositionTable,
    Rename,
    Split,
    both,
    click_attention,
    click_block,
    click_tokens,
    each,
    layers,
    neck_convs,
    with_bias,
)
from masklet.checkpoints.names.tracker import official_memory
from masklet.models.click import NUM_MASKS
from masklet.models.detector import Detector
from masklet.models.vision import grid_positions
from masklet.nn.rope import axial_rotation


def official(config: Detector.Config) -> Layout:
    """Names of `sam3.pt`."""
    vision, text = "detector.backbone.vision_backbone.", "detector.backbone.language_backbone."
    concept = [
        *_trunk(config, f"{vision}trunk."),
        *_neck("vision.concept_neck.", f"{vision}convs."),
        *_text(config, f"{text}encoder."),
        *both("text.project", f"{text}resizer"),
        *_prompts(config),
        *each("fusion.layers", config.fusion.depth, "detector.transformer.encoder.layers", _fusion_layer),
        *_decoder(config),
        *_heads(),
    ]
    click = [*_neck("vision.click_neck.", f"{vision}sam2_convs."), *_click(config)]
    dim, trunk_dim, width = config.vision.dim, config.vision.trunk.dim, config.text.width
    dead = {f"{text}encoder.text_projection": (width, -1)}
    for convs in ("convs", "sam2_convs"):
        dead |= with_bias(f"{vision}{convs}.3.conv_1x1", (dim, trunk_dim, 1, 1))
        dead |= with_bias(f"{vision}{convs}.3.conv_3x3", (dim, dim, 3, 3))
    pixel = "detector.segmentation_head.pixel_decoder."
    dead |= with_bias(f"{pixel}conv_layers.2", (dim, dim, 3, 3)) | with_bias(f"{pixel}norms.2", (dim,))
    return Layout(
        concept=tuple(concept),
        click=tuple(click),
        memory=tuple(official_memory(config)),
        dead=dead,
        ignored=(f"{vision}trunk.blocks.#.attn.freqs_cis",),
    )


def _trunk(config: Detector.Config, theirs: str) -> list[Entry]:
    entries: list[Entry] = [
        Rename("vision.trunk.patch_embed.weight", f"{theirs}patch_embed.proj.weight"),
        PositionTable("vision.trunk.position", f"{theirs}pos_embed"),
        *both("vision.trunk.norm", f"{theirs}ln_pre"),
    ]
    block = {
        "norm1": "norm1",
        "norm2": "norm2",
        "attention.qkv": "attn.qkv",
        "attention.out": "attn.proj",
        "mlp.up": "mlp.fc1",
        "mlp.down": "mlp.fc2",
    }
    for i in range(config.vision.trunk.depth):
        entries += layers(f"vision.trunk.blocks.{i}.", f"{theirs}blocks.{i}.", block)
    return entries


def _neck(ours: str, theirs: str) -> list[Entry]:
    up = {"fine.upsample.0": "0.dconv_2x2_0", "fine.upsample.1": "0.dconv_2x2_1", "medium.upsample.0": "1.dconv_2x2"}
    return layers(ours, theirs, up | neck_convs("{}.conv_1x1", "{}.conv_3x3"))


def _text(config: Detector.Config, theirs: str) -> list[Entry]:
    entries: list[Entry] = [
        Rename("text.tokens.weight", f"{theirs}token_embedding.weight"),
        Rename("text.position", f"{theirs}positional_embedding"),
        *both("text.norm", f"{theirs}ln_final"),
    ]
    block = {"norm1": "ln_1", "norm2": "ln_2", "attention.out": "attn.out_proj", "mlp.up": "mlp.c_fc"}
    block["mlp.down"] = "mlp.c_proj"
    for i in range(config.text.depth):
        ours, name = f"text.blocks.{i}.", f"{theirs}transformer.resblocks.{i}."
        entries += layers(ours, name, block)
        entries += [Rename(f"{ours}attention.qkv.{part}", f"{name}attn.in_proj_{part}") for part in WEIGHT_AND_BIAS]
    return entries


def _attention(ours: str, theirs: str) -> list[Entry]:
    """Three of our projections, one of theirs."""
    parts = [Split(tuple(f"{ours}.{p}.{kind}" for p in "qkv"), f"{theirs}.in_proj_{kind}") for kind in WEIGHT_AND_BIAS]
    return [*parts, *both(f"{ours}.out", f"{theirs}.out_proj")]


def _fusion_layer(ours: str, theirs: str) -> list[Entry]:
    norms = {f"norm{n}": f"norm{n}" for n in (1, 2, 3)}
    return [
        *_attention(f"{ours}self_attention", f"{theirs}self_attn"),
        *_attention(f"{ours}cross_attention", f"{theirs}cross_attn_image"),
        *layers(ours, theirs, norms | {"mlp.up": "linear1", "mlp.down": "linear2"}),
    ]


def _prompts(config: Detector.Config) -> list[Entry]:
    ours, theirs = "prompts.", "detector.geometry_encoder."
    plain = {"pool_norm": "img_pre_norm", "project": "final_proj", "norm": "norm", "out_norm": "encode_norm"}
    for kind, name in (("direct", "direct"), ("pool", "pool"), ("position", "pos_enc")):
        plain |= {f"box_{kind}": f"boxes_{name}_project", f"point_{kind}": f"points_{name}_project"}
    return [
        Rename("prompts.label.weight", f"{theirs}label_embed.weight"),
        Rename("prompts.cls", f"{theirs}cls_embed.weight"),
        *layers(ours, theirs, plain),
        *each("prompts.layers", config.prompts.depth, f"{theirs}encode", _fusion_layer),
    ]


def _decoder(config: Detector.Config) -> list[Entry]:
    theirs = "detector.transformer.decoder."
    mlps = {
        "box_head": ("bbox_embed", 3),
        "presence_head": ("presence_token_head", 3),
        "position_head": ("ref_point_head", 2),
        "bias_x": ("boxRPB_embed_x", 2),
        "bias_y": ("boxRPB_embed_y", 2),
    }
    plain = {f"{a}.layers.{i}": f"{b}.layers.{i}" for a, (b, depth) in mlps.items() for i in range(depth)}
    return [
        Rename("decoder.query", f"{theirs}query_embed.weight"),
        Rename("decoder.reference", f"{theirs}reference_points.weight"),
        Rename("decoder.presence", f"{theirs}presence_token.weight"),
        *layers("decoder.", theirs, plain | {"norm": "norm", "presence_norm": "presence_token_out_norm"}),
        *each("decoder.layers", config.decoder.depth, f"{theirs}layers", _decoder_layer),
    ]


def _decoder_layer(ours: str, theirs: str) -> list[Entry]:
    plain = {"self_norm": "norm2", "prompt_norm": "catext_norm", "image_norm": "norm1", "mlp_norm": "norm3"}
    return [
        *_attention(f"{ours}self_attention", f"{theirs}self_attn"),
        *_attention(f"{ours}prompt_attention", f"{theirs}ca_text"),
        *_attention(f"{ours}image_attention", f"{theirs}cross_attn"),
        *layers(ours, theirs, plain | {"mlp.up": "linear1", "mlp.down": "linear2"}),
    ]


def _heads() -> list[Entry]:
    scoring = {
        "prompt_mlp.layers.0": "prompt_mlp.layers.0",
        "prompt_mlp.layers.1": "prompt_mlp.layers.1",
        "norm": "prompt_mlp.out_norm",
        "prompt_project": "prompt_proj",
        "query_project": "hs_proj",
    }
    masks = {
        "conv_medium": "pixel_decoder.conv_layers.0",
        "norm_medium": "pixel_decoder.norms.0",
        "conv_fine": "pixel_decoder.conv_layers.1",
        "norm_fine": "pixel_decoder.norms.1",
        "prompt_norm": "cross_attn_norm",
        "instance": "instance_seg_head",
        "semantic": "semantic_seg_head",
    } | {f"query_mlp.layers.{i}": f"mask_predictor.mask_embed.layers.{i}" for i in range(3)}
    head = "detector.segmentation_head."
    return [
        *layers("scoring.", "detector.dot_prod_scoring.", scoring),
        *layers("masks.", head, masks),
        *_attention("masks.prompt_attention", f"{head}cross_attend_prompt"),
    ]


def _click(config: Detector.Config) -> list[Entry]:
    prompt, decoder = "tracker.sam_prompt_encoder.", "tracker.sam_mask_decoder."
    downscaling = {"mask_conv1": "0", "mask_norm1": "1", "mask_conv2": "3", "mask_norm2": "4", "mask_conv3": "6"}
    plain = {"skip_fine": "conv_s0", "skip_medium": "conv_s1", "final_norm": "transformer.norm_final_attn"}
    plain |= {"upscale1": "output_upscaling.0", "upscale_norm": "output_upscaling.1", "upscale2": "output_upscaling.3"}
    heads = {"iou_head": "iou_prediction_head", "object_head": "pred_obj_score_head"}
    heads |= {f"mask_mlps.{i}": f"output_hypernetworks_mlps.{i}" for i in range(NUM_MASKS)}
    plain |= {f"{a}.layers.{i}": f"{b}.layers.{i}" for a, b in heads.items() for i in range(3)}
    return [
        Rename("click.no_memory", "tracker.no_mem_embed", leading=2),
        Rename("click.prompts.frequencies", f"{prompt}pe_layer.positional_encoding_gaussian_matrix"),
        Join("click.prompts.labels", tuple(f"{prompt}point_embeddings.{i}.weight" for i in range(4))),
        Rename("click.prompts.padding", f"{prompt}not_a_point_embed.weight"),
        Rename("click.prompts.no_mask", f"{prompt}no_mask_embed.weight"),
        *layers("click.prompts.", f"{prompt}mask_downscaling.", downscaling),
        *click_tokens(decoder),
        *layers("click.decoder.", decoder, plain),
        *click_attention(
            "click.decoder.final_attention", f"{decoder}transformer.final_attn_token_to_image", "out_proj"
        ),
        *each("click.decoder.blocks", config.click.depth, f"{decoder}transformer.layers", _click_block),
    ]


def _click_block(ours: str, theirs: str) -> list[Entry]:
    plain = {f"norm{n}": f"norm{n}" for n in (1, 2, 3, 4)} | {"mlp.up": "mlp.lin1", "mlp.down": "mlp.lin2"}
    return click_block(ours, theirs, "out_proj", plain)


def _rotary_buffers(config: Detector.Config) -> dict[str, Tensor]:
    """The tables that official files hold for every block; ours are made on the fly."""
    trunk, device = config.vision.trunk, torch.device("cpu")
    side, head_dim = config.image_size // trunk.patch_size, trunk.dim // trunk.num_heads
    tables = {
        is_global: axial_rotation(grid_positions(reach, reach, trunk.window, device), head_dim, trunk.rope_theta)
        for is_global, reach in ((False, trunk.window), (True, side))
    }
    return {
        f"detector.backbone.vision_backbone.trunk.blocks.{index}.attn.freqs_cis": tables[
            index in trunk.global_blocks
        ].clone()
        for index in range(trunk.depth)
    }


OFFICIAL = ForeignFormat(
    layout=official,
    recognise=lambda tensors: any(name.startswith(("detector.", "tracker.")) for name in tensors),
    buffers=_rotary_buffers,
    is_checkpoint=True,
)
