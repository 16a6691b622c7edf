"""Stage one: images and words learn a common space, before anything is detected.

The region of an image that shows a phrase is pulled towards that phrase and away from the others of the batch, and
every cell of the image is classified by each phrase of its image. What the detector then begins from
are image features and phrase tokens that can be compared by their cosine.

Source: SAM 3 paper, section 3 (encoders: contrastive pre-training of images and captions); Radford et al., CLIP. That
regions stand in for whole images is our own: the data names what is in an image and where, and a caption that covers
the whole image is the case of one region.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from masklet.data.collate import Targets, TrainingBatch
from masklet.train.losses.criterion import present_prompts
from masklet.types import PromptBatch


@dataclass(frozen=True, kw_only=True)
class ContrastConfig:
    """`temperature` divides the cosines of regions and phrases: 0.07 is where CLIP begins, and here it stays.

    A cell shows a phrase with even odds at a cosine of `even`, and with more by `cell_scale`: an unrelated cell then
    has the odds of a cell drawn at random. Cosines leave lengths free, and free they grow until nothing turns any more
    and the detector sees nothing else: `lengths` weighs how far squares of features are from 1. `cells` weighs the
    question to cells against the contrast.
    """

    temperature: float = 0.07
    cell_scale: float = 12.0
    even: float = 0.3
    cells: float = 5.0
    lengths: float = 0.1


def contrast_losses(
    cells: Float[Tensor, "image dim cell"],
    tokens: Float[Tensor, "phrase token dim"],
    batch: TrainingBatch,
    config: ContrastConfig,
) -> dict[str, Tensor]:
    """The losses of one batch from the features of its cells and of the tokens of its phrases."""
    prompts, targets = batch.prompts, batch.targets
    lengths = _lengths(cells.transpose(1, 2)) + _lengths(tokens[prompts.token_valid])
    cells, phrases = F.normalize(cells, dim=1), pool_phrases(tokens, prompts.token_valid)
    coverage = cell_coverage(targets, cells.shape[-1])
    region = targets.semantic_valid & present_prompts(targets)
    absent = targets.exhaustive & ~present_prompts(targets)
    # Binary cross-entropy of each cell of a prompt's image, for prompts whose whole region is known
    cosine = torch.einsum("pdc,pd->pc", cells[prompts.image_index], phrases[prompts.phrase_index])
    each = F.binary_cross_entropy_with_logits(config.cell_scale * (cosine - config.even), coverage, reduction="none")
    known = region | absent
    return {
        "loss_contrast": _contrast(cells, phrases, prompts, coverage, region, config),
        "loss_cells": (each.mean(dim=1) * known).sum() / known.sum().clamp(min=1),
        "loss_lengths": lengths,
    }


def pool_phrases(
    tokens: Float[Tensor, "phrase token dim"], valid: Bool[Tensor, "phrase token"]
) -> Float[Tensor, "phrase dim"]:
    """The direction of the mean of a phrase's tokens, which the detector's scorer uses, too."""
    return F.normalize((tokens * valid[..., None]).sum(dim=1), dim=1)


def _lengths(features: Float[Tensor, "*rows dim"]) -> Tensor:
    """How far the mean square of each feature is from 1."""
    return (features.square().mean(dim=-1) - 1).square().mean()


def cell_coverage(targets: Targets, num_cells: int) -> Float[Tensor, "prompt cell"]:
    """The share of each cell that the objects of each prompt cover together."""
    masks = targets.semantic_masks
    side = round(num_cells**0.5)
    if not len(masks):
        return masks.new_zeros(0, num_cells, dtype=torch.float32)
    return F.adaptive_avg_pool2d(masks.float(), side).flatten(1)


def _contrast(
    cells: Tensor,
    phrases: Tensor,
    prompts: PromptBatch,
    coverage: Tensor,
    region: Bool[Tensor, " prompt"],
    config: ContrastConfig,
) -> Tensor:
    """Cross-entropy of each region's phrase among all phrases, and of each phrase's region among all regions."""
    rows = region.nonzero()[:, 0]
    if not len(rows):
        return 0 * (cells.sum() + phrases.sum())  # every process runs the same parts
    pooled = torch.einsum("rdc,rc->rd", cells[prompts.image_index[rows]], coverage[rows])
    logits = F.normalize(pooled, dim=1) @ phrases.T / config.temperature
    own = prompts.phrase_index[rows]
    unknown = _may_hold(prompts, coverage, rows)
    to_phrase = F.cross_entropy(logits.masked_fill(unknown, -torch.inf), own)
    others = unknown[:, own] | (own[:, None] == own)  # regions of one phrase are not told apart by it
    others &= ~torch.eye(len(rows), dtype=torch.bool, device=others.device)
    to_region = F.cross_entropy(logits[:, own].masked_fill(others, -torch.inf).T, torch.arange(len(rows)).to(own))
    return (to_phrase + to_region) / 2


def _may_hold(prompts: PromptBatch, coverage: Tensor, rows: Tensor) -> Bool[Tensor, "region phrase"]:
    """Phrases that may hold of a region though it is labelled otherwise, its own apart.

    Those that say more or less than its own in the same words ("circle", "red circle"), and those whose objects in the
    same image overlap it.
    """
    own = prompts.phrase_index[rows]
    words = F.one_hot(prompts.token_ids, int(prompts.token_ids.max()) + 1).float() * prompts.token_valid[..., None]
    words = words.amax(dim=1)
    shared, count = words @ words.T, words.sum(dim=1)
    may = (shared == torch.minimum(count[:, None], count))[own]
    overlap = (coverage[rows] @ coverage.T) > 0
    overlap &= prompts.image_index[rows, None] == prompts.image_index
    region, other = overlap.nonzero(as_tuple=True)
    may[region, prompts.phrase_index[other]] = True
    may[torch.arange(len(rows)), own] = False
    return may
