"""Objects that began together and share a memory bank: clicked, given as masks, propagated, remembered.

Every function takes a cohort and returns another; none keeps state. A user's prompt on a frame waits in `prompted`
until tracking begins (`settle`), because only then is it known what the other objects of the cohort look like there.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from masklet.models.click import LOGIT_LIMIT, ClickFeatures
from masklet.models.memory import MemoryTokens, resize_smoothly, stack_reads
from masklet.models.memory_bank import Memory, MemoryBank, Traversal, read_memory, recall, trim, usefulness
from masklet.models.tracker import ABSENT_LOGIT, GIVEN_LOGIT, MASK_CELLS, Tracker, TrackOutput
from masklet.ops.overlaps import keep_topmost_pixels
from masklet.types import ClickPrompt

MAX_POINTS = 16  # of one object on one frame; of more, the first and the last half are used
REACH = 16  # a user prompt demotes detector prompts within this many frames to ordinary memory
_GIVEN_PIXEL = 1024.0  # logit of a pixel of a mask that was given

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class FrameView:
    """A frame as the tracker sees it, and the traversal of the video that it is part of."""

    tracker: Tracker
    features: ClickFeatures
    frame: int
    traversal: Traversal


@dataclass(frozen=True, kw_only=True)
class PromptedMemory:
    """One object of a cohort on a frame that the user prompted; `mask` is the one that they gave, if any."""

    memory: Memory
    mask: Bool[Tensor, "height width"] | None = None


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Objects with one memory bank, in the order of its rows. `prompted` and `points` are by frame, then by object.

    `concept` is the phrase that they belong to, if to any. `prompters` names for each conditioning frame the objects
    that the user or the detector prompted there; they need not be of this cohort any more, see `part`.
    """

    object_ids: tuple[int, ...]
    concept: str | None = None
    bank: MemoryBank = field(default_factory=MemoryBank)
    prompted: Mapping[int, Mapping[int, PromptedMemory]] = field(default_factory=dict)
    points: Mapping[int, Mapping[int, ClickPrompt]] = field(default_factory=dict)
    prompters: Mapping[int, frozenset[int]] = field(default_factory=dict)

    @property
    def has_begun(self) -> bool:
        """Whether it was tracked; from then on no object can join it."""
        return bool(self.bank.conditioning or self.bank.tracked)

    @property
    def orphans(self) -> frozenset[int]:
        """Objects of which no prompt is left, neither in the bank nor waiting: there is nothing to track them by."""
        if self.bank.conditioning:
            return frozenset()
        return frozenset(self.object_ids).difference(*self.prompted.values())

    def join(self, object_id: int) -> "Cohort":
        """The cohort with one object more."""
        return replace(self, object_ids=(*self.object_ids, object_id))

    def without(self, object_ids: Collection[int]) -> "Cohort | None":
        """The cohort without some objects and their prompts; None when no object is left."""
        left = [object_id for object_id in self.object_ids if object_id not in object_ids]
        frames = {*self.prompters, *self.prompted, *self.points}
        return self.without_prompts(object_ids, frames).select(left) if left else None

    def select(self, object_ids: Sequence[int]) -> "Cohort":
        """The cohort of some of its objects; what conditions them stays, whoever was prompted there."""
        if len(object_ids) == len(self.object_ids):
            return self
        rows = [self.object_ids.index(object_id) for object_id in object_ids]
        return replace(
            self,
            object_ids=tuple(object_ids),
            bank=self.bank.select(torch.tensor(rows)),
            prompted=_filter(self.prompted, lambda _, object_id: object_id in object_ids),
            points=_filter(self.points, lambda _, object_id: object_id in object_ids),
        )

    def without_prompts(self, object_ids: Collection[int], frames: Collection[int]) -> "Cohort":
        """The cohort with the prompts of some objects on some frames taken back.

        A conditioning frame on which no object is prompted any more becomes an ordinary one, for all objects. Where
        none is left, those come back that a user's prompt had overruled.
        """

        def stays(frame: int, object_id: int) -> bool:
            return frame not in frames or object_id not in object_ids

        given = {f: frozenset(i for i in ids if stays(f, i)) for f, ids in self.prompters.items()}
        prompters = {frame: ids for frame, ids in given.items() if ids}
        bank = self.bank.demote(frame for frame in given if frame not in prompters)
        return replace(
            self,
            bank=bank if bank.conditioning else bank.promote(prompters),
            prompted=_filter(self.prompted, stays),
            points=_filter(self.points, stays),
            prompters=prompters,
        )

    def is_prompted(self, object_id: int, frame: int) -> bool:
        """Whether the object was prompted on the frame, by the user or the detector."""
        return any(object_id in given.get(frame, ()) for given in (self.prompters, self.prompted))

    def memory_of(self, object_id: int, frame: int) -> Memory | None:
        """The memory of one object on a frame; a user's latest prompt comes before what was tracked."""
        prompted = self.prompted.get(frame, {}).get(object_id)
        if prompted is not None:
            return prompted.memory
        memory = self.bank.get(frame)
        return None if memory is None else take(memory, [self.object_ids.index(object_id)])

    def with_prompted(self, frame: int, object_id: int, memory: PromptedMemory) -> "Cohort":
        """The cohort with what a user prompted on a frame."""
        return replace(self, prompted={**self.prompted, frame: {**self.prompted.get(frame, {}), object_id: memory}})


