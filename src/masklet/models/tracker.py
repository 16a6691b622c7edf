"""One frame of tracking: objects that are remembered, clicked on or given as masks become masks on this frame.

The tracker has no weights of its own: it combines the click head, the mask memory and the neck that feeds both. It
keeps no state; memories are returned.

Source: Ravi et al., SAM 2; SAM 3 paper, section 3 (tracker).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from masklet.models.click import PADDING_LABEL, ClickFeatures, ClickHead
from masklet.models.conv_trunk import LateralNeck
from masklet.models.memory import MASK_STRIDE, MaskMemory, MemoryTokens, resize_smoothly
from masklet.models.vision import Neck, TrunkMaps
from masklet.types import Bundle, ClickPrompt, bundle

ABSENT_LOGIT = -1024.0  # of every pixel of an absent object
GIVEN_LOGIT = 10.0  # of presence and of masks that were given rather than predicted
MASK_CELLS = 4  # pixels of a low-resolution mask in a cell of the grid


@bundle
class TrackOutput(Bundle):
    """Objects on one frame, each with its best mask and the expected IoU of all candidates."""

    mask_logits: Float[Tensor, "object low_height low_width"]
    object_logits: Float[Tensor, " object"]
    pointers: Float[Tensor, "object dim"]
    iou_scores: Float[Tensor, "object mask"]


@dataclass(frozen=True, kw_only=True)
class Tracker:
    """The parts of the model that track objects."""

    click: ClickHead
    memory: MaskMemory
    neck: Neck | LateralNeck
    patch_size: int

    def tracker_features(self, trunk: TrunkMaps) -> ClickFeatures:
        """The tracker's features of images, once for all objects."""
        return self.click.narrow(self.neck(trunk))

    def track(self, features: ClickFeatures, reads: Sequence[MemoryTokens]) -> TrackOutput:
        """Every object of the reads, in their order, on the next frame."""
        seen = replace(features, coarse=self.memory.look_back(features.coarse, reads))
        return self._decide(seen, no_points(len(seen.coarse), seen.coarse.device), multimask=True)

    def respond(
        self, features: ClickFeatures, prompt: ClickPrompt, reads: Sequence[MemoryTokens] | None = None
    ) -> TrackOutput:
        """The clicked objects. Without `reads` the image is the first that shows them.

        A single point is ambiguous: the best of three masks is taken.
        """
        if reads is None:
            seen = self.click.without_memory(features)
        else:
            seen = replace(features, coarse=self.memory.look_back(features.coarse, reads))
        return self._decide(seen, prompt, multimask=prompt.points_xy.shape[1] <= 1)

    def accept(self, features: ClickFeatures, masks: Float[Tensor, "object mask_height mask_width"]) -> TrackOutput:
        """Objects given as masks, which are returned; the click head only makes their pointers.

        `masks` are fractions covered, at the size of `memory_size`.
        """
        mask_prompt = self.memory.mask_prompt(masks[:, None].to(features.coarse.dtype))[:, 0]
        prompt = replace(no_points(len(masks), masks.device), mask_logits=mask_prompt)
        output = self.click(features, prompt, multimask=False)
        is_present = masks.flatten(1).any(dim=1)
        object_logits = torch.where(is_present, GIVEN_LOGIT, -GIVEN_LOGIT)
        both = torch.minimum(output.object_logits, object_logits)
        height, width = features.coarse.shape[-2:]
        low = resize_smoothly(masks[:, None], (MASK_CELLS * height, MASK_CELLS * width))[:, 0]
        return TrackOutput(
            mask_logits=2 * GIVEN_LOGIT * low - GIVEN_LOGIT,
            object_logits=object_logits,
            pointers=self.memory.point(output.mask_tokens[:, 0], both),
            iou_scores=torch.ones_like(object_logits)[:, None],
        )

    def remember(
        self,
        features: ClickFeatures,
        mask_logits: Float[Tensor, "object any_height any_width"],
        object_logits: Float[Tensor, " object"],
        binary: Bool[Tensor, " object"],
    ) -> Float[Tensor, "object memory_dim height width"]:
        """Maps of the objects on this image, from masks at any size."""
        return self.memory.encode(features.coarse, mask_logits, object_logits, binary)

    def enlarge(self, mask_logits: Float[Tensor, "object any_height any_width"]) -> Float[Tensor, "object h w"]:
        """Low-resolution masks at the size of the model's input."""
        height, width = mask_logits.shape[-2:]
        size = (height // MASK_CELLS * self.patch_size, width // MASK_CELLS * self.patch_size)
        return F.interpolate(mask_logits[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]

    def memory_size(self, features: ClickFeatures) -> tuple[int, int]:
        """Height and width of masks as the memory takes them."""
        height, width = features.coarse.shape[-2:]
        return MASK_STRIDE * height, MASK_STRIDE * width

    def _decide(self, features: ClickFeatures, prompt: ClickPrompt, *, multimask: bool) -> TrackOutput:
        """The mask with the highest expected IoU; empty for an absent object."""
        output = self.click(features, prompt, multimask=multimask)
        best = output.iou_scores.argmax(dim=1)
        rows = torch.arange(len(best), device=best.device)
        is_present = output.object_logits > 0
        return TrackOutput(
            mask_logits=torch.where(is_present[:, None, None], output.mask_logits[rows, best].float(), ABSENT_LOGIT),
            object_logits=output.object_logits,
            pointers=self.memory.point(output.mask_tokens[rows, best], output.object_logits),
            iou_scores=output.iou_scores,
        )


def no_points(num_objects: int, device: torch.device) -> ClickPrompt:
    """The prompt of objects that are not pointed at: a padding point alone."""
    return ClickPrompt(
        points_xy=torch.zeros(num_objects, 1, 2, device=device),
        point_labels=torch.full((num_objects, 1), PADDING_LABEL, dtype=torch.long, device=device),
    )
