"""How the parameters are called elsewhere: tables of (our name, their name) from which both directions are derived.

A table is made for a config, so every entry is a plain pair of names and can be checked, counted and searched for.
Nothing here touches a file: `weights.py` does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from masklet.models.click import NUM_MASKS
from masklet.models.detector import Detector

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Rename:
    """One tensor under two names; theirs may have axes of length one in front."""

    ours: str
    theirs: str
    leading: int = 0

    def read(self, theirs: State) -> dict[str, Tensor]:
        """Our tensors from theirs."""
        tensor = theirs[self.theirs]
        return {self.ours: tensor.reshape(tensor.shape[self.leading :])}

    def write(self, ours: State) -> dict[str, Tensor]:
        """Their tensors from ours."""
        tensor = ours[self.ours]
        return {self.theirs: tensor.reshape((1,) * self.leading + tuple(tensor.shape))}


@dataclass(frozen=True)
class Split:
    """Several of our tensors are the equal parts, along the first axis, of one of theirs."""

    ours: tuple[str, ...]
    theirs: str

    def read(self, theirs: State) -> dict[str, Tensor]:
        """Our tensors from theirs."""
        return dict(zip(self.ours, theirs[self.theirs].chunk(len(self.ours)), strict=True))

    def write(self, ours: State) -> dict[str, Tensor]:
        """Their tensors from ours."""
        return {self.theirs: torch.cat([ours[name] for name in self.ours])}


@dataclass(frozen=True)
class Join:
    """One of our tensors is the concatenation, along the first axis, of several of theirs."""

    ours: str
    theirs: tuple[str, ...]

    def read(self, theirs: State) -> dict[str, Tensor]:
        """Our tensors from theirs."""
        return {self.ours: torch.cat([theirs[name] for name in self.theirs])}

    def write(self, ours: State) -> dict[str, Tensor]:
        """Their tensors from ours."""
        return dict(zip(self.theirs, ours[self.ours].chunk(len(self.theirs)), strict=True))


@dataclass(frozen=True)
class PositionTable:
    """Our table of window positions is theirs behind a class-token row that no part of the model reads."""

    ours: str
    theirs: str

    def read(self, theirs: State) -> dict[str, Tensor]:
        """Our tensors from theirs."""
        return {self.ours: theirs[self.theirs][0, 1:]}

    def write(self, ours: State) -> dict[str, Tensor]:
        """Their tensors from ours, with zeros for the unread row."""
        table = ours[self.ours]
        return {self.theirs: torch.cat([torch.zeros_like(table[:1]), table])[None]}


Entry = Rename | Split | Join | PositionTable


def names_of(value: str | tuple[str, ...]) -> tuple[str, ...]:
    """The names on one side of an entry."""
    return (value,) if isinstance(value, str) else value


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One foreign naming of the whole model.

    `concept` and `click` cover our parameters; a file has the second group whole or not at all. `dead` are tensors that
    the published files hold and the image model never reads, with their shapes. `absent` are ours that the format
    does not know: they become zeros. `ignored` may be there and is recomputed or a copy. `kept` are patterns of names
    (`#` stands for a number) that belong to the tracker and are carried along untouched.
    """

    concept: tuple[Entry, ...]
    click: tuple[Entry, ...]
    dead: Mapping[str, tuple[int, ...]]
    absent: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    kept: tuple[str, ...] = field(default=())