def take(memory: Memory, rows: Sequence[int]) -> Memory:
    """The memory of some of the objects, without its maps."""
    index = torch.tensor(list(rows), device=memory.mask_logits.device)
    return replace(memory, maps=None).map(lambda tensor: tensor[index])


def _filter(by_frame: Mapping[int, Mapping[int, T]], stays: Callable[[int, int], bool]) -> dict[int, dict[int, T]]:
    """The entries whose frame and object may stay."""
    kept = {f: {i: value for i, value in given.items() if stays(f, i)} for f, given in by_frame.items()}
    return {frame: given for frame, given in kept.items() if given}


# --- prompts of the user -------------------------------------------------------------------------------------------


def click(
    view: FrameView, cohort: Cohort, object_id: int, prompt: ClickPrompt, *, add: bool = False, look_back: bool = False
) -> Cohort:
    """The cohort with one of its objects clicked on.

    They replace earlier clicks on that frame, or come after them (`add`). What the object looked like there is shown to
    the click head as a mask; memories are when `look_back`, which the published model does not do by default.
    """
    frame = view.frame
    earlier = cohort.points.get(frame, {}).get(object_id)
    if add and earlier is not None:
        prompt = ClickPrompt(
            points_xy=torch.cat([earlier.points_xy, prompt.points_xy], dim=1),
            point_labels=torch.cat([earlier.point_labels, prompt.point_labels], dim=1),
        )
    known = cohort.memory_of(object_id, frame)
    mask_logits = None if known is None else known.mask_logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    reads = None
    if look_back and cohort.bank.get(frame) is not None:
        reads = [_look_back_alone(view, cohort, object_id)]
    output = view.tracker.respond(view.features, replace(_limit_points(prompt), mask_logits=mask_logits), reads)
    points = {**cohort.points, frame: {**cohort.points.get(frame, {}), object_id: prompt}}
    return replace(cohort, points=points).with_prompted(frame, object_id, PromptedMemory(memory=_to_memory(output)))


def _look_back_alone(view: FrameView, cohort: Cohort, object_id: int) -> MemoryTokens:
    """What a click attends to: the object's conditioning frames and the frame before, as in the published model."""
    bank = cohort.bank.select(torch.tensor([cohort.object_ids.index(object_id)]))
    unrated = {f: replace(memory, usefulness=None) for f, memory in bank.tracked.items()}
    traversal = replace(view.traversal, reverse=view.frame < min(bank.conditioning, default=view.frame))
    return _read(replace(view, traversal=traversal), replace(bank, tracked=unrated))


def _limit_points(prompt: ClickPrompt) -> ClickPrompt:
    if prompt.points_xy.shape[1] <= MAX_POINTS:
        return prompt
    half = MAX_POINTS // 2
    ends = [*range(half), *range(-half, 0)]
    return ClickPrompt(points_xy=prompt.points_xy[:, ends], point_labels=prompt.point_labels[:, ends])


def draw(view: FrameView, cohort: Cohort, object_id: int, mask: Bool[Tensor, "height width"]) -> Cohort:
    """The cohort with an object given as a mask at the size of the video; other given masks lose its pixels."""
    frame, size = view.frame, view.tracker.memory_size(view.features)
    output = view.tracker.accept(view.features, resize_smoothly(mask[None, None].float(), size)[:, 0])
    for other, prompted in cohort.prompted.get(frame, {}).items():
        if prompted.mask is not None and other != object_id:
            cohort = cohort.with_prompted(frame, other, _with_mask(prompted.memory, prompted.mask & ~mask))
    points = {**cohort.points, frame: {i: p for i, p in cohort.points.get(frame, {}).items() if i != object_id}}
    return replace(cohort, points=points).with_prompted(frame, object_id, _with_mask(_to_memory(output), mask))


