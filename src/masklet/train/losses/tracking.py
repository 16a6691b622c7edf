"""The tracker's losses of one prediction: the masks, IoU and presence of every object on a frame.

Source: Ravi et al., SAM 2, appendix (training); SAM 3 paper, appendix (tracker: loss weights).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from masklet.data.tracking import TrackBatch
from masklet.train.losses.terms import dice, sigmoid_focal


@dataclass(frozen=True, kw_only=True)
class TrackingLossConfig:
    """Weights, by the names of the losses, and the two constants of the focal loss."""

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    presence: float = 1.0
    alpha: float = 0.25
    gamma: float = 2.0


@dataclass(frozen=True, kw_only=True)
class FramePrediction:
    """What the click head predicts for every object on one frame: the masks that count, and their expected IoU."""

    frame: int
    mask_logits: Float[Tensor, "object mask height width"]
    iou_scores: Float[Tensor, "object mask"]
    object_logits: Float[Tensor, " object"]
    mask_tokens: Float[Tensor, "object mask dim"]

    @property
    def best(self) -> Float[Tensor, "object height width"]:
        """The mask with the highest expected IoU."""
        return self.mask_logits[self._rows]

    @property
    def best_token(self) -> Float[Tensor, "object dim"]:
        """What that mask was made from."""
        return self.mask_tokens[self._rows]

    @property
    def _rows(self) -> tuple[Tensor, Tensor]:
        chosen = self.iou_scores.argmax(dim=1)
        return torch.arange(len(chosen), device=chosen.device), chosen


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Masks of the objects at the resolution of predictions, as covered fractions, and the originals."""

    masks: Bool[Tensor, "object frame image_height image_width"]
    covered: Float[Tensor, "object frame height width"]
    visible: Bool[Tensor, "object frame"]

    @staticmethod
    def of(batch: TrackBatch, height: int, width: int) -> "Truth":
        """`height` and `width` are those of low-resolution masks."""
        covered = F.interpolate(batch.masks.float(), (height, width), mode="area")
        return Truth(masks=batch.masks, covered=covered, visible=batch.masks.flatten(2).any(dim=2))


def prediction_losses(prediction: FramePrediction, truth: Truth, config: TrackingLossConfig) -> dict[str, Tensor]:
    """Unweighted losses of one prediction by their names in `TrackingLossConfig`, each averaged over objects.

    Focal and dice are those of the mask that fits best, the IoU that of all masks. An object that is not visible has
    the presence loss alone.
    """
    target, visible = truth.covered[:, prediction.frame], truth.visible[:, prediction.frame].float()
    num_objects, num_masks = prediction.iou_scores.shape
    logits = prediction.mask_logits.flatten(2)
    labels = target.flatten(1)[:, None].expand_as(logits)
    focal = sigmoid_focal(logits, labels, alpha=config.alpha, gamma=config.gamma).mean(-1)
    overlap = dice(logits.flatten(0, 1), labels.flatten(0, 1)).view(num_objects, num_masks)
    chosen = (config.focal * focal + config.dice * overlap).argmin(dim=1, keepdim=True)
    is_set, is_wanted = logits > 0, labels > 0.5
    iou = (is_set & is_wanted).sum(-1) / (is_set | is_wanted).sum(-1).clamp(min=1)
    error = (prediction.iou_scores - iou).abs().mean(dim=1)
    presence = F.binary_cross_entropy_with_logits(prediction.object_logits, visible)
    return {
        "focal": (visible * focal.gather(1, chosen)[:, 0]).mean(),
        "dice": (visible * overlap.gather(1, chosen)[:, 0]).mean(),
        "iou": (visible * error).mean(),
        "presence": presence,
    }
