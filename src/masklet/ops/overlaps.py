"""Overlaps of masks, and how they are resolved: on logits `[object, height, width]`, on any device.

Counting is exact: zeros and ones are summed below 2**24, so every device gives the same numbers.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

SUPPRESSED = -10.0  # logit that says "surely not", as in the published model
_TILE = 48  # pixels, a multiple of eight; a mask costs nothing in tiles that it does not reach


@dataclass(frozen=True, kw_only=True)
class OverlapTable:
    """Pixels that masks share, on the CPU: every mask of one set with every one of another."""

    shared: Float64[np.ndarray, "mask other"]
    areas: Float64[np.ndarray, " mask"]
    other_areas: Float64[np.ndarray, " other"]

    def iou(self) -> Float64[np.ndarray, "mask other"]:
        """Intersection over union; 0 where both are empty."""
        union = self.areas[:, None] + self.other_areas[None, :] - self.shared
        return self.shared / np.maximum(union, 1)

    def of_smaller(self) -> Float64[np.ndarray, "mask other"]:
        """Intersection over the smaller area: 1 where one mask lies inside the other, 0 where one is empty."""
        return self.shared / np.maximum(np.minimum(self.areas[:, None], self.other_areas[None, :]), 1)


def binary_masks(mask_logits: Float[Tensor, "mask height width"]) -> Bool[Tensor, "mask height width"]:
    """Where the logits are above 0."""
    if mask_logits.device.type == "cpu" and mask_logits.dtype == torch.float32:
        return torch.from_numpy(mask_logits.numpy() > 0)  # five times as fast as PyTorch on one core
    return mask_logits > 0


def overlap_table(masks: Bool[Tensor, "mask height width"], others: Bool[Tensor, "other height width"]) -> OverlapTable:
    """Areas and intersections of masks, counted on their device and brought to the CPU in one go."""
    if masks.device.type == "cpu":
        return _count_by_tiles(masks.numpy(), others.numpy())
    return overlap_table_at_once(masks, others)


def overlap_table_at_once(
    masks: Bool[Tensor, "mask height width"], others: Bool[Tensor, "other height width"]
) -> OverlapTable:
    """The same by one product, for devices made for it; a mask of ones at the end of each side gives the areas."""
    ones = masks.new_ones(1, *masks.shape[1:])
    left = torch.cat([masks, ones]).flatten(1).float()
    right = torch.cat([others, ones]).flatten(1).float()
    table = (left @ right.T).cpu().double().numpy()
    return OverlapTable(shared=table[:-1, :-1], areas=table[:-1, -1], other_areas=table[-1, :-1])


def _count_by_tiles(masks: np.ndarray, others: np.ndarray) -> OverlapTable:
    """One small product per tile, of the masks that reach into it: objects are many but small."""
    shared, areas, other_areas = np.zeros((len(masks), len(others))), np.zeros(len(masks)), np.zeros(len(others))
    reach, other_reach = _reach(masks), _reach(others)
    for row, column in np.ndindex(reach.shape[1:]):
        here, there = np.flatnonzero(reach[:, row, column]), np.flatnonzero(other_reach[:, row, column])
        left, right = _pixels(masks, here, row, column), _pixels(others, there, row, column)
        shared[here[:, None], there] += left @ right.T
        areas[here] += left.sum(axis=1)
        other_areas[there] += right.sum(axis=1)
    return OverlapTable(shared=shared, areas=areas, other_areas=other_areas)


def _reach(masks: np.ndarray) -> np.ndarray:
    """Which tiles each mask has a pixel in, `[mask, row, column]`; eight pixels are read together, as one word."""
    if masks.shape[2] % 8 == 0 and masks.flags.c_contiguous:
        words = masks.view(np.uint64)
    else:
        words = np.packbits(masks, axis=2)
    tops, lefts = np.arange(0, words.shape[1], _TILE), np.arange(0, words.shape[2], _TILE // 8)
    bands = np.bitwise_or.reduceat(words, tops, axis=1)
    return np.bitwise_or.reduceat(bands, lefts, axis=2) != 0


def _pixels(masks: np.ndarray, chosen: np.ndarray, row: int, column: int) -> np.ndarray:
    tile = masks[chosen, row * _TILE : (row + 1) * _TILE, column * _TILE : (column + 1) * _TILE]
    return tile.reshape(len(chosen), tile.shape[1] * tile.shape[2]).astype(np.float32)


def keep_topmost_pixels(mask_logits: Float[Tensor, "object height width"]) -> Float[Tensor, "object height width"]:
    """Logits with every pixel left to the object that is surest of it; for the others at most `SUPPRESSED`.

    The first of equals keeps the pixel. Nothing changes for a single object.
    """
    if len(mask_logits) < 2:
        return mask_logits
    owner = mask_logits.argmax(dim=0)
    objects = torch.arange(len(mask_logits), device=mask_logits.device)
    return torch.where(objects[:, None, None] == owner, mask_logits, mask_logits.clamp(max=SUPPRESSED))


def suppress_shrunken(
    mask_logits: Float[Tensor, "object height width"], min_ratio: float = 0.3
) -> Float[Tensor, "object height width"]:
    """Logits with the objects suppressed that keep less than `min_ratio` of their area beneath the others.

    Pixels are given to the surest object as in `keep_topmost_pixels`; objects that keep enough stay as they were, their
    overlaps included. What a memory is made of.
    """
    if len(mask_logits) < 2:
        return mask_logits
    peak, owner = mask_logits.max(dim=0)
    background = len(mask_logits)
    owner = torch.where(peak > 0, owner, background).flatten()
    kept = torch.zeros(background + 1, device=owner.device).scatter_add_(0, owner, torch.ones_like(owner).float())
    areas = (mask_logits > 0).sum(dim=(1, 2)).clamp(min=1)
    is_shrunken = kept[:background] / areas < min_ratio
    return torch.where(is_shrunken[:, None, None], mask_logits.clamp(max=SUPPRESSED), mask_logits)


def memory_object_logits(mask_logits: Float[Tensor, "object height width"]) -> Float[Tensor, " object"]:
    """The object logit that goes into memory with a mask: 10 for one with a pixel, -10 for an empty one."""
    return (mask_logits > 0).any(dim=2).any(dim=1).float() * 20 - 10
