"""The detector on one frame of a video: all concepts in one pass, filtered by score and by mask overlap.

A phrase is asked anew of every frame. Example boxes were drawn on one frame: they are encoded from its image once, and
the encoded prompt is asked of all other frames. A calibration is applied here, before the rules see a detection: their
constants go on counting from one half, which is then each phrase's own threshold.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from masklet.formats.calibration import Calibration
from masklet.inference.predictor import Predictor
from masklet.inference.rules.association import FrameDetections, video_scores
from masklet.inference.rules.rules import Rules
from masklet.inference.thresholds import cut_masks, limits_of, recentre_scores
from masklet.inference.video.records import VideoConcept
from masklet.models.detector import Grounding, ImageFeatures
from masklet.ops.boxes import cxcywh_to_xyxy
from masklet.ops.nms import nms_masks
from masklet.types import TokenSet


def detect(
    predictor: Predictor,
    features: ImageFeatures,
    concepts: Sequence[VideoConcept],
    rules: Rules,
    size: tuple[int, int],
    calibration: Calibration | None = None,
) -> dict[str, FrameDetections]:
    """The detections of each concept on a frame, by its name."""
    tokens = [
        predictor.example_tokens(features, concept.concept, size) if concept.tokens is None else concept.tokens
        for concept in concepts
    ]
    image_index = torch.zeros(len(concepts), dtype=torch.long, device=predictor.device)
    grounding = predictor.detector.ground_tokens(features, _pad(tokens), image_index)
    presence_logits = grounding.presence_logits[-1].float()
    limits = limits_of([concept.name for concept in concepts], calibration)
    scores = video_scores(grounding.pred_logits[-1].float(), presence_logits)
    scores = recentre_scores(scores, presence_logits.sigmoid(), predictor.settings.even_score, limits)
    return {
        concept.name: _select(
            predictor, features, grounding, scores[row], row, rules, None if limits is None else limits[row].mask
        )
        for row, concept in enumerate(concepts)
    }


def _select(
    predictor: Predictor,
    features: ImageFeatures,
    grounding: Grounding,
    scores: Tensor,
    row: int,
    rules: Rules,
    cut: float | int | None,
) -> FrameDetections:
    """The queries of one concept that score enough, without those that one of a higher score covers."""
    queries = (scores > rules.min_score).nonzero()[:, 0]
    masks = predictor.masks(features, grounding, torch.full_like(queries, row), queries)
    masks = masks if cut is None else cut_masks(masks, [cut] * len(queries))
    kept = nms_masks(masks, scores[queries], rules.nms_overlap, of_smaller=rules.overlap_of_smaller)
    return FrameDetections(
        mask_logits=masks[kept],
        scores=scores[queries[kept]],
        boxes_xyxy=cxcywh_to_xyxy(grounding.pred_boxes[-1][row, queries[kept]].float()),
    )


def _pad(prompts: Sequence[TokenSet]) -> TokenSet:
    """Prompts stacked as rows, padded to the longest."""
    longest = max(prompt.valid.shape[1] for prompt in prompts)
    tokens = [F.pad(prompt.tokens, (0, 0, 0, longest - prompt.valid.shape[1])) for prompt in prompts]
    valid = [F.pad(prompt.valid, (0, longest - prompt.valid.shape[1])) for prompt in prompts]
    meanings = [prompt.meaning for prompt in prompts if prompt.meaning is not None]
    return TokenSet(tokens=torch.cat(tokens), valid=torch.cat(valid), meaning=torch.cat(meanings) if meanings else None)