def part(cohort: Cohort) -> list[Cohort]:
    """The cohort in parts whose objects are either all prompted or all known on each frame that waits to be settled.

    Whoever was neither would be remembered as absent there, and lost: because it is first prompted on another frame,
    or because that frame was forgotten. See docs/parity.md#prompts-on-different-frames.
    """
    forgotten = [frame for frame in cohort.prompted if cohort.bank.get(frame) is None]
    parts: dict[tuple[int, ...], list[int]] = {}
    for object_id in cohort.object_ids:
        mine = tuple(frame for frame in forgotten if object_id in cohort.prompted[frame])
        parts.setdefault(mine, []).append(object_id)
    return [cohort.select(object_ids) for object_ids in parts.values()]


def settle(view_of: Callable[[int], FrameView], cohort: Cohort) -> Cohort:
    """The cohort with every prompt in its bank: such a frame conditions all objects, also those not prompted there.

    An object that is not known there counts as absent, as in the published model; sessions therefore `part` a cohort
    first. Detector prompts on frames close by become ordinary memory from then on.
    """
    for frame, prompted in sorted(cohort.prompted.items()):
        memories = {object_id: each.memory for object_id, each in prompted.items()}
        cohort = _condition(view_of(frame), cohort, memories, by_user=True)
        overruled = [
            f for f, memory in cohort.bank.conditioning.items() if not memory.by_user and abs(f - frame) <= REACH
        ]
        cohort = replace(cohort, bank=cohort.bank.demote(overruled))
    return replace(cohort, prompted={})


# --- prompts of the detector ---------------------------------------------------------------------------------------


def begin(
    view: FrameView,
    object_ids: Sequence[int],
    mask_logits: Float[Tensor, "object low_height low_width"],
    size: tuple[int, int],
) -> Cohort:
    """A cohort of new detections on a frame. A pixel that several of them claim belongs to the last."""
    cohort = Cohort(object_ids=tuple(object_ids))
    return _condition(view, cohort, _given(view, object_ids, mask_logits, size), by_user=False)


def reprompt(
    view: FrameView,
    cohort: Cohort,
    masks: Mapping[int, Float[Tensor, "low_height low_width"]],
    size: tuple[int, int],
) -> Cohort:
    """The cohort with the detector's masks for some of its objects in place of the tracker's: periodic re-prompting."""
    memories: dict[int, Memory] = {}
    for object_id, mask_logits in masks.items():
        memories |= _given(view, [object_id], mask_logits[None], size)
    return _condition(view, cohort, memories, by_user=False)


def _given(
    view: FrameView,
    object_ids: Sequence[int],
    mask_logits: Float[Tensor, "object low_height low_width"],
    size: tuple[int, int],
) -> dict[int, Memory]:
    """The detector's masks as memories; where several claim a pixel, earlier ones yield."""
    memory_size = view.tracker.memory_size(view.features)
    masks = F.interpolate(mask_logits[:, None].float(), memory_size, mode="bilinear", align_corners=False) > 0
    memory = _to_memory(view.tracker.accept(view.features, masks[:, 0].float()))
    pixels = resize_smoothly(masks.float(), size)[:, 0] > 0.5
    memories = {}
    for row, object_id in enumerate(object_ids):
        mine = pixels[row] & ~pixels[row + 1 :].any(dim=0)
        memories[object_id] = _with_mask(take(memory, [row]), mine).memory
    return memories


def _with_mask(memory: Memory, mask: Bool[Tensor, "height width"]) -> PromptedMemory:
    logits = torch.where(mask, _GIVEN_PIXEL, -_GIVEN_PIXEL)[None, None]
    low_size = (memory.mask_logits.shape[-2], memory.mask_logits.shape[-1])
    return PromptedMemory(memory=replace(memory, mask_logits=resize_smoothly(logits, low_size)[:, 0]), mask=mask)


def _condition(view: FrameView, cohort: Cohort, memories: Mapping[int, Memory], *, by_user: bool) -> Cohort:
    """The cohort conditioned by the frame: given memories first, then known ones, then unknown objects."""
    tracker, known = view.tracker, cohort.bank.get(view.frame)
    rows = []
    for row, object_id in enumerate(cohort.object_ids):
        if object_id in memories:
            rows.append(memories[object_id])
        else:
            rows.append(_unknown(view) if known is None else take(known, [row]))
    memory = Memory(
        mask_logits=torch.cat([row.mask_logits for row in rows]),
        object_logits=torch.cat([row.object_logits for row in rows]),
        pointers=torch.cat([row.pointers for row in rows]),
    )
    masks = keep_topmost_pixels(tracker.enlarge(memory.mask_logits))
    binary = torch.ones_like(memory.object_logits, dtype=torch.bool)
    maps = tracker.remember(view.features, masks, memory.object_logits, binary)
    by_user = by_user or (known is not None and known.by_user)
    bank = cohort.bank.with_conditioning(view.frame, replace(memory, maps=maps, by_user=by_user))
    prompters = cohort.prompters.get(view.frame, frozenset()).union(memories)
    return replace(cohort, bank=bank, prompters={**cohort.prompters, view.frame: prompters})


