"""Names of the mask memory in both formats: the same layers, so one walk over them with two vocabularies."""

from collections.abc import Mapping
from dataclasses import dataclass

from masklet.checkpoints.names.entries import WEIGHT_AND_BIAS, Entry, Join, Rename, Unread, both, each, layers
from masklet.models.detector import Detector


@dataclass(frozen=True, kw_only=True)
class _Words:
    """What one format calls the parts. `downsampler` has places for a convolution's and a norm's name."""

    prefix: str
    ages: str
    unseen_map: str
    unseen_pointer: str
    unread: str
    pointer_mlp: tuple[str, str, str]
    pointer_age: str
    encoder: Mapping[str, str]
    downsampler: tuple[tuple[str, str], ...]
    fuser: str
    block: Mapping[str, str]
    attention: str
    out: str
    norm: str


_OFFICIAL = _Words(
    prefix="tracker.",
    ages="maskmem_tpos_enc",
    unseen_map="no_obj_embed_spatial",
    unseen_pointer="no_obj_ptr",
    unread="no_mem_pos_enc",
    pointer_mlp=("obj_ptr_proj.layers.0", "obj_ptr_proj.layers.1", "obj_ptr_proj.layers.2"),
    pointer_age="obj_ptr_tpos_proj",
    encoder={
        "downsampler.project": "maskmem_backbone.mask_downsampler.encoder.12",
        "project_image": "maskmem_backbone.pix_feat_proj",
        "project": "maskmem_backbone.out_proj",
    },
    downsampler=tuple(
        (f"maskmem_backbone.mask_downsampler.encoder.{3 * i}", f"maskmem_backbone.mask_downsampler.encoder.{3 * i + 1}")
        for i in range(4)
    ),
    fuser="maskmem_backbone.fuser.layers",
    block={"depthwise": "dwconv", "norm": "norm", "mlp.up": "pwconv1", "mlp.down": "pwconv2", "scale": "gamma"},
    attention="transformer.encoder.",
    out="out_proj",
    norm="norm",
)
_TRANSFORMERS = _Words(
    prefix="tracker_model.",
    ages="memory_temporal_positional_encoding",
    unseen_map="occlusion_spatial_embedding_parameter",
    unseen_pointer="no_object_pointer",
    unread="no_memory_positional_encoding",
    pointer_mlp=("object_pointer_proj.proj_in", "object_pointer_proj.layers.0", "object_pointer_proj.proj_out"),
    pointer_age="temporal_positional_encoding_projection_layer",
    encoder={
        "downsampler.project": "memory_encoder.mask_downsampler.final_conv",
        "project_image": "memory_encoder.feature_projection",
        "project": "memory_encoder.projection",
    },
    downsampler=tuple(
        (
            f"memory_encoder.mask_downsampler.layers.{i}.conv",
            f"memory_encoder.mask_downsampler.layers.{i}.layer_norm",
        )
        for i in range(4)
    ),
    fuser="memory_encoder.memory_fuser.layers",
    block={
        "depthwise": "depthwise_conv",
        "norm": "layer_norm",
        "mlp.up": "pointwise_conv1",
        "mlp.down": "pointwise_conv2",
        "scale": "scale",
    },
    attention="memory_attention.",
    out="o_proj",
    norm="layer_norm",
)


def official_memory(config: Detector.Config) -> list[Entry]:
    """Entries of the official file."""
    return _entries(_OFFICIAL, config)


def transformers_memory(config: Detector.Config) -> list[Entry]:
    """Entries of transformers' file."""
    return _entries(_TRANSFORMERS, config)


def _entries(words: _Words, config: Detector.Config) -> list[Entry]:
    theirs = words.prefix
    plain = {f"pointer_mlp.layers.{i}": name for i, name in enumerate(words.pointer_mlp)}
    plain |= {"pointer_age": words.pointer_age, "mask_prompt": "mask_downsample"}
    plain |= {f"encoder.{a}": b for a, b in words.encoder.items()}
    for i, (conv, norm) in enumerate(words.downsampler):
        plain |= {f"encoder.downsampler.convs.{i}": conv, f"encoder.downsampler.norms.{i}": norm}
    return [
        Rename("memory.ages", f"{theirs}{words.ages}", inner=2),
        Rename("memory.unseen_map", f"{theirs}{words.unseen_map}", leading=1),
        Rename("memory.unseen_pointer", f"{theirs}{words.unseen_pointer}", leading=1),
        Unread(f"{theirs}{words.unread}", (1, 1, config.memory.dim)),
        *layers("memory.", theirs, plain),
        *each(
            "memory.encoder.fuser",
            config.memory.fuser_depth,
            f"{theirs}{words.fuser}",
            lambda a, b: _block(a, b, words),
        ),
        *both("memory.norm", f"{theirs}{words.attention}{words.norm}"),
        *each(
            "memory.layers",
            config.memory.depth,
            f"{theirs}{words.attention}layers",
            lambda a, b: _layer(a, b, words),
        ),
    ]


def _block(ours: str, theirs: str, words: _Words) -> list[Entry]:
    plain = {a: b for a, b in words.block.items() if a != "scale"}
    return [*layers(ours, theirs, plain), Rename(f"{ours}scale", f"{theirs}{words.block['scale']}")]


def _layer(ours: str, theirs: str, words: _Words) -> list[Entry]:
    own, cross = f"{theirs}self_attn.", f"{theirs}cross_attn_image."
    fused = [
        Join(f"{ours}self_attention.qkv.{part}", tuple(f"{own}{name}_proj.{part}" for name in "qkv"))
        for part in WEIGHT_AND_BIAS
    ]
    plain = {f"norm{n}": f"{words.norm}{n}" for n in (1, 2, 3)} | {"mlp.up": "linear1", "mlp.down": "linear2"}
    attention = {name: f"{name}_proj" for name in "qkv"} | {"out": words.out}
    return [
        *fused,
        *both(f"{ours}self_attention.out", f"{own}{words.out}"),
        *layers(f"{ours}cross_attention.", cross, attention),
        *layers(ours, theirs, plain),
    ]
