"""From the detector's logits to scores that mean the same everywhere behind, on images and on frames of a video.

A score of one half always means "as likely right as wrong": first by the model's own even score, then by the threshold
that a calibration gives the phrase. Scores are recentred instead of compared with other thresholds, so `threshold`,
results and the rules of video need not know about either.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from masklet.formats.calibration import Calibration, Thresholds
from masklet.ops.scores import recentre


def recentre_scores(
    scores: Float[Tensor, "prompt query"],
    presence: Float[Tensor, " prompt"],
    even_score: float,
    limits: Sequence[Thresholds] | None,
) -> Float[Tensor, "prompt query"]:
    """Scores whose even point is one half, by the model's `even_score` and by the calibrated limits of each prompt.

    `presence` are probabilities; where a prompt's is below its limit, the concept is absent and its scores are 0.
    """
    scores = recentre(scores, even_score)
    if limits is None:
        return scores
    rows = [recentre(row, each.score) for row, each in zip(scores, limits, strict=True)]
    least = torch.tensor([each.presence for each in limits], device=presence.device)
    return torch.where((presence >= least)[:, None], torch.stack(rows), 0.0)


def limits_of(phrases: Sequence[str], calibration: Calibration | None) -> list[Thresholds] | None:
    """The calibrated thresholds of each phrase; None without a calibration."""
    return None if calibration is None else [calibration.thresholds(phrase) for phrase in phrases]


def cut_masks(
    mask_logits: Float[Tensor, "mask height width"], cuts: Sequence[float | int]
) -> Float[Tensor, "mask height width"]:
    """Logits shifted so that the pixels above 0 are those of a probability above the cut of each mask, in (0, 1)."""
    offsets = torch.logit(torch.tensor(cuts, dtype=torch.float64)).to(mask_logits)
    return mask_logits - offsets[:, None, None]
