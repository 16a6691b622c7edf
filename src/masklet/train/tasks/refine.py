"""Rounds of correction: a simulated user shows the detector an object that it missed or a box that it made up.

Source: SAM 3 paper, appendix (training, stage 3). It does not say when a detection counts as confident.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from masklet.data.collate import CollateConfig, Targets, jitter_boxes
from masklet.ops.boxes import box_iou_table, cxcywh_to_xyxy
from masklet.ops.corrections import DETECTED_IOU, WRONG_IOU, find_errors
from masklet.types import PromptBatch


@dataclass(frozen=True, kw_only=True)
class RefineConfig:
    """`rounds` of correction follow the first prediction in a `share` of the micro-batches; the paper has 5.

    A detection is confident above a score of `sure`. An object is missed when no confident detection of its own has an
    IoU of `found` with it; a confident detection is made up when its IoU with every object of its prompt is below
    `apart` (`ops.corrections`). Boxes are moved by Gaussian noise of `jitter` times their side.
    """

    rounds: int = 0
    share: float = 0.3
    sure: float = 0.5
    found: float = DETECTED_IOU
    apart: float = WRONG_IOU
    jitter: float = 0.1

    def rounds_of(self, rng: np.random.Generator) -> int:
        """How many rounds a micro-batch has."""
        return self.rounds if rng.random() < self.share else 0


@dataclass(frozen=True, kw_only=True)
class Errors:
    """What one prompt missed and what it made up, cxcywh in [0, 1]."""

    missed: Float[np.ndarray, "missed 4"]
    made_up: Float[np.ndarray, "made_up 4"]


@torch.no_grad()
def with_corrections(
    prompts: PromptBatch,
    scores: Float[torch.Tensor, "prompt query"],
    boxes: Float[torch.Tensor, "prompt query 4"],
    targets: Targets,
    config: RefineConfig,
    rng: np.random.Generator,
) -> PromptBatch:
    """The prompts, each with one more example box where there was something to correct.

    Of what was missed (wanted) and what was made up (unwanted), one kind and then one box is drawn. What is made up is
    only known of prompts that are labelled in full.
    """
    device = prompts.image_index.device
    wanted = targets.boxes_cxcywh[targets.target_object]
    host = [tensor.float().cpu() for tensor in (scores, boxes, wanted)]
    asked, exhaustive = targets.target_prompt.cpu(), targets.exhaustive.tolist()
    added, labels, valid = torch.zeros(len(scores), 1, 4), torch.zeros(len(scores), 1), torch.zeros(len(scores), 1)
    for row in range(len(scores)):
        errors = errors_of(host[0][row], host[1][row], host[2][asked == row], config)
        kinds = [(errors.missed, 1), (errors.made_up if exhaustive[row] else errors.made_up[:0], 0)]
        kinds = [(wrong, label) for wrong, label in kinds if len(wrong)]
        if kinds:
            wrong, label = kinds[int(rng.integers(len(kinds)))]
            box = jitter_boxes(wrong[[int(rng.integers(len(wrong)))]], CollateConfig(jitter=config.jitter), rng)
            added[row], labels[row], valid[row] = torch.from_numpy(box), label, 1
    old = prompts.exemplars
    exemplars = replace(
        old,
        boxes_cxcywh=torch.cat([old.boxes_cxcywh, added.to(old.boxes_cxcywh)], dim=1),
        box_labels=torch.cat([old.box_labels, labels.to(old.box_labels)], dim=1),
        box_valid=torch.cat([old.box_valid, valid.bool().to(device)], dim=1),
    )
    return replace(prompts, exemplars=exemplars)


def errors_of(
    scores: Float[torch.Tensor, " query"],
    boxes: Float[torch.Tensor, "query 4"],
    wanted: Float[torch.Tensor, "target 4"],
    config: RefineConfig,
) -> Errors:
    """What one prompt got wrong; boxes are cxcywh, and objects without an area cannot be shown."""
    wanted = wanted[(wanted[:, 2:] > 0).all(dim=1)]
    sure = boxes[scores > config.sure]
    iou = box_iou_table(cxcywh_to_xyxy(wanted), cxcywh_to_xyxy(sure)).numpy()
    errors = find_errors(iou, detected=config.found, wrong=config.apart)
    return Errors(missed=wanted[list(errors.missed)].numpy(), made_up=sure[list(errors.wrong)].numpy())
