"""Denoising: beside its own queries the decoder is handed boxes near the objects, and learns to bring them home.

Which box belongs to which object is known, so this teaches refinement from the first update, while the matching of the
model's own queries still changes with every step. Used by the small model that begins without a detector; the published
training has one-to-many copies instead.

Source: Li et al., DN-DETR: Accelerate DETR Training by Introducing Query DeNoising.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from masklet.data.collate import Targets
from masklet.train.losses.matcher import MatchedPairs

SHIFT = 0.5  # of a box's side, at most
SCALE = 0.6  # of the logarithm of a box's side, at most


def noised_boxes(
    targets: Targets, num_slots: int, num_layers: int, generator: torch.Generator
) -> tuple[Float[Tensor, "prompt slot 4"], MatchedPairs]:
    """Boxes for `num_slots` queries of each prompt, and which targets they should become, on every layer.

    A prompt's slots are dealt to its targets in turn; those of a prompt without any are random boxes, whose queries
    learn low scores. Boxes are cxcywh in [0, 1].
    """
    num_prompts = len(targets.exhaustive)
    boxes = _random_boxes(num_prompts, num_slots, generator)
    prompts, slots, rows = [], [], []
    for prompt in range(num_prompts):
        own = (targets.target_prompt == prompt).nonzero()[:, 0]
        if not len(own):
            continue
        dealt = own[torch.randperm(len(own), generator=generator)].repeat(-(-num_slots // len(own)))[:num_slots]
        kept = num_slots if len(own) >= num_slots else num_slots // len(own) * len(own)
        boxes[prompt, :kept] = _noised(targets.boxes_cxcywh[targets.target_object[dealt[:kept]]], generator)
        prompts += [prompt] * kept
        slots += range(kept)
        rows += dealt[:kept].tolist()
    layers = torch.arange(num_layers).repeat_interleave(len(rows))
    pairs = MatchedPairs(
        layer_index=layers,
        prompt_index=torch.tensor(prompts, dtype=torch.long).repeat(num_layers),
        query_index=torch.tensor(slots, dtype=torch.long).repeat(num_layers),
        target_index=torch.tensor(rows, dtype=torch.long).repeat(num_layers),
    )
    return boxes.to(targets.boxes_cxcywh.device), pairs.to(targets.boxes_cxcywh.device)


def _noised(boxes: Float[Tensor, "box 4"], generator: torch.Generator) -> Float[Tensor, "box 4"]:
    noise = torch.rand(boxes.shape, generator=generator).to(boxes.device) * 2 - 1
    centres = boxes[:, :2] + SHIFT * noise[:, :2] * boxes[:, 2:]
    sides = boxes[:, 2:] * (SCALE * noise[:, 2:]).exp()
    return torch.cat([centres, sides], dim=1).clamp(0.01, 0.99)


def _random_boxes(num_prompts: int, num_slots: int, generator: torch.Generator) -> Float[Tensor, "prompt slot 4"]:
    drawn = torch.rand(num_prompts, num_slots, 4, generator=generator)
    return torch.cat([0.05 + 0.9 * drawn[..., :2], 0.05 + 0.6 * drawn[..., 2:]], dim=-1)
