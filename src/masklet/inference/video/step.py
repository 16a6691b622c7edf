"""One frame of a session: all objects are propagated and every rule is applied, in named steps.

The steps take the state of the session and give another. Concepts go through the whole pipeline; objects that only a
user began are tracked alone, as in SAM 2.

Source: SAM 3 paper, section on video (detect, propagate, match, update).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from masklet.inference.rules.association import FrameDetections, Proposals
from masklet.inference.rules.lifecycle import FramePlan, plan_frame
from masklet.inference.rules.rules import Rules
from masklet.inference.video.cohorts import Cohort, FrameView, begin, forget, propagate, remember, reprompt
from masklet.inference.video.records import SessionState
from masklet.models.memory_bank import Memory
from masklet.ops.components import fill_small
from masklet.ops.overlaps import memory_object_logits, suppress_shrunken

Moved = dict[int, tuple[Cohort, Memory]]  # cohorts by their place in the session, with what the tracker says of them


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """What every step of a session shares. `size` is that of the video, `memory_frames` the limit of the banks."""

    rules: Rules
    size: tuple[int, int]
    memory_frames: int


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A concept on the frame: what was found and proposed, and what the rules made of it."""

    name: str
    detections: FrameDetections
    proposals: Proposals
    plan: FramePlan

    @property
    def born(self) -> tuple[int, ...]:
        """New masklets."""
        return tuple(object_id for object_id, _ in self.plan.births)

    @property
    def born_rows(self) -> list[int]:
        """Their detections."""
        return [row for _, row in self.plan.births]


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """The objects of a frame after a step, with low-resolution masks, and which of them are not to be shown.

    `precedence` orders overlapping objects: the highest is in front, which are objects that were tracked alone, then
    those of concepts by their score.
    """

    ids: tuple[int, ...]
    concepts: tuple[str, ...]
    mask_logits: Float[Tensor, "object low_height low_width"]
    object_scores: tuple[float, ...]
    precedence: tuple[float, ...]
    hidden: frozenset[int]
    unconfirmed: frozenset[int]
    removed: frozenset[int]


def step(
    view: FrameView,
    state: SessionState,
    detections: Mapping[str, FrameDetections],
    alone: Collection[int],
    options: StepOptions,
) -> tuple[SessionState, StepResult]:
    """One frame for the concepts that have `detections`, and for the cohorts at the places `alone`."""
    # Propagate the objects with the tracker
    places = [i for i, cohort in enumerate(state.cohorts) if i in alone or cohort.concept in detections]
    memories = propagate(view, [state.cohorts[i] for i in places])
    moved = {i: (state.cohorts[i], memory) for i, memory in zip(places, memories, strict=True)}
    masks = _repair(moved, options.rules)
    # Decide who matches, begins, ends, is hidden and is re-prompted
    planned = _plan(view, state, detections, moved, masks, options.rules)
    # Carry the decisions out in the memory banks
    corrected = _reprompt(view, moved, planned, options.size)
    remembered = _remember(view, corrected, planned, options)
    begun = [
        replace(begin(view, p.born, p.detections.mask_logits[p.born_rows], options.size), concept=p.name)
        for p in planned
        if p.born
    ]
    state = replace(
        state,
        concepts={**state.concepts, **{p.name: replace(state.concepts[p.name], state=p.plan.state) for p in planned}},
        cohorts=(*(remembered.get(i, cohort) for i, cohort in enumerate(state.cohorts)), *begun),
        next_id=state.next_id + sum(len(each.born) for each in planned),
        scores={**state.scores, **_birth_scores(planned)},
    )
    result = _collect(moved, masks, planned, options.rules)
    return (state.without(result.removed) if result.removed else state), result


def _repair(moved: Moved, rules: Rules) -> dict[int, Float[Tensor, "object low_height low_width"]]:
    """The tracker's masks with small holes filled and specks taken away, by place of the cohort."""
    if not moved:
        return {}
    sizes = [len(memory.object_logits) for _, memory in moved.values()]
    filled = fill_small(torch.cat([memory.mask_logits for _, memory in moved.values()]), rules.fill_area)
    return dict(zip(moved, filled.split(sizes), strict=True))


def _plan(
    view: FrameView,
    state: SessionState,
    detections: Mapping[str, FrameDetections],
    moved: Moved,
    masks: Mapping[int, Tensor],
    rules: Rules,
) -> list[Planned]:
    """What happens to each concept; ids are given to new masklets in the order of the concepts."""
    planned: list[Planned] = []
    for name, found in detections.items():
        lifecycle = state.concepts[name].state
        proposals = _proposals(name, lifecycle.object_ids, moved, masks, found)
        born = sum(len(each.born) for each in planned)
        plan = plan_frame(
            lifecycle,
            view.frame,
            found,
            proposals,
            rules,
            reverse=view.traversal.reverse,
            next_id=state.next_id + born,
            num_objects=len(state.object_ids) + born,
        )
        planned.append(Planned(name=name, detections=found, proposals=proposals, plan=plan))
    return planned


def _proposals(
    name: str, object_ids: tuple[int, ...], moved: Moved, masks: Mapping[int, Tensor], found: FrameDetections
) -> Proposals:
    """The tracker's masks of the masklets of one concept, in the order of the concept's state."""
    mine = {i: pair for i, pair in moved.items() if pair[0].concept == name}
    if not mine:
        return Proposals(object_ids=(), mask_logits=found.mask_logits[:0], object_logits=found.scores[:0])
    ids = [object_id for cohort, _ in mine.values() for object_id in cohort.object_ids]
    logits = torch.cat([masks[i] for i in mine])
    rows = torch.tensor([ids.index(object_id) for object_id in object_ids], device=logits.device)
    return Proposals(
        object_ids=object_ids,
        mask_logits=logits[rows],
        object_logits=torch.cat([memory.object_logits for _, memory in mine.values()])[rows],
    )


