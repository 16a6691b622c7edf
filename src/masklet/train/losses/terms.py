"""The detector's losses as pure functions of predictions and matched targets; `criterion.py` weighs and sums them.

All expect float32 and return sums or per-query values, so that one normaliser can span an accumulated batch. On empty
input a sum is 0 and still carries a gradient of 0.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from masklet.ops.boxes import box_iou, cxcywh_to_xyxy, generalized_box_iou

# A matched query keeps a little pull upwards however bad its box is.
LEAST_SOFT_TARGET = 0.01


def box_losses(
    boxes: Float[Tensor, "match 4"], targets: Float[Tensor, "match 4"]
) -> tuple[Float[Tensor, " match"], Float[Tensor, " match"]]:
    """L1 distance of cxcywh boxes and 1 - GIoU, one value a matched pair."""
    overlap = generalized_box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets))
    return (boxes - targets).abs().sum(-1), 1 - overlap


@torch.no_grad()
def alignment(
    logits: Float[Tensor, " match"], boxes: Float[Tensor, "match 4"], targets: Float[Tensor, "match 4"], alpha: float
) -> Float[Tensor, " match"]:
    """How far a matched query should be sure: p^alpha * IoU^(1 - alpha), at least `LEAST_SOFT_TARGET`.

    Source: Align-DETR, IoU-aware BCE; SAM 3 uses alpha 0.25.
    """
    overlap = box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets))
    return (logits.sigmoid() ** alpha * overlap ** (1 - alpha)).clamp(min=LEAST_SOFT_TARGET)


def soft_targets(
    shape: tuple[int, ...], index: tuple[Int[Tensor, " match"], ...], values: Float[Tensor, " match"]
) -> Float[Tensor, "*shape"]:
    """Values laid out on the query grid, 0 elsewhere; a query that serves several targets takes the best of them.

    (The official code lets the last write win, which depends on the order of threads on a GPU.)
    """
    grid = values.new_zeros(shape)
    flat = torch.zeros_like(index[0])
    for size, axis in zip(shape, index, strict=True):
        flat = flat * size + axis
    return grid.view(-1).scatter_reduce(0, flat, values, reduce="amax").view(shape)


def iou_aware_bce(
    logits: Float[Tensor, "*batch query"],
    targets: Float[Tensor, "*batch query"],
    *,
    weight_positive: float,
    gamma: float,
) -> tuple[Float[Tensor, "*batch query"], Float[Tensor, "*batch query"]]:
    """Positive and negative terms of the classification loss; a query is positive where its soft target is above 0.

    The focal factor of the negative term is not detached, as published.
    """
    positive = targets > 0
    towards = weight_positive * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    away = logits.sigmoid() ** gamma * F.softplus(logits)
    return torch.where(positive, towards, 0.0), torch.where(positive, 0.0, away)


def sigmoid_focal(
    logits: Float[Tensor, "*batch"], targets: Float[Tensor, "*batch"], *, alpha: float, gamma: float
) -> Float[Tensor, "*batch"]:
    """Focal loss of each element (Lin et al. 2017); soft targets are allowed."""
    probabilities = logits.sigmoid()
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    agreement = probabilities * targets + (1 - probabilities) * (1 - targets)
    return (alpha * targets + (1 - alpha) * (1 - targets)) * (1 - agreement) ** gamma * loss


def dice(logits: Float[Tensor, "mask pixel"], targets: Float[Tensor, "mask pixel"]) -> Float[Tensor, " mask"]:
    """1 - Dice coefficient with one pixel of smoothing."""
    probabilities = logits.sigmoid()
    overlap = (probabilities * targets).sum(-1)
    return 1 - (2 * overlap + 1) / (probabilities.sum(-1) + targets.sum(-1) + 1)


def presence_loss(
    presence_logits: Float[Tensor, "layer prompt"], present: Bool[Tensor, " prompt"]
) -> Float[Tensor, "layer prompt"]:
    """Half a binary cross-entropy: the published focal loss with alpha 0.5 and gamma 0."""
    targets = present.to(presence_logits).expand_as(presence_logits)
    return 0.5 * F.binary_cross_entropy_with_logits(presence_logits, targets, reduction="none")


def mask_losses(
    mask_logits: Float[Tensor, "mask height width"],
    targets: Bool[Tensor, "mask target_height target_width"],
    *,
    alpha: float,
    gamma: float,
    num_points: int | None = None,
) -> tuple[Float[Tensor, " mask"], Float[Tensor, " mask"]]:
    """Focal (mean over pixels) and dice of each mask.

    Masks are compared whole, logits resized bilinearly to the target; those of more than `num_points` target pixels at
    that many sampled points, which bounds memory whatever the resolution.
    """
    if num_points is None or targets[:1].numel() <= num_points or mask_logits.shape[0] == 0:
        logits, labels = mask_logits, targets.flatten(1).float()
        if logits.shape[-2:] != targets.shape[-2:] and len(logits):
            logits = F.interpolate(logits[:, None], targets.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
        logits = logits.flatten(1)
    else:
        points = uncertain_points(mask_logits, num_points)
        logits = _sample(mask_logits, points)
        labels = _sample(targets.float(), points)
    focal = sigmoid_focal(logits, labels, alpha=alpha, gamma=gamma)
    return focal.mean(-1) if focal.shape[0] else focal.sum(-1), dice(logits, labels)


def projection_dice(
    mask_logits: Float[Tensor, "mask height width"], boxes_cxcywh: Float[Tensor, "mask 4"]
) -> Float[Tensor, " mask"]:
    """1 - Dice of the greatest value of each column and row with what the box covers, summed over both axes."""
    low, high = cxcywh_to_xyxy(boxes_cxcywh).unflatten(-1, (2, 2)).unbind(-2)
    total = mask_logits.new_zeros(len(mask_logits))
    for axis, across in ((0, 1), (1, 2)):  # x is left when rows are taken away, y when columns are
        line = mask_logits.amax(dim=across)
        cells = torch.arange(line.shape[1], device=line.device) / line.shape[1]
        step = 1 / line.shape[1]
        covered = (torch.minimum(high[:, axis, None], cells + step) - torch.maximum(low[:, axis, None], cells)) / step
        total = total + dice(line, covered.clamp(0, 1))
    return total


@torch.no_grad()
def uncertain_points(
    mask_logits: Float[Tensor, "mask height width"],
    num_points: int,
    *,
    oversample: float = 3.0,
    uncertain_share: float = 0.75,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "mask point 2"]:
    """Points in [0, 1]: most where the logit is nearest 0 among `oversample` times as many, the rest uniform.

    Source: PointRend, section 3.1, with Mask2Former's numbers.
    """
    num_masks, device = mask_logits.shape[0], mask_logits.device

    def uniform(count: int) -> Tensor:
        return torch.rand(num_masks, count, 2, device=device, generator=generator)

    candidates = uniform(int(num_points * oversample))
    num_uncertain = int(num_points * uncertain_share)
    nearest = _sample(mask_logits, candidates).abs().topk(num_uncertain, dim=1, largest=False).indices
    chosen = candidates.gather(1, nearest[..., None].expand(-1, -1, 2))
    return torch.cat([chosen, uniform(num_points - num_uncertain)], dim=1)


def _sample(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of [mask height width] at points in [0, 1]: [mask point]."""
    return F.grid_sample(maps[:, None], points[:, None] * 2 - 1, align_corners=False)[:, 0, 0]
