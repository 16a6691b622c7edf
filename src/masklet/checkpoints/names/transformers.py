"""Names of transformers' `Sam3VideoModel`, which the published safetensors use."""

from torch import Tensor

from masklet.checkpoints.names.entries import (
    WEIGHT_AND_BIAS,
    Entry,
    ForeignFormat,
    Join,
    Layout,
    Rename,
    both,
    click_attention,
    click_block,
    click_tokens,
    each,
    layers,
    neck_convs,
    with_bias,
)
from masklet.checkpoints.names.tracker import transformers_memory
from masklet.models.click import NUM_MASKS
from masklet.models.detector import Detector


def transformers(config: Detector.Config) -> Layout:
    """Names of transformers' `Sam3VideoModel`; a file of a plain `Sam3Model` has no prefix and no optional groups."""
    base = "detector_model."
    concept = [
        *_trunk(config, f"{base}vision_encoder.backbone."),
        *_neck("vision.concept_neck.", f"{base}vision_encoder.neck."),
        *_text(config, f"{base}text_encoder.text_model."),
        *both("text.project", f"{base}text_projection"),
        *_prompts(config, f"{base}geometry_encoder."),
        *each("fusion.layers", config.fusion.depth, f"{base}detr_encoder.layers", _fusion_layer),
        *_decoder(config, f"{base}detr_decoder."),
        *_heads(base),
    ]
    click = [*_neck("vision.click_neck.", "tracker_neck."), *_click(config)]
    dim, trunk_dim, width = config.vision.dim, config.vision.trunk.dim, config.text.width
    dead = {f"{base}text_encoder.text_projection.weight": (-1, width)}
    for neck in (f"{base}vision_encoder.neck", "tracker_neck"):
        dead |= with_bias(f"{neck}.fpn_layers.3.proj1", (dim, trunk_dim, 1, 1))
        dead |= with_bias(f"{neck}.fpn_layers.3.proj2", (dim, dim, 3, 3))
    pixel = f"{base}mask_decoder.pixel_decoder."
    dead |= with_bias(f"{pixel}conv_layers.2", (dim, dim, 3, 3)) | with_bias(f"{pixel}norms.2", (dim,))
    absent = [f"prompts.point_{part}.{kind}" for part in ("direct", "pool", "position") for kind in WEIGHT_AND_BIAS]
    return Layout(
        concept=tuple(concept),
        click=tuple(click),
        memory=tuple(transformers_memory(config)),
        dead=dead,
        absent=tuple(absent),
        ignored=("tracker_model.shared_image_embedding.positional_embedding",),
    )


def _trunk(config: Detector.Config, theirs: str) -> list[Entry]:
    embeddings = f"{theirs}embeddings."
    entries: list[Entry] = [
        Rename("vision.trunk.patch_embed.weight", f"{embeddings}patch_embeddings.projection.weight"),
        Rename("vision.trunk.position", f"{embeddings}position_embeddings", leading=1),
        *both("vision.trunk.norm", f"{theirs}layer_norm"),
    ]
    block = {"norm1": "layer_norm1", "norm2": "layer_norm2", "attention.out": "attention.o_proj"}
    block |= {"mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2"}
    for i in range(config.vision.trunk.depth):
        ours, name = f"vision.trunk.blocks.{i}.", f"{theirs}layers.{i}."
        entries += [*layers(ours, name, block), *_joined_qkv(f"{ours}attention", f"{name}attention")]
    return entries


def _joined_qkv(ours: str, theirs: str) -> list[Entry]:
    return [Join(f"{ours}.qkv.{kind}", tuple(f"{theirs}.{p}_proj.{kind}" for p in "qkv")) for kind in WEIGHT_AND_BIAS]


def _neck(ours: str, theirs: str) -> list[Entry]:
    up = {"fine.upsample.0": "0.scale_layers.0", "fine.upsample.1": "0.scale_layers.2"}
    up["medium.upsample.0"] = "1.scale_layers.0"
    return layers(ours, f"{theirs}fpn_layers.", up | neck_convs("{}.proj1", "{}.proj2"))


def _text(config: Detector.Config, theirs: str) -> list[Entry]:
    entries: list[Entry] = [
        Rename("text.tokens.weight", f"{theirs}embeddings.token_embedding.weight"),
        Rename("text.position", f"{theirs}embeddings.position_embedding.weight"),
        *both("text.norm", f"{theirs}final_layer_norm"),
    ]
    block = {"norm1": "layer_norm1", "norm2": "layer_norm2", "attention.out": "self_attn.out_proj"}
    block |= {"mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2"}
    for i in range(config.text.depth):
        ours, name = f"text.blocks.{i}.", f"{theirs}encoder.layers.{i}."
        entries += [*layers(ours, name, block), *_joined_qkv(f"{ours}attention", f"{name}self_attn")]
    return entries


def _attention(ours: str, theirs: str) -> list[Entry]:
    return click_attention(ours, theirs, "o_proj")


def _fusion_layer(ours: str, theirs: str) -> list[Entry]:
    norms = {f"norm{n}": f"layer_norm{n}" for n in (1, 2, 3)}
    return [
        *_attention(f"{ours}self_attention", f"{theirs}self_attn"),
        *_attention(f"{ours}cross_attention", f"{theirs}cross_attn"),
        *layers(ours, theirs, norms | {"mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2"}),
    ]


def _prompts(config: Detector.Config, theirs: str) -> list[Entry]:
    plain = {
        "box_direct": "boxes_direct_project",
        "box_pool": "boxes_pool_project",
        "box_position": "boxes_pos_enc_project",
        "pool_norm": "vision_layer_norm",
        "project": "final_proj",
        "norm": "prompt_layer_norm",
        "out_norm": "output_layer_norm",
    }
    return [
        Rename("prompts.label.weight", f"{theirs}label_embed.weight"),
        Rename("prompts.cls", f"{theirs}cls_embed.weight"),
        *layers("prompts.", theirs, plain),
        *each("prompts.layers", config.prompts.depth, f"{theirs}layers", _fusion_layer),
    ]


