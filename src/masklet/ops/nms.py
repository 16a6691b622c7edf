"""Non-maximum suppression of masks: of several detections of one thing the surest is kept."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Int64
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
    overlaps = torch.from_numpy(table.of_smaller() if of_smaller else table.iou())
    is_kept = torch.zeros(len(scores), dtype=torch.bool)
    for index in scores.cpu().argsort(descending=True, stable=True).tolist():
        is_kept[index] = not (overlaps[index, is_kept] > max_overlap).any()
    return is_kept.nonzero()[:, 0].to(scores.device)


def nms_prompts(
    mask_logits: Float[Tensor, "detection height width"],
    scores: Float[Tensor, " detection"],
    prompt_index: Int[Tensor, " detection"],
    max_overlap: float,
) -> Int64[Tensor, " kept"]:
    """As `nms_masks` by IoU, but a detection gives way only to those of its own prompt.

    One outline around several others (`find_groups`) is dropped, too.
    """
    is_kept = torch.zeros_like(prompt_index, dtype=torch.bool)
    for prompt in prompt_index.unique():
        rows = (prompt_index == prompt).nonzero()[:, 0]
        rows = rows[nms_masks(mask_logits[rows], scores[rows], max_overlap)]
        is_group = find_groups(mask_logits[rows], scores[rows])
        is_kept[rows[torch.from_numpy(~is_group).to(rows.device)]] = True
    return is_kept.nonzero()[:, 0]


def find_groups(
    mask_logits: Float[Tensor, "detection height width"], scores: Float[Tensor, " detection"]
) -> Bool[np.ndarray, " detection"]:
    """Which detections are one outline around two or more others, as around two cars that touch.

    Only others count that are more likely right than wrong, or surer than the outline around them.
    """
    masks = binary_masks(mask_logits)
    table = overlap_table(masks, masks)
    shared, areas = table.shared, np.maximum(table.areas, 1)
    sure = scores.float().cpu().numpy()
    is_part = (shared >= LEAST_INSIDE * areas[:, None]) & (sure[:, None] >= np.minimum(sure, LIKELY))
    is_part &= ~np.eye(len(areas), dtype=bool)
    is_group = np.zeros(len(areas), bool)
    for whole in np.flatnonzero(is_part.sum(axis=0) >= 2):
        parts: list[int] = []
        for each in np.argsort(-shared[:, whole], kind="stable"):
            apart = shared[each, parts] <= MOST_SHARED * np.minimum(areas[each], areas[parts])
            if is_part[each, whole] and apart.all():
                parts.append(each)
        filled = shared[parts, whole].sum() - np.triu(shared[np.ix_(parts, parts)], 1).sum()
        is_group[whole] = len(parts) >= 2 and filled >= LEAST_FILLED * areas[whole]
    return is_group