def official(config: Detector.Config) -> Layout:
    """Names of `sam3.pt`."""
    vision, text = "detector.backbone.vision_backbone.", "detector.backbone.language_backbone."
    concept = [
        *_official_trunk(config, f"{vision}trunk."),
        *_official_neck("vision.concept_neck.", f"{vision}convs."),
        *_official_text(config, f"{text}encoder."),
        *_both("text.project", f"{text}resizer"),
        *_official_prompts(config),
        *_each("fusion.layers", config.fusion.depth, "detector.transformer.encoder.layers", _official_fusion_layer),
        *_official_decoder(config),
        *_official_heads(),
    ]
    click = [*_official_neck("vision.click_neck.", f"{vision}sam2_convs."), *_official_click(config)]
    dim, trunk_dim, width = config.vision.dim, config.vision.trunk.dim, config.text.width
    dead = {f"{text}encoder.text_projection": (width, -1)}
    for convs in ("convs", "sam2_convs"):
        dead |= _with_bias(f"{vision}{convs}.3.conv_1x1", (dim, trunk_dim, 1, 1))
        dead |= _with_bias(f"{vision}{convs}.3.conv_3x3", (dim, dim, 3, 3))
    pixel = "detector.segmentation_head.pixel_decoder."
    dead |= _with_bias(f"{pixel}conv_layers.2", (dim, dim, 3, 3)) | _with_bias(f"{pixel}norms.2", (dim,))
    return Layout(
        concept=tuple(concept),
        click=tuple(click),
        dead=dead,
        ignored=(f"{vision}trunk.blocks.#.attn.freqs_cis",),
        kept=tuple(f"tracker.{name}" for name, _ in TRACKER_NAMES),
    )


def transformers(config: Detector.Config) -> Layout:
    """Names of transformers' `Sam3VideoModel`; a file of a plain `Sam3Model` lacks the prefix and the click group."""
    base = "detector_model."
    concept = [
        *_transformers_trunk(config, f"{base}vision_encoder.backbone."),
        *_transformers_neck("vision.concept_neck.", f"{base}vision_encoder.neck."),
        *_transformers_text(config, f"{base}text_encoder.text_model."),
        *_both("text.project", f"{base}text_projection"),
        *_transformers_prompts(config, f"{base}geometry_encoder."),
        *_each("fusion.layers", config.fusion.depth, f"{base}detr_encoder.layers", _transformers_fusion_layer),
        *_transformers_decoder(config, f"{base}detr_decoder."),
        *_transformers_heads(base),
    ]
    click = [*_transformers_neck("vision.click_neck.", "tracker_neck."), *_transformers_click(config)]
    dim, trunk_dim, width = config.vision.dim, config.vision.trunk.dim, config.text.width
    dead = {f"{base}text_encoder.text_projection.weight": (-1, width)}
    for neck in (f"{base}vision_encoder.neck", "tracker_neck"):
        dead |= _with_bias(f"{neck}.fpn_layers.3.proj1", (dim, trunk_dim, 1, 1))
        dead |= _with_bias(f"{neck}.fpn_layers.3.proj2", (dim, dim, 3, 3))
    pixel = f"{base}mask_decoder.pixel_decoder."
    dead |= _with_bias(f"{pixel}conv_layers.2", (dim, dim, 3, 3)) | _with_bias(f"{pixel}norms.2", (dim,))
    absent = [f"prompts.point_{part}.{kind}" for part in ("direct", "pool", "position") for kind in WEIGHT_AND_BIAS]
    return Layout(
        concept=tuple(concept),
        click=tuple(click),
        dead=dead,
        absent=tuple(absent),
        ignored=("tracker_model.shared_image_embedding.positional_embedding",),
        kept=tuple(f"tracker_model.{name}" for _, name in TRACKER_NAMES),
    )


WEIGHT_AND_BIAS = ("weight", "bias")


def _both(ours: str, theirs: str) -> list[Entry]:
    return [Rename(f"{ours}.{part}", f"{theirs}.{part}") for part in WEIGHT_AND_BIAS]


def _layers(ours: str, theirs: str, pairs: Mapping[str, str]) -> list[Entry]:
    return [entry for a, b in pairs.items() for entry in _both(ours + a, theirs + b)]


def _each(ours: str, count: int, theirs: str, layer) -> list[Entry]:  # noqa: ANN001
    return [entry for i in range(count) for entry in layer(f"{ours}.{i}.", f"{theirs}.{i}.")]


