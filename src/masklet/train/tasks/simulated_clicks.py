"""Simulated users: where a user who compares the prediction with the truth would click next."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from masklet.models.click import LOGIT_LIMIT
from masklet.types import ClickPrompt, PromptBatch

TRUTH_SHARE = 0.1  # of corrections that point at the object instead of at an error


def correction_clicks(
    predicted: Bool[Tensor, "object height width"],
    truth: Bool[Tensor, "object height width"],
    generator: torch.Generator,
) -> tuple[Float[Tensor, "object 2"], Int[Tensor, " object"]]:
    """One click for each object: on a random wrong cell, positive where the prediction misses the object.

    Without an error, or in a tenth of all cases, the click is on the object, or on the background when the object is
    absent. Positions are the centres of cells, as fractions of the image.
    """
    num_objects, height, width = truth.shape
    wrong = predicted ^ truth
    on_truth = torch.rand(num_objects, generator=generator).to(truth.device) < TRUTH_SHARE
    on_truth |= ~wrong.flatten(1).any(dim=1)
    is_present = truth.flatten(1).any(dim=1)[:, None, None]
    region = torch.where(on_truth[:, None, None], torch.where(is_present, truth, ~truth), wrong)
    chances = torch.rand(num_objects, height * width, generator=generator).to(truth.device) * region.flatten(1)
    cell = chances.argmax(dim=1)
    labels = truth.flatten(1).gather(1, cell[:, None]).squeeze(1).long()
    rows, columns = cell // width, cell % width
    return torch.stack([(columns + 0.5) / width, (rows + 0.5) / height], dim=1), labels


def corrected(
    prompt: ClickPrompt,
    mask_logits: Float[Tensor, "object height width"],
    truth: Bool[Tensor, "object height width"],
    generator: torch.Generator,
) -> ClickPrompt:
    """The prompt with one click more and the predicted mask to start from. No gradient flows through either."""
    points, labels = correction_clicks(mask_logits > 0, truth, generator)
    return ClickPrompt(
        points_xy=torch.cat([prompt.points_xy, points[:, None].to(prompt.points_xy)], dim=1),
        point_labels=torch.cat([prompt.point_labels, labels[:, None]], dim=1),
        mask_logits=mask_logits.detach().float().clamp(-LOGIT_LIMIT, LOGIT_LIMIT),
    )


@torch.no_grad()
def clicked_again(
    prompts: PromptBatch,
    mask_logits: Float[Tensor, "prompt height width"],
    truth: Bool[Tensor, "prompt height width"],
    generator: torch.Generator,
) -> PromptBatch:
    """The prompts of a detector, each with one more example point where its predicted mask is wrong."""
    points, labels = correction_clicks(mask_logits > 0, truth, generator)
    old = prompts.exemplars
    exemplars = replace(
        old,
        points_xy=torch.cat([old.points_xy, points[:, None].to(old.points_xy)], dim=1),
        point_labels=torch.cat([old.point_labels, labels[:, None]], dim=1),
        point_valid=torch.cat([old.point_valid, torch.ones_like(labels[:, None], dtype=torch.bool)], dim=1),
    )
    return replace(prompts, exemplars=exemplars)
