"""Which detection shows which masklet on a frame: between detector and tracker on one side and the rules on the other.

Overlaps are those of masks above 0 at low resolution, counted on the masks' device; scores and overlaps are then
compared on the CPU. Nothing is remembered here.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from masklet.cached import cached
from masklet.inference.rules.rules import Rules
from masklet.ops.overlaps import binary_masks, overlap_table
from masklet.ops.scores import inverse_sigmoid, joint_scores


@dataclass(frozen=True, kw_only=True)
class FrameDetections:
    """What the detector found of one concept on one frame, after NMS, in the detector's order."""

    mask_logits: Float[Tensor, "detection height width"]  # low resolution
    scores: Float[Tensor, " detection"]  # probabilities
    boxes_xyxy: Float[Tensor, "detection 4"]  # fractions of the image

    @cached
    def masks(self) -> Bool[Tensor, "detection height width"]:
        """Where the logits are above 0."""
        return binary_masks(self.mask_logits)


@dataclass(frozen=True, kw_only=True)
class Proposals:
    """What the tracker says of the masklets of one concept on one frame, in order of their creation."""

    object_ids: tuple[int, ...]
    mask_logits: Float[Tensor, "object height width"]  # low resolution, holes filled
    object_logits: Float[Tensor, " object"]  # above 0: the object is there

    @cached
    def masks(self) -> Bool[Tensor, "object height width"]:
        """Where the logits are above 0."""
        return binary_masks(self.mask_logits)


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Who goes with whom. Detections are rows, masklets are object ids; a masklet may be both hit and unmatched."""

    new: tuple[int, ...]  # detections of what no masklet shows yet
    unmatched: tuple[int, ...]  # masklets that are not empty and that no detection shows well
    empty: tuple[int, ...]  # masklets without a pixel
    hits: tuple[tuple[int, ...], ...]  # per detection: the masklets that it touches
    confident: tuple[tuple[int, int], ...]  # masklet and detection that shows it beyond doubt

    @cached
    def hit(self) -> frozenset[int]:
        """Masklets that some detection touches."""
        return frozenset(object_id for ids in self.hits for object_id in ids)


def video_scores(
    pred_logits: Float[Tensor, "*batch query"], presence_logits: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch query"]:
    """Probability of each query on a frame of a video, in about [0.001, 0.999].

    As on images, but folded back into one logit, which holds it off 0 and 1 as the published video model does.
    """
    return inverse_sigmoid(joint_scores(pred_logits, presence_logits)).sigmoid()


def associate(detections: FrameDetections, proposals: Proposals, rules: Rules) -> Matches:
    """Matches detections to masklets by mask overlap.

    Where there are no masklets every detection is new, however low its score. Of two detections that show one masklet
    beyond doubt the later counts.

    Source: SAM 3 paper, section on video, matching function.
    """
    ids = np.array(proposals.object_ids, dtype=np.int64)
    scores = detections.scores.float().cpu().numpy()  # compared in single precision, as they came
    if not len(ids):
        everyone = tuple(range(len(scores)))
        return Matches(new=everyone, unmatched=(), empty=(), hits=((),) * len(scores), confident=())
    table = overlap_table(detections.masks, proposals.masks)
    iou = table.iou()
    is_empty = table.other_areas == 0
    is_hit = iou >= rules.min_hit_iou
    is_new = ~is_hit.any(axis=1) & (scores >= rules.min_birth_score)
    return Matches(
        new=tuple(np.flatnonzero(is_new).tolist()),
        unmatched=tuple(ids[~is_empty & ~_is_matched(iou, rules)].tolist()),
        empty=tuple(ids[is_empty].tolist()),
        hits=tuple(tuple(ids[row].tolist()) for row in is_hit),
        confident=_confident(table.of_smaller() if rules.overlap_of_smaller else iou, scores, is_new, ids, rules),
    )


def _is_matched(iou: Float64[np.ndarray, "detection object"], rules: Rules) -> Bool[np.ndarray, " object"]:
    """Which masklets a detection shows well; with `one_to_one` a detection shows only one."""
    if not rules.one_to_one:
        return np.any(iou >= rules.min_match_iou, axis=0)
    from scipy.optimize import linear_sum_assignment  # slow to import, and few rules ask for it

    rows, columns = linear_sum_assignment(iou, maximize=True)
    is_matched = np.zeros(iou.shape[1], dtype=bool)
    is_matched[columns] = iou[rows, columns] >= rules.min_match_iou
    return is_matched


def _confident(
    overlaps: np.ndarray, scores: np.ndarray, is_new: np.ndarray, ids: np.ndarray, rules: Rules
) -> tuple[tuple[int, int], ...]:
    """The masklet that each confident detection overlaps most, where it overlaps enough."""
    is_sure = (scores >= rules.reprompt_min_score) & ~is_new & (overlaps.max(axis=1) >= rules.reprompt_min_overlap)
    pairs = {int(ids[overlaps[row].argmax()]): row for row in np.flatnonzero(is_sure).tolist()}
    return tuple(pairs.items())