def _with_bias(name: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


# --- official -----------------------------------------------------------------------------------------------------


def _official_trunk(config: Detector.Config, theirs: str) -> list[Entry]:
    entries: list[Entry] = [
        Rename("vision.trunk.patch_embed.weight", f"{theirs}patch_embed.proj.weight"),
        PositionTable("vision.trunk.position", f"{theirs}pos_embed"),
        *_both("vision.trunk.norm", f"{theirs}ln_pre"),
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
        entries += _layers(f"vision.trunk.blocks.{i}.", f"{theirs}blocks.{i}.", block)
    return entries


def _official_neck(ours: str, theirs: str) -> list[Entry]:
    up = {"fine.upsample.0": "0.dconv_2x2_0", "fine.upsample.1": "0.dconv_2x2_1", "medium.upsample.0": "1.dconv_2x2"}
    return _layers(ours, theirs, up | _neck_convs("{}.conv_1x1", "{}.conv_3x3"))


def _neck_convs(project: str, smooth: str) -> dict[str, str]:
    names = {}
    for number, level in enumerate(("fine", "medium", "coarse")):
        names[f"{level}.project"] = project.format(number)
        names[f"{level}.smooth"] = smooth.format(number)
    return names


def _official_text(config: Detector.Config, theirs: str) -> list[Entry]:
    entries: list[Entry] = [
        Rename("text.tokens.weight", f"{theirs}token_embedding.weight"),
        Rename("text.position", f"{theirs}positional_embedding"),
        *_both("text.norm", f"{theirs}ln_final"),
    ]
    block = {"norm1": "ln_1", "norm2": "ln_2", "attention.out": "attn.out_proj", "mlp.up": "mlp.c_fc"}
    block["mlp.down"] = "mlp.c_proj"
    for i in range(config.text.depth):
        ours, name = f"text.blocks.{i}.", f"{theirs}transformer.resblocks.{i}."
        entries += _layers(ours, name, block)
        entries += [Rename(f"{ours}attention.qkv.{part}", f"{name}attn.in_proj_{part}") for part in WEIGHT_AND_BIAS]
    return entries


def _official_attention(ours: str, theirs: str) -> list[Entry]:
    """Three of our projections, one of theirs."""
    parts = [Split(tuple(f"{ours}.{p}.{kind}" for p in "qkv"), f"{theirs}.in_proj_{kind}") for kind in WEIGHT_AND_BIAS]
    return [*parts, *_both(f"{ours}.out", f"{theirs}.out_proj")]


def _official_fusion_layer(ours: str, theirs: str) -> list[Entry]:
    norms = {f"norm{n}": f"norm{n}" for n in (1, 2, 3)}
    return [
        *_official_attention(f"{ours}self_attention", f"{theirs}self_attn"),
        *_official_attention(f"{ours}cross_attention", f"{theirs}cross_attn_image"),
        *_layers(ours, theirs, norms | {"mlp.up": "linear1", "mlp.down": "linear2"}),
    ]


def _official_prompts(config: Detector.Config) -> list[Entry]:
    ours, theirs = "prompts.", "detector.geometry_encoder."
    plain = {"pool_norm": "img_pre_norm", "project": "final_proj", "norm": "norm", "out_norm": "encode_norm"}
    for kind, name in (("direct", "direct"), ("pool", "pool"), ("position", "pos_enc")):
        plain |= {f"box_{kind}": f"boxes_{name}_project", f"point_{kind}": f"points_{name}_project"}
    return [
        Rename("prompts.label.weight", f"{theirs}label_embed.weight"),
        Rename("prompts.cls", f"{theirs}cls_embed.weight"),
        *_layers(ours, theirs, plain),
        *_each("prompts.layers", config.prompts.depth, f"{theirs}encode", _official_fusion_layer),
    ]


def _official_decoder(config: Detector.Config) -> list[Entry]:
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
        *_layers("decoder.", theirs, plain | {"norm": "norm", "presence_norm": "presence_token_out_norm"}),
        *_each("decoder.layers", config.decoder.depth, f"{theirs}layers", _official_decoder_layer),
    ]


def _official_decoder_layer(ours: str, theirs: str) -> list[Entry]:
    plain = {"self_norm": "norm2", "prompt_norm": "catext_norm", "image_norm": "norm1", "mlp_norm": "norm3"}
    return [
        *_official_attention(f"{ours}self_attention", f"{theirs}self_attn"),
        *_official_attention(f"{ours}prompt_attention", f"{theirs}ca_text"),
        *_official_attention(f"{ours}image_attention", f"{theirs}cross_attn"),
        *_layers(ours, theirs, plain | {"mlp.up": "linear1", "mlp.down": "linear2"}),
    ]


def _official_heads() -> list[Entry]:
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
        *_layers("scoring.", "detector.dot_prod_scoring.", scoring),
        *_layers("masks.", head, masks),
        *_official_attention("masks.prompt_attention", f"{head}cross_attend_prompt"),
    ]


