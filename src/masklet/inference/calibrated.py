"""A calibration applied to what the detector says, the same on pictures and on frames of a video.

Scores are recentred instead of being compared with other thresholds, so that one half means "as likely as the
calibration asks for" everywhere behind: in `threshold`, in results, and in the rules of video.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from masklet.formats.calibration import Thresholds
from masklet.ops.scores import recentre


def gate_scores(
    scores: Float[Tensor, "prompt query"], presence: Float[Tensor, " prompt"], limits: Sequence[Thresholds]
) -> Float[Tensor, "prompt query"]:
    """Scores with each prompt's threshold moved to one half, and 0 where its concept is taken to be absent."""
    rows = [recentre(row, each.score) for row, each in zip(scores, limits, strict=True)]
    least = torch.tensor([each.presence for each in limits], device=presence.device)
    return torch.where((presence >= least)[:, None], torch.stack(rows), 0.0)


def cut_masks(
    mask_logits: Float[Tensor, "mask height width"], cuts: Sequence[float | int]
) -> Float[Tensor, "mask height width"]:
    """Logits shifted so that the pixels above 0 are those of a probability above the cut of each mask, in (0, 1)."""
    offsets = torch.logit(torch.tensor(cuts, dtype=torch.float64)).to(mask_logits)
    return mask_logits - offsets[:, None, None]
