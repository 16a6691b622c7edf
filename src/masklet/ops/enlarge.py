"""The step from the small mask logits of the model to masks of the image's size."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

CHUNK_PIXELS = 2**24  # float values alive at once while masks are enlarged


def resize_mask_logits(
    logits: Float[Tensor, "mask height width"], out_height: int, out_width: int
) -> Bool[Tensor, "mask out_height out_width"]:
    """Masks at full size: the logits are enlarged bilinearly and then cut at 0.

    The same pixels as a probability above one half, for a part of the work: an average of negative logits is negative,
    so only the surroundings of positive ones are enlarged, a few rows at a time, and never kept as numbers.
    """
    masks = torch.zeros(len(logits), out_height, out_width, dtype=torch.bool, device=logits.device)
    if logits.numel() == 0:
        return masks
    positive = logits > 0
    rows = _spans(positive.any(dim=2).cpu(), out_height)
    columns = _spans(positive.any(dim=1).cpu(), out_width)
    for mask, low, (top, bottom), (left, right) in zip(masks, logits.float(), rows, columns, strict=True):
        if top == bottom:
            continue
        across = _interpolate(low.T.contiguous(), out_width, left, right).T.contiguous()
        step = max(1, CHUNK_PIXELS // (right - left))
        for start in range(top, bottom, step):
            end = min(start + step, bottom)
            torch.gt(_interpolate(across, out_height, start, end), 0, out=mask[start:end, left:right])
    return masks


def _spans(positive: Bool[Tensor, "mask cell"], out_length: int) -> list[tuple[int, int]]:
    """The stretch of the enlarged axis that positive cells reach: up to a cell beyond them; empty where none are."""
    length = positive.shape[1]
    first = positive.int().argmax(dim=1)
    last = length - 1 - positive.flip(1).int().argmax(dim=1)
    start = ((first.double() - 0.5) * out_length / length).floor().clamp(min=0)
    end = ((last.double() + 1.5) * out_length / length).ceil().clamp(max=out_length)
    spans = torch.stack([start, end], dim=1).long() * positive.any(dim=1, keepdim=True)
    return [(low, high) for low, high in spans.tolist()]


def _interpolate(
    values: Float[Tensor, "cell other"], out_length: int, start: int, end: int
) -> Float[Tensor, "{end}-{start} other"]:
    """Rows `start` to `end` of the first axis brought to `out_length`, bilinearly, corners not aligned."""
    length = values.shape[0]
    at = (torch.arange(start, end, device=values.device) + 0.5) * (length / out_length) - 0.5
    at = at.clamp(min=0)
    below = at.long()
    above = (below + 1).clamp(max=length - 1)
    return torch.lerp(values[below], values[above], (at - below)[:, None])