def _reprompt(view: FrameView, moved: Moved, planned: Sequence[Planned], size: tuple[int, int]) -> Moved:
    """The moved cohorts with the masks that confident detections give their objects."""
    masks = {object_id: p.detections.mask_logits[row] for p in planned for object_id, row in p.plan.reprompted}
    corrected = dict(moved)
    for i, (cohort, memory) in moved.items():
        mine = {object_id: masks[object_id] for object_id in cohort.object_ids if object_id in masks}
        if mine:
            bank = (
                cohort.bank if view.frame in cohort.bank.conditioning else cohort.bank.with_tracked(view.frame, memory)
            )
            corrected[i] = (reprompt(view, replace(cohort, bank=bank), mine, size), memory)
    return corrected


def _remember(view: FrameView, moved: Moved, planned: Sequence[Planned], options: StepOptions) -> dict[int, Cohort]:
    """The moved cohorts with this frame in their banks: those of concepts after the rules, others as tracked."""
    names = {each.name for each in planned}
    ruled = {i: pair for i, pair in moved.items() if pair[0].concept in names}
    free = {i: p for i, p in moved.items() if i not in ruled and view.frame not in p[0].bank.conditioning}
    remembered: dict[int, Cohort] = {i: cohort for i, (cohort, _) in moved.items()}
    if ruled:
        masks: dict[int, Tensor] = {}
        for each in planned:
            masks |= _memory_masks(each, view.tracker.memory_size(view.features))
        logits = torch.stack([masks[object_id] for cohort, _ in ruled.values() for object_id in cohort.object_ids])
        keep = {object_id for each in planned for object_id, _ in each.plan.reprompted}
        remembered |= _write(view, ruled, logits, memory_object_logits(logits), keep)
    if free:
        logits = view.tracker.enlarge(torch.cat([memory.mask_logits for _, memory in free.values()]))
        seen = torch.cat([memory.object_logits for _, memory in free.values()])
        remembered |= _write(view, free, logits, seen, ())
    return {i: forget(cohort, view, options.memory_frames) for i, cohort in remembered.items()}


def _write(
    view: FrameView, moved: Moved, mask_logits: Tensor, object_logits: Tensor, keep: Collection[int]
) -> dict[int, Cohort]:
    cohorts, memories = zip(*moved.values(), strict=True)
    return dict(zip(moved, remember(view, cohorts, memories, mask_logits, object_logits, keep), strict=True))


def _memory_masks(planned: Planned, size: tuple[int, int]) -> dict[int, Tensor]:
    """The masks of a concept's masklets as memory takes them: enlarged, and nothing of what others mostly cover."""
    logits = planned.plan.mask_logits
    if not len(logits):
        return {}
    large = F.interpolate(logits[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]
    return dict(zip(planned.proposals.object_ids, suppress_shrunken(large), strict=True))


def _birth_scores(planned: Sequence[Planned]) -> dict[int, float]:
    return {
        object_id: score
        for each in planned
        for object_id, score in zip(each.born, each.detections.scores[each.born_rows].tolist(), strict=True)
    }


@dataclass(frozen=True, kw_only=True)
class _Row:
    """One object of a frame."""

    object_id: int
    concept: str
    mask_logits: Tensor
    object_score: float
    precedence: float


def _collect(moved: Moved, masks: Mapping[int, Tensor], planned: Sequence[Planned], rules: Rules) -> StepResult:
    """Masklets as the rules left them, new ones as detected, and objects tracked alone as they are."""
    logits = {
        object_id: logit
        for cohort, memory in moved.values()
        for object_id, logit in zip(cohort.object_ids, memory.object_logits.float().cpu(), strict=True)
    }
    probability = {object_id: float(logit.sigmoid()) for object_id, logit in logits.items()} | _birth_scores(planned)
    rows: list[_Row] = []
    # Objects of concepts
    for each in planned:
        ids = each.proposals.object_ids + each.born
        shown = each.plan.shown_logits(each.detections, each.proposals, rules)
        rows += [
            _Row(
                object_id=object_id,
                concept=each.name,
                mask_logits=mask,
                object_score=probability[object_id],
                precedence=probability[object_id],
            )
            for object_id, mask in zip(ids, shown, strict=True)
        ]
    # Objects tracked alone
    names = {each.name for each in planned}
    for place, (cohort, _) in moved.items():
        if cohort.concept not in names:
            rows += [
                _Row(
                    object_id=object_id,
                    concept=cohort.concept or "",
                    mask_logits=mask,
                    object_score=probability[object_id],
                    precedence=float(logits[object_id]),
                )
                for object_id, mask in zip(cohort.object_ids, masks[place], strict=True)
            ]
    return StepResult(
        ids=tuple(row.object_id for row in rows),
        concepts=tuple(row.concept for row in rows),
        mask_logits=torch.stack([row.mask_logits for row in rows]) if rows else torch.zeros(0, 1, 1),
        object_scores=tuple(row.object_score for row in rows),
        precedence=tuple(row.precedence for row in rows),
        hidden=frozenset(object_id for p in planned for object_id in p.plan.hidden),
        unconfirmed=frozenset(t.object_id for p in planned for t in p.plan.state.tracks if not t.is_confirmed),
        removed=frozenset(object_id for p in planned for object_id in p.plan.removed),
    )
