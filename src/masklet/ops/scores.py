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


def inverse_sigmoid(x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Logit of a probability, with both sides of the odds held above 1e-3 as in DETR."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=1e-3) / (1 - x).clamp(min=1e-3))
