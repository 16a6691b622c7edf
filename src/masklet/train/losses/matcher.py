"""Which query is matched with which target: Hungarian (one query a target) and one-to-many (up to k queries a target).

Targets are packed: row t of `target_boxes` belongs to prompt `target_prompt[t]`, in ascending order of prompts. Costs
are only ever computed between a target and the queries of its own prompt, so prompts without targets cost nothing.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from masklet.ops.boxes import box_iou, cxcywh_to_xyxy, generalized_box_iou
from masklet.types import Bundle, bundle


@bundle
class MatchedPairs(Bundle):
    """Matched pairs over all layers; `target_index` is a row of the packed targets."""

    layer_index: Int[Tensor, " match"]
    prompt_index: Int[Tensor, " match"]
    query_index: Int[Tensor, " match"]
    target_index: Int[Tensor, " match"]

    def keep(self, kept: Bool[Tensor, " match"] | Int[Tensor, " kept"]) -> "MatchedPairs":
        """The pairs where `kept` is True, or those in the rows that it names."""
        return self.map(lambda index: index[kept])


@dataclass(frozen=True, kw_only=True)
class HungarianConfig:
    """Weights of the matching cost, as published."""

    cost_class: float = 2.0
    cost_bbox: float = 5.0
    cost_giou: float = 2.0
    alpha: float = 0.25
    gamma: float = 2.0


@dataclass(frozen=True, kw_only=True)
class OneToManyConfig:
    """DAC-DETR's rule: `alpha` weighs score against IoU; at most `topk` queries a target, all above `threshold`."""

    alpha: float = 0.3
    threshold: float = 0.4
    topk: int = 4


@torch.no_grad()
def match_one_to_one(
    pred_logits: Float[Tensor, "layer prompt query"],
    pred_boxes: Float[Tensor, "layer prompt query 4"],
    target_boxes: Float[Tensor, "target 4"],
    target_prompt: Int[Tensor, " target"],
    config: HungarianConfig,
) -> MatchedPairs:
    """Assignment of least total cost, solved for each layer and prompt on the host after a single copy.

    With more targets than queries every query is used and the dearest targets stay unmatched. Pairs come in order of
    layer, then target.

    Raises: ValueError when a cost is not finite, the first sign of a diverged training.
    """
    device = pred_logits.device
    table = _hungarian_costs(pred_logits, pred_boxes, target_boxes, target_prompt, config).cpu().numpy()
    if not np.isfinite(table).all():
        raise ValueError("matching costs are not finite: the predicted logits or boxes hold NaN or infinity")
    prompts = target_prompt.cpu().numpy()
    rows: list[np.ndarray] = []
    bounds = [*np.flatnonzero(np.diff(prompts, prepend=-1)).tolist(), len(prompts)]
    for layer, layer_table in enumerate(table):
        for start, stop in pairwise(bounds):
            targets, queries = linear_sum_assignment(layer_table[start:stop])
            columns = [np.full_like(queries, layer), np.full_like(queries, prompts[start]), queries, targets + start]
            rows.append(np.stack(columns))
    pairs = np.concatenate(rows, axis=1) if rows else np.zeros((4, 0), dtype=np.int64)
    layer, prompt, query, target = torch.from_numpy(pairs.astype(np.int64)).to(device)
    return MatchedPairs(layer_index=layer, prompt_index=prompt, query_index=query, target_index=target)


def _hungarian_costs(
    pred_logits: Tensor, pred_boxes: Tensor, target_boxes: Tensor, target_prompt: Tensor, config: HungarianConfig
) -> Float[Tensor, "layer target query"]:
    logits = pred_logits.float()[:, target_prompt]
    boxes = pred_boxes.float()[:, target_prompt]
    targets = target_boxes.float()[None, :, None]
    probabilities = logits.sigmoid()
    positive = -config.alpha * (1 - probabilities) ** config.gamma * F.logsigmoid(logits)
    negative = -(1 - config.alpha) * probabilities**config.gamma * F.logsigmoid(-logits)
    distance = (boxes - targets).abs().sum(-1)
    overlap = generalized_box_iou(cxcywh_to_xyxy(boxes), cxcywh_to_xyxy(targets))
    return config.cost_class * (positive - negative) + config.cost_bbox * distance - config.cost_giou * overlap


@torch.no_grad()
def match_one_to_many(
    pred_logits: Float[Tensor, "prompt query"],
    pred_boxes: Float[Tensor, "prompt query 4"],
    target_boxes: Float[Tensor, "target 4"],
    target_prompt: Int[Tensor, " target"],
    config: OneToManyConfig,
) -> MatchedPairs:
    """Every query that is both good enough for a target and among its best; a query may serve several targets.

    One layer only (`layer_index` is 0). Pairs come in order of prompt, query, target.

    Source: DAC-DETR, one-to-many label assignment.
    """
    if target_prompt.numel() == 0:
        empty = target_prompt.long()
        return MatchedPairs(layer_index=empty, prompt_index=empty, query_index=empty, target_index=empty)
    boxes = cxcywh_to_xyxy(pred_boxes.float()[target_prompt])
    overlap = box_iou(boxes, cxcywh_to_xyxy(target_boxes.float())[:, None])
    quality = config.alpha * pred_logits.float().sigmoid()[target_prompt] + (1 - config.alpha) * overlap
    fraction = max(0.0, 1 - config.topk / quality.shape[-1])
    bar = torch.quantile(quality, fraction, dim=-1, keepdim=True).clamp(min=config.threshold)
    target, query = (quality > bar).nonzero(as_tuple=True)
    prompt, layer = target_prompt[target].long(), torch.zeros_like(query)
    pairs = MatchedPairs(layer_index=layer, prompt_index=prompt, query_index=query, target_index=target)
    return pairs.keep(torch.argsort(prompt * quality.shape[-1] + query, stable=True))
