"""Non-maximum suppression of masks: of several detections of one thing the surest is kept."""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from masklet.ops.overlaps import binary_masks, overlap_table


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
    """As `nms_masks` by IoU, but a detection gives way only to those of its own prompt."""
    is_kept = torch.zeros_like(prompt_index, dtype=torch.bool)
    for prompt in prompt_index.unique():
        rows = (prompt_index == prompt).nonzero()[:, 0]
        is_kept[rows[nms_masks(mask_logits[rows], scores[rows], max_overlap)]] = True
    return is_kept.nonzero()[:, 0]
