"""Features of the small world's masks: how much of a mask has the colour, how much of the colour is in the masks."""

from collections.abc import Sequence

import numpy as np
from engine_world import COLOURS

from masklet.engine.records import MaskRow
from masklet.engine.verify.choices import ExhaustivityItem, MaskItem
from masklet.ops.masks import rle_decode


class ColourFeatures:
    """See the head of the file."""

    identity = "colour features"

    def of_mask(self, item: MaskItem) -> np.ndarray:
        mask = rle_decode(item.mask.counts, *item.mask.size)
        wanted = (item.read() == COLOURS[item.phrase]).all(-1)
        x0, y0, x1, y1 = (int(value) for value in item.mask.box)
        near = wanted[max(0, y0 - 3) : y1 + 3, max(0, x0 - 3) : x1 + 3]
        return np.array([wanted[mask].mean(), mask.sum() / max(1, near.sum()), item.mask.score, item.presence])

    def of_whole(self, item: ExhaustivityItem) -> np.ndarray:
        wanted = (item.read() == COLOURS[item.phrase]).all(-1)
        return np.array([_covered(wanted, item.masks), min(1.0, wanted.sum() / 50), len(item.masks), item.presence])


def _covered(wanted: np.ndarray, masks: Sequence[MaskRow]) -> float:
    found = np.zeros_like(wanted)
    for mask in masks:
        found |= rle_decode(mask.counts, *mask.size)
    return float((wanted & ~found).sum() / 50)