def _unknown(view: FrameView) -> Memory:
    """An object on a frame that it is not known of. It counts as visible, as in the published model, with no pixel."""
    height, width = view.features.coarse.shape[-2:]
    pointer = view.tracker.memory.unseen_pointer
    return Memory(
        mask_logits=torch.full((1, MASK_CELLS * height, MASK_CELLS * width), ABSENT_LOGIT, device=pointer.device),
        object_logits=torch.full((1,), GIVEN_LOGIT, device=pointer.device),
        pointers=pointer[None].float(),
    )


# --- tracking -----------------------------------------------------------------------------------------------------


def propagate(view: FrameView, cohorts: Sequence[Cohort]) -> list[Memory]:
    """All objects of all cohorts on the frame, as memories without maps, in one pass through the network.

    A cohort that the frame conditions gives what is known of it. Those that recall as many maps and pointers stand
    side by side in the attention.
    """
    known = {
        i: cohort.bank.conditioning[view.frame]
        for i, cohort in enumerate(cohorts)
        if view.frame in cohort.bank.conditioning
    }
    reads: dict[tuple[int, int], dict[int, MemoryTokens]] = {}
    for i, cohort in enumerate(cohorts):
        if i not in known:
            read = _read(view, cohort.bank)
            reads.setdefault((read.num_cells, read.values.shape[1]), {})[i] = read
    if reads:
        order = [i for group in reads.values() for i in group]
        output = view.tracker.track(view.features, [stack_reads(list(group.values())) for group in reads.values()])
        sizes = [len(cohorts[i].object_ids) for i in order]
        known |= dict(zip(order, _to_memories(output, sizes), strict=True))
    return [replace(known[i], maps=None) for i in range(len(cohorts))]


def remember(
    view: FrameView,
    cohorts: Sequence[Cohort],
    memories: Sequence[Memory],
    mask_logits: Float[Tensor, "object any_height any_width"],
    object_logits: Float[Tensor, " object"],
    keep: Collection[int] = (),
) -> list[Cohort]:
    """The cohorts with the frame in their banks, remembered with these masks, which may differ from what was tracked.

    Objects run through the cohorts in order. Those of `keep` have just been given by the detector, and what is
    remembered of them stays: docs/parity.md#re-prompting.
    """
    binary = torch.zeros_like(object_logits, dtype=torch.bool)
    maps = view.tracker.remember(view.features, mask_logits, object_logits, binary)
    parts = maps.split([len(cohort.object_ids) for cohort in cohorts])
    return [
        replace(cohort, bank=_store(cohort, view.frame, memory, part, keep))
        for cohort, memory, part in zip(cohorts, memories, parts, strict=True)
    ]


def _store(
    cohort: Cohort,
    frame: int,
    memory: Memory,
    maps: Float[Tensor, "object memory_dim height width"],
    keep: Collection[int],
) -> MemoryBank:
    given = cohort.bank.conditioning.get(frame)
    if given is None:
        return cohort.bank.with_tracked(frame, replace(memory, maps=maps))
    assert given.maps is not None  # a conditioning frame keeps its maps
    kept = torch.tensor([object_id in keep for object_id in cohort.object_ids], device=maps.device)
    return cohort.bank.with_tracked(
        frame, replace(given, maps=torch.where(kept[:, None, None, None], given.maps, maps.to(given.maps.dtype)))
    )


def forget(cohort: Cohort, view: FrameView, keep: int) -> Cohort:
    """The cohort after the frame, with no more in its bank than is needed: see `memory_bank.trim`."""
    bank = trim(cohort.bank, view.frame, view.tracker.memory.config, view.traversal, keep)
    prompters = {frame: ids for frame, ids in cohort.prompters.items() if bank.get(frame) is not None}
    return replace(cohort, bank=bank, prompters=prompters)


def _read(view: FrameView, bank: MemoryBank) -> MemoryTokens:
    network = view.tracker.memory
    return read_memory(network, recall(bank, view.frame, network.config, view.traversal), view.traversal)


def _to_memory(output: TrackOutput) -> Memory:
    return Memory(mask_logits=output.mask_logits, object_logits=output.object_logits, pointers=output.pointers)


def _to_memories(output: TrackOutput, sizes: Sequence[int]) -> list[Memory]:
    """One memory for each cohort, with how visible its objects are."""
    memory, start, memories = _to_memory(output), 0, []
    for size in sizes:
        rows = slice(start, start + size)
        score = usefulness(output.iou_scores[rows], output.object_logits[rows])
        memories.append(replace(memory.map(lambda tensor, rows=rows: tensor[rows]), usefulness=score))
        start += size
    return memories
