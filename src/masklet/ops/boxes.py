"""Boxes as `[*batch, 4]` tensors: two layouts, area, and the two overlaps that matching, losses and metrics need.

Everything is differentiable and works on empty input. Degenerate boxes (no width or height) have area 0 and IoU 0.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def cxcywh_to_xyxy(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Corners of boxes given by centre and size, in the same units."""
    centre, size = boxes[..., :2], boxes[..., 2:]
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def xyxy_to_cxcywh(boxes: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """Centre and size of boxes given by corners, in the same units."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def box_area(boxes_xyxy: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch"]:
    """Area, 0 for inverted boxes."""
    return (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=0).prod(dim=-1)


def box_iou(a: Float[Tensor, "*#batch 4"], b: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*batch"]:
    """Intersection over union of xyxy boxes, by broadcasting."""
    return _intersection_and_union(a, b)[0]


def box_iou_table(a: Float[Tensor, "box 4"], b: Float[Tensor, "other 4"]) -> Float[Tensor, "box other"]:
    """Intersection over union of every xyxy box of `a` with every one of `b`."""
    return box_iou(a[:, None], b[None])


def generalized_box_iou(a: Float[Tensor, "*#batch 4"], b: Float[Tensor, "*#batch 4"]) -> Float[Tensor, "*batch"]:
    """IoU less the empty share of the smallest box around both, in [-1, 1].

    Source: Rezatofighi et al., Generalized Intersection over Union (CVPR 2019), algorithm 1.
    """
    iou, union = _intersection_and_union(a, b)
    low = torch.minimum(a[..., :2], b[..., :2])
    high = torch.maximum(a[..., 2:], b[..., 2:])
    hull = (high - low).clamp(min=0).prod(dim=-1)
    return iou - (hull - union) / hull.clamp(min=torch.finfo(hull.dtype).tiny)


def _intersection_and_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.maximum(a[..., :2], b[..., :2])
    high = torch.minimum(a[..., 2:], b[..., 2:])
    intersection = (high - low).clamp(min=0).prod(dim=-1)
    union = box_area(a) + box_area(b) - intersection
    return intersection / union.clamp(min=torch.finfo(union.dtype).tiny), union
