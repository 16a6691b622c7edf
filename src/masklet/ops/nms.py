"""Non-maximum suppression of masks: of several detections of one thing the surest is kept."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int, Int64
from torch import Tensor

from masklet.ops.overlaps import binary_masks, overlap_table

# What several detections of one phrase make up: most of each lies in it, apart from the others, and they fill it.
LEAST_INSIDE, MOST_SHARED, LEAST_FILLED = 0.5, 0.2, 0.75
LIKELY = 0.5  # score at which a detection is as likely right as wrong


def nms_masks(
    mask_logits: Float[Tensor, "detection height width"],
    scores: Float[Tensor, " detection"],
    max_overlap: float,
    *,
    of_smaller: bool = False,
) -> Int64[Tensor, " kept"]:
    """Rows of the detections to keep, ascending: each that overlaps no surer kept one by more than `max_overlap`.

    The overlap is intersection over union, or over the smaller of the two areas. Of equal scores the first is surer.
    Overlaps are exact and the choice is made on the CPU, so the result is the same on every device.
    """
    masks = binary_masks(mask_logits)
    table = overlap_table(masks, masks)
    kept = _find_surest(table.of_smaller() if of_smaller else table.iou(), scores, max_overlap)
    return torch.from_numpy(kept).to(scores.device)


def nms_prompts(
    mask_logits: Float[Tensor, "detection height width"],
    scores: Float[Tensor, " detection"],
    prompt_index: Int[Tensor, " detection"],
    max_overlap: float,
) -> Int64[Tensor, " kept"]:
    """As `nms_masks` by IoU, but a detection gives way only to those of its own prompt.

    One outline around two or more others, as around two cars that touch, is dropped, too. Only others count that are
    more likely right than wrong, or surer than the outline around them.
    """
    masks, is_kept = binary_masks(mask_logits), torch.zeros_like(prompt_index, dtype=torch.bool)
    for prompt in prompt_index.unique():
        rows = (prompt_index == prompt).nonzero()[:, 0]
        table = overlap_table(masks[rows], masks[rows])
        kept = _find_surest(table.iou(), scores[rows], max_overlap)
        sure = scores[rows].float().cpu().numpy()[kept]
        is_group = _find_groups(table.shared[np.ix_(kept, kept)], table.areas[kept], sure)
        is_kept[rows[torch.from_numpy(kept[~is_group]).to(rows.device)]] = True
    return is_kept.nonzero()[:, 0]


def _find_surest(
    overlaps: Float64[np.ndarray, "detection detection"], scores: Float[Tensor, " detection"], max_overlap: float
) -> Int64[np.ndarray, " kept"]:
    is_kept = np.zeros(len(scores), bool)
    for index in scores.cpu().argsort(descending=True, stable=True).tolist():
        is_kept[index] = not (overlaps[index, is_kept] > max_overlap).any()
    return np.flatnonzero(is_kept)


def _find_groups(
    shared: Float64[np.ndarray, "detection detection"],
    areas: Float64[np.ndarray, " detection"],
    scores: Float32[np.ndarray, " detection"],
) -> Bool[np.ndarray, " detection"]:
    areas, shared = np.maximum(areas, 1), shared * ~np.eye(len(areas), dtype=bool)  # none is a part of itself
    is_part = (shared >= LEAST_INSIDE * areas[:, None]) & (scores[:, None] >= np.minimum(scores, LIKELY))
    is_group = np.zeros(len(areas), bool)
    for whole in np.flatnonzero(is_part.sum(axis=0) >= 2):
        # Its parts, those that fill most of it first, each apart from those before
        parts: list[int] = []
        for each in np.argsort(-shared[:, whole], kind="stable"):
            apart = shared[each, parts] <= MOST_SHARED * np.minimum(areas[each], areas[parts])
            if is_part[each, whole] and apart.all():
                parts.append(each)
        # What they fill of it; what two of them share is counted once
        filled = shared[parts, whole].sum() - np.triu(shared[np.ix_(parts, parts)], 1).sum()
        is_group[whole] = len(parts) >= 2 and filled >= LEAST_FILLED * areas[whole]
    return is_group
