"""Names of the tracker's tensors in both formats, so that they can be kept for it."""

from collections.abc import Iterator

from masklet.models.names.entries import WEIGHT_AND_BIAS


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
