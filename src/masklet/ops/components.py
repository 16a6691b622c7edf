"""Connected parts of masks, and the two repairs made with them: small holes filled, small specks taken away.

Pixels that touch at a corner are connected, for the mask and for its background alike. The labelling is SciPy's, on the
CPU, wherever the masks are: the result is the same on every device.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def component_areas(masks: Bool[Tensor, "mask height width"]) -> Int64[Tensor, "mask height width"]:
    """Area in pixels of the component that each set pixel belongs to; 0 where the mask is clear."""
    from scipy import ndimage  # a quarter of a second to import, and only clicks need it

    areas = np.zeros(masks.shape, dtype=np.int64)
    for index, mask in enumerate(masks.cpu().numpy()):
        labels = np.zeros(mask.shape, dtype=np.int32)
        ndimage.label(mask, _NEIGHBOURS, output=labels)
        sizes = np.bincount(labels.ravel(), minlength=1)
        sizes[0] = 0
        areas[index] = sizes[labels]
    return torch.from_numpy(areas).to(masks.device)


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
    return remove_specks(fill_holes(mask_logits, max_area, value=0.1), max_area, value=-0.1)
