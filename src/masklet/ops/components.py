"""Connected parts of masks, and the repairs made with them: small holes filled, small specks taken away.

Pixels that touch at a corner are connected, for the mask and for its background alike. On the CPU the labelling is
SciPy's; elsewhere masks stay on their device and are labelled there. Areas are whole numbers, so both agree.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from masklet.ops.masks import mask_to_box

_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def component_areas(masks: Bool[Tensor, "mask height width"]) -> Int64[Tensor, "mask height width"]:
    """Area in pixels of the component that each set pixel belongs to; 0 where the mask is clear."""
    if masks.device.type != "cpu":
        return component_areas_by_growth(masks)
    from scipy import ndimage  # a quarter of a second to import, and only clicks and video need it

    areas = np.zeros(masks.shape, dtype=np.int64)
    for index, mask in enumerate(masks.numpy()):
        labels = np.zeros(mask.shape, dtype=np.int32)
        ndimage.label(mask, _NEIGHBOURS, output=labels)
        sizes = np.bincount(labels.ravel(), minlength=1)
        sizes[0] = 0
        areas[index] = sizes[labels]
    return torch.from_numpy(areas)


def component_areas_by_growth(masks: Bool[Tensor, "mask height width"]) -> Int64[Tensor, "mask height width"]:
    """The same by whole-image operations, all masks at once, for devices where a loop over pixels is slow.

    Every pixel points to another of its component, at first to itself. In each round it, and the pixel that it points
    to, take the highest pointer among its neighbours, then follow the pointer they have: the number of rounds grows
    with the logarithm of a component's length. In the end all point to the component's last pixel.
    """
    if not masks.numel():
        return torch.zeros(masks.shape, dtype=torch.int64, device=masks.device)
    height, width = masks.shape[1:]
    is_set = masks.flatten(1)
    itself = torch.arange(height * width, device=masks.device).expand(len(masks), -1)
    pointers = itself
    while True:
        padded = pad(torch.where(is_set, pointers, -1).view(masks.shape), (1, 1, 1, 1), value=-1)
        rows = padded[:, :-2].maximum(padded[:, 1:-1]).maximum(padded[:, 2:])
        nearby = rows[:, :, :-2].maximum(rows[:, :, 1:-1]).maximum(rows[:, :, 2:])
        highest = torch.where(is_set, nearby.flatten(1), itself)
        grown = highest.scatter_reduce(1, pointers, highest, "amax")
        grown = grown.gather(1, grown)
        if grown.equal(pointers):
            break
        pointers = grown
    sizes = torch.zeros_like(pointers).scatter_add_(1, pointers, is_set.long())
    return torch.where(is_set, sizes.gather(1, pointers), 0).view(masks.shape)


def fill_holes(
    mask_logits: Float[Tensor, "mask height width"], max_area: int, value: float = 10.0
) -> Float[Tensor, "mask height width"]:
    """Logits with every part of the background of at most `max_area` pixels set to `value`.

    A part that touches the border counts as a hole too, as in the published model. `max_area` 0 changes nothing.
    """
    areas = component_areas(mask_logits <= 0)
    return torch.where((areas > 0) & (areas <= max_area), value, mask_logits)


def remove_specks(
    mask_logits: Float[Tensor, "mask height width"], max_area: int, value: float = -0.1
) -> Float[Tensor, "mask height width"]:
    """Logits with every part of the mask of at most `max_area` pixels set to `value`.

    A part is also kept when it is more than half of all, so that a small object does not vanish.
    """
    masks = mask_logits > 0
    areas = component_areas(masks)
    limit = (masks.sum((-1, -2), keepdim=True) // 2).clamp(max=max_area)
    return torch.where((areas > 0) & (areas <= limit), value, mask_logits)


def fill_small(mask_logits: Float[Tensor, "mask height width"], max_area: int) -> Float[Tensor, "mask height width"]:
    """Logits of masks repaired as on every frame of a video: holes filled, then specks taken away, both just so.

    Source: SAM 2 and SAM 3, hole filling at low resolution; 16 pixels in the published model.
    """
    if mask_logits.device.type != "cpu":
        return _repair(mask_logits, max_area)
    repaired = mask_logits.clone()
    for index, mask in enumerate((mask_logits > 0).numpy()):
        # Background that leads out of these surroundings of the mask is larger than any hole
        left, top, right, bottom = mask_to_box(mask) or (0, 0, mask.shape[1], mask.shape[0])
        rows = slice(max(top - max_area - 1, 0), bottom + max_area + 1)
        window = (slice(index, index + 1), rows, slice(max(left - max_area - 1, 0), right + max_area + 1))
        repaired[window] = _repair(mask_logits[window], max_area)
    return repaired


def _repair(mask_logits: Tensor, max_area: int) -> Tensor:
    return remove_specks(fill_holes(mask_logits, max_area, value=0.1), max_area, value=-0.1)