def _decoder(config: Detector.Config, theirs: str) -> list[Entry]:
    mlps = {
        "box_head": ("box_head", 3),
        "presence_head": ("presence_head", 3),
        "position_head": ("ref_point_head", 2),
        "bias_x": ("box_rpb_embed_x", 2),
        "bias_y": ("box_rpb_embed_y", 2),
    }
    plain = {f"{a}.layers.{i}": f"{b}.layer{i + 1}" for a, (b, depth) in mlps.items() for i in range(depth)}
    return [
        Rename("decoder.query", f"{theirs}query_embed.weight"),
        Rename("decoder.reference", f"{theirs}reference_points.weight"),
        Rename("decoder.presence", f"{theirs}presence_token.weight"),
        *layers("decoder.", theirs, plain | {"norm": "output_layer_norm", "presence_norm": "presence_layer_norm"}),
        *each("decoder.layers", config.decoder.depth, f"{theirs}layers", _decoder_layer),
    ]


def _decoder_layer(ours: str, theirs: str) -> list[Entry]:
    plain = {
        "self_norm": "self_attn_layer_norm",
        "prompt_norm": "text_cross_attn_layer_norm",
        "image_norm": "vision_cross_attn_layer_norm",
        "mlp_norm": "mlp_layer_norm",
        "mlp.up": "mlp.fc1",
        "mlp.down": "mlp.fc2",
    }
    return [
        *_attention(f"{ours}self_attention", f"{theirs}self_attn"),
        *_attention(f"{ours}prompt_attention", f"{theirs}text_cross_attn"),
        *_attention(f"{ours}image_attention", f"{theirs}vision_cross_attn"),
        *layers(ours, theirs, plain),
    ]


def _heads(base: str) -> list[Entry]:
    scoring = {
        "prompt_mlp.layers.0": "text_mlp.layer1",
        "prompt_mlp.layers.1": "text_mlp.layer2",
        "norm": "text_mlp_out_norm",
        "prompt_project": "text_proj",
        "query_project": "query_proj",
    }
    masks = {
        "conv_medium": "pixel_decoder.conv_layers.0",
        "norm_medium": "pixel_decoder.norms.0",
        "conv_fine": "pixel_decoder.conv_layers.1",
        "norm_fine": "pixel_decoder.norms.1",
        "prompt_norm": "prompt_cross_attn_norm",
        "instance": "instance_projection",
        "semantic": "semantic_projection",
    } | {f"query_mlp.layers.{i}": f"mask_embedder.layers.{i}" for i in range(3)}
    head = f"{base}mask_decoder."
    return [
        *layers("scoring.", f"{base}dot_product_scoring.", scoring),
        *layers("masks.", head, masks),
        *_attention("masks.prompt_attention", f"{head}prompt_cross_attn"),
    ]


def _click(config: Detector.Config) -> list[Entry]:
    prompt, decoder = "tracker_model.prompt_encoder.", "tracker_model.mask_decoder."
    embed = {"mask_conv1": "conv1", "mask_norm1": "layer_norm1", "mask_conv2": "conv2", "mask_norm2": "layer_norm2"}
    embed["mask_conv3"] = "conv3"
    plain = {"skip_fine": "conv_s0", "skip_medium": "conv_s1", "final_norm": "transformer.layer_norm_final_attn"}
    plain |= {"upscale1": "upscale_conv1", "upscale_norm": "upscale_layer_norm", "upscale2": "upscale_conv2"}
    heads = {"iou_head": "iou_prediction_head", "object_head": "pred_obj_score_head"}
    heads |= {f"mask_mlps.{i}": f"output_hypernetworks_mlps.{i}" for i in range(NUM_MASKS)}
    steps = ("proj_in", "layers.0", "proj_out")
    plain |= {f"{a}.layers.{i}": f"{b}.{step}" for a, b in heads.items() for i, step in enumerate(steps)}
    return [
        Rename("click.no_memory", "tracker_model.no_memory_embedding", leading=2),
        Rename("click.prompts.frequencies", f"{prompt}shared_embedding.positional_embedding"),
        Rename("click.prompts.labels", f"{prompt}point_embed.weight"),
        Rename("click.prompts.padding", f"{prompt}not_a_point_embed.weight"),
        Rename("click.prompts.no_mask", f"{prompt}no_mask_embed.weight"),
        *layers("click.prompts.", f"{prompt}mask_embed.", embed),
        *click_tokens(decoder),
        *layers("click.decoder.", decoder, plain),
        *click_attention("click.decoder.final_attention", f"{decoder}transformer.final_attn_token_to_image", "o_proj"),
        *each("click.decoder.blocks", config.click.depth, f"{decoder}transformer.layers", _click_block),
    ]


def _click_block(ours: str, theirs: str) -> list[Entry]:
    plain = {f"norm{n}": f"layer_norm{n}" for n in (1, 2, 3, 4)} | {"mlp.up": "mlp.proj_in", "mlp.down": "mlp.proj_out"}
    return click_block(ours, theirs, "o_proj", plain)


def _with_prefix(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Files of a plain `Sam3Model` lack the prefix that files of the whole system have."""
    if any(name.startswith("detector_model.") for name in tensors):
        return tensors
    return {f"detector_model.{name}": tensor for name, tensor in tensors.items()}


TRANSFORMERS = ForeignFormat(
    layout=transformers,
    recognise=lambda _: True,  # so that a file of no known format is told what this one would hold
    complete=_with_prefix,
)