def _official_click(config: Detector.Config) -> list[Entry]:
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
        *_layers("click.prompts.", f"{prompt}mask_downscaling.", downscaling),
        *_click_tokens(decoder),
        *_layers("click.decoder.", decoder, plain),
        *_click_attention("click.decoder.final_attention", f"{decoder}transformer.final_attn_token_to_image", "out_proj"),
        *_each("click.decoder.blocks", config.click.depth, f"{decoder}transformer.layers", _official_click_block),
    ]


def _click_tokens(theirs: str) -> list[Entry]:
    return [
        Rename("click.decoder.object_token", f"{theirs}obj_score_token.weight"),
        Rename("click.decoder.iou_token", f"{theirs}iou_token.weight"),
        Rename("click.decoder.mask_tokens", f"{theirs}mask_tokens.weight"),
    ]


def _click_attention(ours: str, theirs: str, out: str) -> list[Entry]:
    return _layers(f"{ours}.", f"{theirs}.", {"q": "q_proj", "k": "k_proj", "v": "v_proj", "out": out})


def _click_block(ours: str, theirs: str, out: str, plain: Mapping[str, str]) -> list[Entry]:
    attentions = {"self_attention": "self_attn", "token_to_image": "cross_attn_token_to_image"}
    attentions["image_to_token"] = "cross_attn_image_to_token"
    entries = [entry for a, b in attentions.items() for entry in _click_attention(ours + a, theirs + b, out)]
    return entries + _layers(ours, theirs, plain)


def _official_click_block(ours: str, theirs: str) -> list[Entry]:
    plain = {f"norm{n}": f"norm{n}" for n in (1, 2, 3, 4)} | {"mlp.up": "mlp.lin1", "mlp.down": "mlp.lin2"}
    return _click_block(ours, theirs, "out_proj", plain)


# --- transformers -------------------------------------------------------------------------------------------------


def _transformers_trunk(config: Detector.Config, theirs: str) -> list[Entry]:
    embeddings = f"{theirs}embeddings."
    entries: list[Entry] = [
        Rename("vision.trunk.patch_embed.weight", f"{embeddings}patch_embeddings.projection.weight"),
        Rename("vision.trunk.position", f"{embeddings}position_embeddings", leading=1),
        *_both("vision.trunk.norm", f"{theirs}layer_norm"),
    ]
    block = {"norm1": "layer_norm1", "norm2": "layer_norm2", "attention.out": "attention.o_proj"}
    block |= {"mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2"}
    for i in range(config.vision.trunk.depth):
        ours, name = f"vision.trunk.blocks.{i}.", f"{theirs}layers.{i}."
        entries += [*_layers(ours, name, block), *_joined_qkv(f"{ours}attention", f"{name}attention")]
    return entries


