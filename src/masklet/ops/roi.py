"""Region pooling as two small matrices a box: `rows @ map @ columns^T`.

Equal to torchvision's `roi_align(aligned=False, sampling_ratio=-1)`, but on any device and type, and differentiable.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def roi_align(
    features: Float[Tensor, "box dim height width"], boxes_xyxy: Float[Tensor, "box 4"], bins: int
) -> Float[Tensor, "box dim {bins} {bins}"]:
    """Average of bilinear samples in each of `bins` x `bins` parts of a box; boxes are in cells of the map.

    Source: He et al., Mask R-CNN, section 3; the number of samples adapts to the size of the box.
    """
    height, width = features.shape[-2:]
    x0, y0, x1, y1 = boxes_xyxy.unbind(-1)
    rows = _axis_weights(y0, y1, height, bins)
    columns = _axis_weights(x0, x1, width, bins)
    return torch.einsum("kph,kchw,kqw->kcpq", rows, features, columns)


def _axis_weights(
    low: Float[Tensor, " box"], high: Float[Tensor, " box"], length: int, bins: int
) -> Float[Tensor, "box bin length"]:
    """Share of every cell in every bin along one axis. Samples beyond one cell outside the map count as zero."""
    bin_size = (high - low).clamp(min=1.0) / bins
    count = bin_size.ceil()
    most = int(count.max()) if count.numel() else 0
    sample = torch.arange(most, device=low.device, dtype=low.dtype)
    starts = low[:, None] + torch.arange(bins, device=low.device, dtype=low.dtype) * bin_size[:, None]
    at = starts[..., None] + ((sample + 0.5) * (bin_size / count)[:, None])[:, None]
    counted = (sample < count[:, None])[:, None] & (at >= -1) & (at <= length)
    at = at.clamp(min=0)
    lower = at.floor().clamp(max=length - 1)
    upper = (lower + 1).clamp(max=length - 1)
    fraction = torch.where(lower >= length - 1, torch.zeros_like(at), at - lower)
    weights = at.new_zeros(*at.shape[:2], length)
    weights = weights.scatter_add(-1, lower.long(), (1 - fraction) * counted)
    weights = weights.scatter_add(-1, upper.long(), fraction * counted)
    return weights / count[:, None, None]
