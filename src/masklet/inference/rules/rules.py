"""The numbers behind the rules of concept video: what may begin, live, be hidden, be corrected and end.

Frames are counted in visits of the propagation, scores are probabilities (with a calibration those are recentred, so
that one half is each phrase's own threshold), overlaps are of masks at low resolution. The defaults are those of the
published SAM 3; the other two sets are functions below, and `RULES` names all three.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

from masklet.errors import InputError

Number = float | int


@dataclass(frozen=True, kw_only=True)
class Rules:
    """Thresholds of detection, matching, births, removal, suppression, re-prompting and output.

    Source: SAM 3 paper, section on video and appendix on temporal disambiguation; values of the released model.
    """

    # Detection.
    min_score: Number = 0.5  # detections score above this
    nms_overlap: Number = 0.1  # of two detections that overlap more, the weaker goes
    overlap_of_smaller: bool = False  # NMS and re-prompting divide by the smaller area, not by the union

    # Matching: one detection may hit several masklets and the other way round, unless `one_to_one`.
    min_hit_iou: Number = 0.1  # from here on a detection belongs to a masklet, and is no new object
    min_match_iou: Number = 0.5  # a masklet without a detection from here on is unmatched
    one_to_one: bool = False  # a masklet is matched only by the detection that the best assignment gives it

    # Birth.
    min_birth_score: Number = 0.7  # of a new object, once there are masklets
    border: Number = 0.0  # no object begins with its box centre this close to the border, in fractions of the image
    max_objects: int = 10_000  # of all concepts together

    # Confirmation delay, and removal within it.
    confirmation_delay: int = 15  # frames that the output waits, and that a masklet is on probation; 0 for neither
    max_unmatched: int = 8  # unmatched frames that remove a masklet on probation
    max_duplicate: int = 8  # detections shared with an older masklet that remove one on probation
    confirm_after: int = 0  # detections on successive frames before a masklet is shown; 0 shows all

    # Suppression.
    hide_lost: bool = False  # a masklet whose credit has run out is not shown
    first_credit: int = 30  # +1 on a frame with a hit, -1 on an unmatched one
    max_credit: int = 30
    min_credit: int = -1
    empty_costs_credit: bool = False  # -1 also where the masklet is empty
    occlusion_iou: Number = 0.7  # of two masklets that overlap so much, the one occluded last is suppressed

    # Re-prompting: a confident detection corrects the masklet it shows.
    reprompt_every: int = 16  # on frames whose index is a multiple of this; 0 for never
    reprompt_min_score: Number = 0.8
    reprompt_min_overlap: Number = 0.8
    reprompt_min_object_logit: Number = 0.8  # the released code compares the logit; a probability of 0.69
    drift_box_iou: Number = 0.0  # also on frames where the boxes of such a pair overlap less than this; 0 for never
    drift_min_score: Number = 0.0

    # Repair.
    fill_area: int = 16  # holes and specks of at most so many low-resolution pixels

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            fits = isinstance(value, bool) == isinstance(each.default, bool) and isinstance(value, (int, float))
            if not fits or not math.isfinite(value):
                raise InputError(f"the rule {each.name} is {value!r}, and should be a number such as {each.default}")


def sam3() -> Rules:
    """The published SAM 3."""
    return Rules()


def without_heuristics() -> Rules:
    """The paper's ablation: no delay, no removal, no re-prompting."""
    return Rules(confirmation_delay=0, max_unmatched=0, max_duplicate=0, reprompt_every=0)


def sam3_1() -> Rules:
    """The later SAM 3.1: overlaps of the smaller area, masklets shown once confirmed, none begun at the border."""
    return Rules(
        min_score=0.4,
        overlap_of_smaller=True,
        min_birth_score=0.65,
        border=0.025,
        max_objects=128,
        confirm_after=3,
        first_credit=0,
        max_credit=8,
        min_credit=-4,
        reprompt_min_overlap=0.5,
        reprompt_min_object_logit=math.log(0.8 / 0.2),
        fill_area=0,
    )


RULES: dict[str, Callable[[], Rules]] = {
    "sam3": sam3,
    "no-heuristics": without_heuristics,
    "sam3.1": sam3_1,
}