def _joined_qkv(ours: str, theirs: str) -> list[Entry]:
    return [Join(f"{ours}.qkv.{kind}", tuple(f"{theirs}.{p}_proj.{kind}" for p in "qkv")) for kind in WEIGHT_AND_BIAS]


def _transformers_neck(ours: str, theirs: str) -> list[Entry]:
    up = {"fine.upsample.0": "0.scale_layers.0", "fine.upsample.1": "0.scale_layers.2"}
    up["medium.upsample.0"] = "1.scale_layers.0"
    return _layers(ours, f"{theirs}fpn_layers.", up | _neck_convs("{}.proj1", "{}.proj2"))


def _transformers_text(config: Detector.Config, theirs: str) -> list[Entry]:
    entries: list[Entry] = [
        Rename("text.tokens.weight", f"{theirs}embeddings.token_embedding.weight"),
        Rename("text.position", f"{theirs}embeddings.position_embedding.weight"),
        *_both("text.norm", f"{theirs}final_layer_norm"),
    ]
    block = {"norm1": "layer_norm1", "norm2": "layer_norm2", "attention.out": "self_attn.out_proj"}
    block |= {"mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2"}
    for i in range(config.text.depth):
        ours, name = f"text.blocks.{i}.", f"{theirs}encoder.layers.{i}."
        entries += [*_layers(ours, name, block), *_joined_qkv(f"{ours}attention", f"{name}self_attn")]
    return entries


def _transformers_attention(ours: str, theirs: str) -> list[Entry]:
    return _click_attention(ours, theirs, "o_proj")


def _transformers_fusion_layer(ours: str, theirs: str) -> list[Entry]:
    norms = {f"norm{n}": f"layer_norm{n}" for n in (1, 2, 3)}
    return [
        *_transformers_attention(f"{ours}self_attention", f"{theirs}self_attn"),
        *_transformers_attention(f"{ours}cross_attention", f"{theirs}cross_attn"),
        *_layers(ours, theirs, norms | {"mlp.up": "mlp.fc1", "mlp.down": "mlp.fc2"}),
    ]


def _transformers_prompts(config: Detector.Config, theirs: str) -> list[Entry]:
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
        *_layers("prompts.", theirs, plain),
        *_each("prompts.layers", config.prompts.depth, f"{theirs}layers", _transformers_fusion_layer),
    ]


def _transformers_decoder(config: Detector.Config, theirs: str) -> list[Entry]:
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
        *_layers("decoder.", theirs, plain | {"norm": "output_layer_norm", "presence_norm": "presence_layer_norm"}),
        *_each("decoder.layers", config.decoder.depth, f"{theirs}layers", _transformers_decoder_layer),
    ]


def _transformers_decoder_layer(ours: str, theirs: str) -> list[Entry]:
    plain = {
        "self_norm": "self_attn_layer_norm",
        "prompt_norm": "text_cross_attn_layer_norm",
        "image_norm": "vision_cross_attn_layer_norm",
        "mlp_norm": "mlp_layer_norm",
        "mlp.up": "mlp.fc1",
        "mlp.down": "mlp.fc2",
    }
    return [
        *_transformers_attention(f"{ours}self_attention", f"{theirs}self_attn"),
        *_transformers_attention(f"{ours}prompt_attention", f"{theirs}text_cross_attn"),
        *_transformers_attention(f"{ours}image_attention", f"{theirs}vision_cross_attn"),
        *_layers(ours, theirs, plain),
    ]


def _transformers_heads(base: str) -> list[Entry]:
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
        *_layers("scoring.", f"{base}dot_product_scoring.", scoring),
        *_layers("masks.", head, masks),
        *_transformers_attention("masks.prompt_attention", f"{head}prompt_cross_attn"),
    ]


