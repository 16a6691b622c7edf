"""Logits and probabilities: the few conversions that must be the same everywhere."""

import torch
from jaxtyping import Float
from torch import Tensor


def joint_scores(
    logits: Float[Tensor, "*batch query"], presence_logits: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch query"]:
    """Probability that a query shows the concept, given that the concept may be absent from the image.

    Product of the two sigmoids, so a low presence silences every query of the prompt. In [0, 1].

    Source: SAM 3 paper, presence token. Presence is not clamped: docs/parity.md#presence-clamp.
    """
    return logits.sigmoid() * presence_logits.sigmoid()[..., None]


def recentre(scores: Float[Tensor, "*batch"], even: float) -> Float[Tensor, "*batch"]:
    """Scores in [0, 1] with their odds scaled so that `even` becomes one half; the order stays.

    For a model whose scores run low or high, so that one half is the threshold for all models.
    """
    if even == 0.5:
        return scores
    wins, losses = scores * (1 - even), (1 - scores) * even
    return wins / (wins + losses)


def inverse_sigmoid(x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Logit of a probability, with both sides of the odds held above 1e-3 as in DETR."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=1e-3) / (1 - x).clamp(min=1e-3))
