"""The life of a masklet: birth, confirmation, removal, suppression and re-prompting, one function per mechanism.

`plan_frame` decides everything about one concept on one frame from its state, the detections and the tracker's
proposals; it touches no network and changes nothing. Frames are indices in the video; a frame may be visited twice.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor

from masklet.inference.rules.association import FrameDetections, Matches, Proposals, associate
from masklet.inference.rules.rules import Rules
from masklet.ops.boxes import box_iou
from masklet.ops.components import fill_small
from masklet.ops.overlaps import SUPPRESSED, overlap_table

NEVER = -1  # of `Track.last_occluded`

Pairs = tuple[tuple[int, int], ...]  # object id and row of a detection
SharedCounts = Mapping[tuple[int, int], int]  # (older, younger) masklet: detections that both touched


@dataclass(frozen=True, kw_only=True)
class Track:
    """What the rules remember of one masklet."""

    object_id: int
    first_frame: int
    birth_score: float | int  # probability of the detection it began with; 1 where a user began or corrected it
    credit: int  # frames that it may go undetected, see `Rules.hide_lost`
    num_unmatched: int = 0  # frames on which no detection showed it
    last_occluded: int = NEVER  # frame on which it was last empty or suppressed behind another
    streak: int = 1  # frames in a row on which a detection touched it
    is_confirmed: bool = False
    by_user: bool = False  # begun or corrected by a user, who alone ends it


@dataclass(frozen=True, kw_only=True)
class ConceptState:
    """The living masklets of one concept in order of creation, and how often pairs of them shared a detection."""

    tracks: tuple[Track, ...] = ()
    shared: SharedCounts = field(default_factory=dict)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """In order of creation."""
        return tuple(track.object_id for track in self.tracks)

    def with_user_track(self, object_id: int, frame: int, rules: Rules) -> "ConceptState":
        """The state with a masklet that a user began, or corrected if it lives: its score is 1 and it is confirmed."""
        if object_id in self.object_ids:
            tracks = tuple(
                replace(track, birth_score=1.0, is_confirmed=True, by_user=True)
                if track.object_id == object_id
                else track
                for track in self.tracks
            )
            return replace(self, tracks=tracks)
        track = Track(
            object_id=object_id,
            first_frame=frame,
            birth_score=1.0,
            credit=rules.first_credit,
            is_confirmed=True,
            by_user=True,
        )
        return replace(self, tracks=(*self.tracks, track))

    def without(self, object_ids: Collection[int]) -> "ConceptState":
        """The state after these masklets ended; nothing of them is kept."""
        return ConceptState(
            tracks=tuple(track for track in self.tracks if track.object_id not in object_ids),
            shared={pair: count for pair, count in self.shared.items() if not set(pair) & set(object_ids)},
        )


@dataclass(frozen=True, kw_only=True)
class FramePlan:
    """Everything decided about one concept on one frame. Detections are rows, masklets are object ids."""

    state: ConceptState  # afterwards
    matches: Matches
    births: Pairs  # new masklet and its detection
    num_dropped: int  # new objects for which there was no room
    removed: tuple[int, ...]  # masklets that end on this frame
    reprompted: Pairs  # masklet and detection whose mask corrects it in the tracker; it may be one that ends
    redrawn: Pairs  # those of them that are also shown with the detection's mask, as theirs has drifted
    occluded: tuple[int, ...]  # suppressed behind another masklet
    hidden: tuple[int, ...]  # not shown on this frame, as their credit ran out
    mask_logits: Float[Tensor, "object height width"]  # the proposals' masks, those occluded suppressed: for memory

    def shown_logits(
        self, detections: FrameDetections, proposals: Proposals, rules: Rules
    ) -> Float[Tensor, "shown height width"]:
        """Masks for the output: of the masklets there were, in order of the proposals, then of those born."""
        shown = self.mask_logits
        if self.redrawn:
            objects = [proposals.object_ids.index(object_id) for object_id, _ in self.redrawn]
            shown = shown.clone()
            shown[objects] = detections.mask_logits[[row for _, row in self.redrawn]]
        born = detections.mask_logits[[row for _, row in self.births]]
        return torch.cat([shown, fill_small(born, rules.fill_area)])


def plan_frame(
    state: ConceptState,
    frame: int,
    detections: FrameDetections,
    proposals: Proposals,
    rules: Rules,
    *,
    reverse: bool,
    next_id: int,
    num_objects: int,
) -> FramePlan:
    """Applies every rule to one concept on one frame.

    New masklets take the ids from `next_id` on. `num_objects` is how many live now, of all concepts. With `reverse` the
    frames come in falling order.

    Source: SAM 3 paper, section on video and appendix on temporal disambiguation; docs/parity.md for what differs.
    """
    assert proposals.object_ids == state.object_ids
    matches = associate(detections, proposals, rules)
    new, num_dropped = choose_births(matches, detections, rules, rules.max_objects - num_objects)
    births = tuple((next_id + order, row) for order, row in enumerate(new))
    tracks = confirm(count_detections(state.tracks, matches, rules), matches, rules)
    scores = detections.scores.tolist() if births else []
    tracks += tuple(begin(object_id, frame, scores[row], rules) for object_id, row in births)
    state = ConceptState(tracks=tracks, shared=count_shared(state, matches, reverse=reverse))
    removed = removals(state, frame, rules, reverse=reverse)
    state, occluded = suppress_occluded(state, frame, proposals, matches.empty, rules, reverse=reverse)
    reprompted, redrawn = reprompts(matches, detections, proposals, frame, rules)
    return FramePlan(
        state=state.without(removed),
        matches=matches,
        births=births,
        num_dropped=num_dropped,
        removed=removed,
        reprompted=reprompted,
        redrawn=redrawn,
        occluded=occluded,
        hidden=lost(state, rules, removed),
        mask_logits=without_masks(proposals, occluded),
    )


def choose_births(
    matches: Matches, detections: FrameDetections, rules: Rules, num_free: int
) -> tuple[tuple[int, ...], int]:
    """Detections that begin a masklet, and the number of those for which there is no room.

    Those at the border of the image wait until more of them is seen. Where room is short the highest scores come first.
    """
    new = matches.new
    if new and rules.border > 0:
        is_inside = inside_border(detections.boxes_xyxy, rules.border).tolist()
        new = tuple(row for row in new if is_inside[row])
    return highest(new, detections.scores, max(num_free, 0))


def inside_border(boxes_xyxy: Float[Tensor, "detection 4"], border: float) -> Bool[Tensor, " detection"]:
    """Whether the centres of boxes, in fractions of the image, are more than `border` away from its edges."""
    centres = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    return ((centres > border) & (centres < 1 - border)).all(dim=1)


def highest(rows: Sequence[int], scores: Float[Tensor, " detection"], limit: int) -> tuple[tuple[int, ...], int]:
    """The rows of the highest scores, best first, and the number left out; all in their order if few enough."""
    if len(rows) <= limit:
        return tuple(rows), 0
    values = scores.tolist()
    kept = sorted(rows, key=lambda row: values[row], reverse=True)[:limit]
    return tuple(kept), len(rows) - limit


def begin(object_id: int, frame: int, score: float, rules: Rules) -> Track:
    """A masklet born of a detection."""
    return Track(
        object_id=object_id,
        first_frame=frame,
        birth_score=score,
        credit=rules.first_credit,
        is_confirmed=rules.confirm_after <= 1,
    )


def count_detections(tracks: Sequence[Track], matches: Matches, rules: Rules) -> tuple[Track, ...]:
    """The tracks with one more frame in their credit and in their unmatched frames.

    A masklet that is touched but not shown well by a detection gains and loses credit on the same frame.

    Source: SAM 3 paper, masklet detection score.
    """
    unmatched, empty = frozenset(matches.unmatched), frozenset(matches.empty)
    cost = unmatched | empty if rules.empty_costs_credit else unmatched

    def counted(track: Track) -> Track:
        credit = min(track.credit + 1, rules.max_credit) if track.object_id in matches.hit else track.credit
        credit = max(credit - 1, rules.min_credit) if track.object_id in cost else credit
        return replace(track, credit=credit, num_unmatched=track.num_unmatched + (track.object_id in unmatched))

    return tuple(counted(track) for track in tracks)


def confirm(tracks: Sequence[Track], matches: Matches, rules: Rules) -> tuple[Track, ...]:
    """The tracks with one more frame in their streak; one long enough confirms a masklet for good.

    Source: SAM 3.1, masklet confirmation.
    """

    def counted(track: Track) -> Track:
        streak = track.streak + 1 if track.object_id in matches.hit else 0
        return replace(track, streak=streak, is_confirmed=track.is_confirmed or streak >= rules.confirm_after)

    return tuple(counted(track) for track in tracks)


def count_shared(state: ConceptState, matches: Matches, *, reverse: bool) -> SharedCounts:
    """Detections that several masklets touch, counted for each of them with the one that began first."""
    begun = {track.object_id: -track.first_frame if reverse else track.first_frame for track in state.tracks}
    shared = dict(state.shared)
    for ids in matches.hits:
        if len(ids) < 2:
            continue
        oldest = min(ids, key=begun.__getitem__)
        for other in ids:
            if other != oldest:
                shared[oldest, other] = shared.get((oldest, other), 0) + 1
    return shared


def removals(state: ConceptState, frame: int, rules: Rules, *, reverse: bool) -> tuple[int, ...]:
    """Masklets on probation that were unmatched too often, or that follow an older one about.

    Source: SAM 3 paper, removal of unmatched masklets and of duplicate masklets within the confirmation delay.
    """
    duplicates = {younger for (_, younger), count in state.shared.items() if count >= rules.max_duplicate}
    return tuple(
        track.object_id
        for track in state.tracks
        if on_probation(track, frame, rules, reverse=reverse)
        and (track.num_unmatched >= rules.max_unmatched or track.object_id in duplicates)
    )


def on_probation(track: Track, frame: int, rules: Rules, *, reverse: bool) -> bool:
    """Whether the masklet began less than the confirmation delay ago; what a user began is not."""
    age = track.first_frame - frame if reverse else frame - track.first_frame
    return age < rules.confirmation_delay and not track.by_user


def lost(state: ConceptState, rules: Rules, removed: Collection[int]) -> tuple[int, ...]:
    """Masklets that were unmatched at some time and have no credit left, but go on.

    Source: SAM 3 paper, suppression by the lifetime detection score; off in the released model.
    """
    if not rules.hide_lost:
        return ()
    return tuple(
        track.object_id
        for track in state.tracks
        if track.num_unmatched and track.credit <= 0 and track.object_id not in removed
    )


def suppress_occluded(
    state: ConceptState,
    frame: int,
    proposals: Proposals,
    empty: Collection[int],
    rules: Rules,
    *,
    reverse: bool,
) -> tuple[ConceptState, tuple[int, ...]]:
    """The state that remembers who was occluded on this frame, and the masklets suppressed behind another.

    A masklet also counts as occluded where it is empty.
    """
    last = {track.object_id: track.last_occluded for track in state.tracks}
    last_occluded = np.array([last[object_id] for object_id in proposals.object_ids], dtype=np.int64)
    rivals = np.flatnonzero(last_occluded > NEVER)  # few, and only these can suppress another
    iou = overlap_table(proposals.masks, proposals.masks[torch.from_numpy(rivals)]).iou()
    is_beaten = occluded_later(iou, last_occluded, last_occluded[rivals], rules.occlusion_iou, reverse=reverse)
    occluded = tuple(proposals.object_ids[row] for row in np.flatnonzero(is_beaten))
    tracks = tuple(
        replace(track, last_occluded=frame) if track.object_id in occluded or track.object_id in empty else track
        for track in state.tracks
    )
    return replace(state, tracks=tracks), occluded


def occluded_later(
    iou: Float64[np.ndarray, "object rival"],
    last_occluded: Int64[np.ndarray, " object"],
    rival_last_occluded: Int64[np.ndarray, " rival"],
    min_iou: float | int,
    *,
    reverse: bool,
) -> Bool[np.ndarray, " object"]:
    """Which masklets lie on a rival and were occluded after it: they took its place when it came back.

    Rivals are masklets that were occluded at some time. Backwards in time "after" is "before", and there one that was
    never occluded (`NEVER`) gives way to any rival, as in the released model.

    Source: SAM 3 paper, suppression of overlapping masklets by most recent occlusion.
    """
    own, rival = last_occluded[:, None], rival_last_occluded[None, :]
    return np.any((iou >= min_iou) & (own < rival if reverse else own > rival), axis=1)


def without_masks(proposals: Proposals, object_ids: Collection[int]) -> Float[Tensor, "object height width"]:
    """The masks of the proposals, with those of some masklets suppressed."""
    if not object_ids:
        return proposals.mask_logits
    mask_logits = proposals.mask_logits.clone()
    mask_logits[[proposals.object_ids.index(object_id) for object_id in object_ids]] = SUPPRESSED
    return mask_logits


def reprompts(
    matches: Matches, detections: FrameDetections, proposals: Proposals, frame: int, rules: Rules
) -> tuple[Pairs, Pairs]:
    """Masklets whose mask a confident detection replaces in the tracker, and those of them whose box has drifted.

    Every masklet that has such a detection and whose object logit is high, on every `Rules.reprompt_every`-th frame of
    the video, and on frames where one of them has drifted.

    Source: SAM 3 paper, periodic re-prompting and detection-guided re-prompting; the second is off in the released
    model.
    """
    is_due = rules.reprompt_every > 0 and frame % rules.reprompt_every == 0
    if not matches.confident or not (is_due or rules.drift_box_iou > 0):
        return (), ()
    is_sure = (proposals.object_logits > rules.reprompt_min_object_logit).tolist()
    sure = {object_id for object_id, yes in zip(proposals.object_ids, is_sure, strict=True) if yes}
    pairs = tuple(pair for pair in matches.confident if pair[0] in sure)
    adrift = drifted(pairs, detections, proposals, rules)
    return (pairs if is_due or adrift else ()), adrift


def drifted(pairs: Pairs, detections: FrameDetections, proposals: Proposals, rules: Rules) -> Pairs:
    """The pairs of masklet and detection whose boxes overlap less than `Rules.drift_box_iou`.

    As in the released code the masklet's box ends on its last pixel, not behind it, which makes it a little smaller
    than the detection's.
    """
    if not pairs or rules.drift_box_iou <= 0:
        return ()
    objects = [proposals.object_ids.index(object_id) for object_id, _ in pairs]
    rows = [row for _, row in pairs]
    boxes = _boxes_to_last_pixel(proposals.masks[objects])
    overlaps = box_iou(boxes, detections.boxes_xyxy[rows])
    is_adrift = (overlaps < rules.drift_box_iou) & (detections.scores[rows] >= rules.drift_min_score)
    return tuple(pair for pair, moved in zip(pairs, is_adrift.tolist(), strict=True) if moved)


def _boxes_to_last_pixel(masks: Bool[Tensor, "object height width"]) -> Float[Tensor, "object 4"]:
    """Boxes, xyxy in fractions of the image, of masks that are not empty."""
    height, width = masks.shape[1:]
    rows, columns = masks.any(dim=2).int(), masks.any(dim=1).int()
    low = torch.stack([columns.argmax(1) / width, rows.argmax(1) / height], dim=1)
    far = torch.stack([columns.flip(1).argmax(1) / width, rows.flip(1).argmax(1) / height], dim=1)
    return torch.cat([low, 1 - far - torch.tensor([1 / width, 1 / height], device=masks.device)], dim=1)