def _transformers_click(config: Detector.Config) -> list[Entry]:
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
        *_layers("click.prompts.", f"{prompt}mask_embed.", embed),
        *_click_tokens(decoder),
        *_layers("click.decoder.", decoder, plain),
        *_click_attention("click.decoder.final_attention", f"{decoder}transformer.final_attn_token_to_image", "o_proj"),
        *_each("click.decoder.blocks", config.click.depth, f"{decoder}transformer.layers", _transformers_click_block),
    ]


def _transformers_click_block(ours: str, theirs: str) -> list[Entry]:
    plain = {f"norm{n}": f"layer_norm{n}" for n in (1, 2, 3, 4)} | {"mlp.up": "mlp.proj_in", "mlp.down": "mlp.proj_out"}
    return _click_block(ours, theirs, "o_proj", plain)


# --- the tracker's tensors, kept for it ---------------------------------------------------------------------------


def _tracker_names() -> Iterator[tuple[str, str]]:
    """(official, transformers) names below `tracker.` and `tracker_model.`; `#` is a number, the same on both sides."""
    yield from (
        ("maskmem_tpos_enc", "memory_temporal_positional_encoding"),
        ("no_mem_pos_enc", "no_memory_positional_encoding"),
        ("no_obj_ptr", "no_object_pointer"),
        ("no_obj_embed_spatial", "occlusion_spatial_embedding_parameter"),
        ("maskmem_backbone.fuser.layers.#.gamma", "memory_encoder.memory_fuser.layers.#.scale"),
    )
    attention, fuser = "transformer.encoder.", "maskmem_backbone.fuser.layers.#."
    sampler, layer = "maskmem_backbone.mask_downsampler.encoder.", "transformer.encoder.layers.#."
    pairs = {
        f"{attention}norm": "memory_attention.layer_norm",
        "maskmem_backbone.pix_feat_proj": "memory_encoder.feature_projection",
        "maskmem_backbone.out_proj": "memory_encoder.projection",
        f"{sampler}12": "memory_encoder.mask_downsampler.final_conv",
        "obj_ptr_proj.layers.0": "object_pointer_proj.proj_in",
        "obj_ptr_proj.layers.1": "object_pointer_proj.layers.0",
        "obj_ptr_proj.layers.2": "object_pointer_proj.proj_out",
        "obj_ptr_tpos_proj": "temporal_positional_encoding_projection_layer",
        "mask_downsample": "mask_downsample",
    }
    for i, (conv, norm) in enumerate(((0, 1), (3, 4), (6, 7), (9, 10))):
        pairs[f"{sampler}{conv}"] = f"memory_encoder.mask_downsampler.layers.{i}.conv"
        pairs[f"{sampler}{norm}"] = f"memory_encoder.mask_downsampler.layers.{i}.layer_norm"
    parts = (("dwconv", "depthwise_conv"), ("pwconv1", "pointwise_conv1"), ("pwconv2", "pointwise_conv2"))
    for a, b in (*parts, ("norm", "layer_norm")):
        pairs[f"{fuser}{a}"] = f"memory_encoder.memory_fuser.layers.#.{b}"
    for kind in ("self_attn", "cross_attn_image"):
        for a, b in (("q_proj", "q_proj"), ("k_proj", "k_proj"), ("v_proj", "v_proj"), ("out_proj", "o_proj")):
            pairs[f"{layer}{kind}.{a}"] = f"memory_attention.layers.#.{kind}.{b}"
    for a in ("linear1", "linear2"):
        pairs[f"{layer}{a}"] = f"memory_attention.layers.#.{a}"
    for n in (1, 2, 3):
        pairs[f"{layer}norm{n}"] = f"memory_attention.layers.#.layer_norm{n}"
    for a, b in pairs.items():
        for kind in WEIGHT_AND_BIAS:
            yield f"{a}.{kind}", f"{b}.{kind}"


TRACKER_NAMES: tuple[tuple[str, str], ...] = tuple(_tracker_names())
