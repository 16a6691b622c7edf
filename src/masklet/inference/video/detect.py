"""What is looked for in a video, and the detector's answer on one frame.

A phrase is asked anew of every frame. Example boxes were drawn on one frame: they are read from its picture once, and
what was read is asked of all other frames. A calibration is applied here, before the rules see a detection: their
constants go on counting from one half, which is then each phrase's own threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from masklet.formats.calibration import Calibration
from masklet.inference.calibrated import cut_masks, gate_scores
from masklet.inference.model import Concept, Model
from masklet.inference.video.association import FrameDetections, video_scores
from masklet.inference.video.lifecycle import ConceptState
from masklet.inference.video.rules import Rules
from masklet.models.detector import Grounding, ImageFeatures
from masklet.ops.boxes import cxcywh_to_xyxy
from masklet.ops.nms import nms_masks
from masklet.ops.scores import recentre
from masklet.types import TokenSet


@dataclass(frozen=True, kw_only=True)
class VideoConcept:
    """A concept of a session under its name, with its masklets. `tokens` are what its examples said, if it has any."""

    name: str
    concept: Concept
    tokens: TokenSet | None = None
    state: ConceptState = field(default_factory=ConceptState)


def read_examples(model: Model, features: ImageFeatures, concept: Concept, size: tuple[int, int]) -> TokenSet:
    """The prompt that a concept with example boxes, in pixels of this frame, is from now on."""
    words, prompts = model.prompts([concept], size)
    return model.detector.join(features, words, prompts)


def detect(
    model: Model,
    features: ImageFeatures,
    concepts: Sequence[VideoConcept],
    rules: Rules,
    size: tuple[int, int],
    calibration: Calibration | None = None,
) -> dict[str, FrameDetections]:
    """What the detector finds of each concept on a frame, by its name; all concepts in one pass."""
    tokens = [
        read_examples(model, features, concept.concept, size) if concept.tokens is None else concept.tokens
        for concept in concepts
    ]
    image_index = torch.zeros(len(concepts), dtype=torch.long, device=model.device)
    grounding = model.detector.ground_tokens(features, _pad(tokens), image_index)
    presence = grounding.presence_logits[-1].float()
    scores = recentre(video_scores(grounding.pred_logits[-1].float(), presence), model.even_score)
    cuts: list[float | int | None] = [None] * len(concepts)
    if calibration is not None:
        limits = [calibration.thresholds(concept.name) for concept in concepts]
        scores = gate_scores(scores, presence.sigmoid(), limits)
        cuts = [each.mask for each in limits]
    return {
        concept.name: _keep(model, features, grounding, scores[row], row, rules, cuts[row])
        for row, concept in enumerate(concepts)
    }


def _keep(
    model: Model,
    features: ImageFeatures,
    grounding: Grounding,
    scores: Tensor,
    row: int,
    rules: Rules,
    cut: float | int | None,
) -> FrameDetections:
    """Queries of one concept that score enough, without those that a surer one covers."""
    queries = (scores > rules.min_score).nonzero()[:, 0]
    masks = model.masks(features, grounding, torch.full_like(queries, row), queries)
    masks = masks if cut is None else cut_masks(masks, [cut] * len(queries))
    kept = nms_masks(masks, scores[queries], rules.nms_overlap, of_smaller=rules.overlap_of_smaller)
    return FrameDetections(
        mask_logits=masks[kept],
        scores=scores[queries[kept]],
        boxes_xyxy=cxcywh_to_xyxy(grounding.pred_boxes[-1][row, queries[kept]].float()),
    )


def _pad(prompts: Sequence[TokenSet]) -> TokenSet:
    """Prompts one below the other, padded to the longest."""
    longest = max(prompt.valid.shape[1] for prompt in prompts)
    tokens = [F.pad(prompt.tokens, (0, 0, 0, longest - prompt.valid.shape[1])) for prompt in prompts]
    valid = [F.pad(prompt.valid, (0, longest - prompt.valid.shape[1])) for prompt in prompts]
    return TokenSet(tokens=torch.cat(tokens), valid=torch.cat(valid))
