"""From processed frames to what the caller sees: the delay, who is shown, and to whom a pixel belongs.

A frame waits for the confirmation delay; a masklet that ends while it waits was never shown at all. The state here is
immutable: pushing a frame gives another buffer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from masklet.inference.rules import Rules
from masklet.ops.masks import mask_to_box, resize_mask_logits
from masklet.ops.overlaps import resolve_overlaps


@dataclass(frozen=True, kw_only=True)
class FrameRecord:
    """What one processed frame adds to the output; ids are of every masklet that lived on it, those ending included."""

    frame: int
    object_ids: tuple[int, ...]
    mask_logits: Float[Tensor, "object height width"]  # low resolution, in the order of the ids
    birth_scores: tuple[float | int, ...]  # the score that is reported
    tracker_scores: tuple[float | int, ...]  # probability that the object is there; decides who is in front
    hidden: frozenset[int] = field(default_factory=frozenset)  # suppressed on this frame
    unconfirmed: frozenset[int] = field(default_factory=frozenset)
    removed: frozenset[int] = field(default_factory=frozenset)  # ended on this frame, or since


@dataclass(frozen=True, kw_only=True)
class VisibleObjects:
    """What is shown on one frame, by ascending id."""

    frame: int
    object_ids: tuple[int, ...]
    scores: tuple[float | int, ...]
    boxes_xyxy: Float32[Tensor, "object 4"]  # pixels; around the whole object, also what another hides
    masks: Bool[Tensor, "object height width"]  # disjoint


@dataclass(frozen=True, kw_only=True)
class DelayBuffer:
    """Frames that wait to be shown, oldest first. A new propagation starts with a new one."""

    delay: int
    look_ahead: int
    waiting: tuple[FrameRecord, ...] = ()
    removed: frozenset[int] = field(default_factory=frozenset)

    @classmethod
    def of(cls, rules: Rules) -> "DelayBuffer":
        """An empty buffer. A masklet confirmed on the n-th detection in a row is shown from the first on."""
        return cls(delay=rules.confirmation_delay, look_ahead=max(rules.confirm_after - 1, 0))

    def push(self, record: FrameRecord) -> tuple["DelayBuffer", tuple[FrameRecord, ...]]:
        """The buffer with one more frame, and the frames whose wait is over."""
        buffer = replace(self, waiting=(*self.waiting, record), removed=self.removed | record.removed)
        return buffer._release(max(len(buffer.waiting) - max(self.delay, 1) + 1, 0))

    def flush(self) -> tuple["DelayBuffer", tuple[FrameRecord, ...]]:
        """An empty buffer, and all frames that waited: no more will come."""
        return self._release(len(self.waiting))

    def _release(self, count: int) -> tuple["DelayBuffer", tuple[FrameRecord, ...]]:
        released = tuple(self._as_seen_now(index) for index in range(count))
        return replace(self, waiting=self.waiting[count:]), released

    def _as_seen_now(self, index: int) -> FrameRecord:
        """A waiting frame with what was learned since: who ended, and who was confirmed a few frames on."""
        ahead = self.waiting[min(index + self.look_ahead, len(self.waiting) - 1)]
        return replace(self.waiting[index], removed=self.removed, unconfirmed=ahead.unconfirmed)


def visible_objects(record: FrameRecord, height: int, width: int) -> VisibleObjects:
    """The objects shown on a frame, at the size of the video.

    Left out are masklets that are hidden, unconfirmed, removed or empty at this size. Boxes are those of the masks
    before overlaps are resolved.
    """
    absent = record.hidden | record.unconfirmed | record.removed
    rows = [row for row, object_id in enumerate(record.object_ids) if object_id not in absent]
    masks = resize_mask_logits(record.mask_logits[rows], height, width)
    boxes = [mask_to_box(mask) for mask in masks.cpu().numpy()]
    kept = [index for index, box in enumerate(boxes) if box is not None]
    kept.sort(key=lambda index: record.object_ids[rows[index]])
    shown = [rows[index] for index in kept]
    return VisibleObjects(
        frame=record.frame,
        object_ids=tuple(record.object_ids[row] for row in shown),
        scores=tuple(record.birth_scores[row] for row in shown),
        boxes_xyxy=torch.tensor([boxes[index] for index in kept], dtype=torch.float32).reshape(-1, 4),
        masks=resolve_overlaps(masks[kept], _numbers(record.tracker_scores, shown)),
    )


def _numbers(values: Sequence[float | int], rows: Sequence[int]) -> Float[Tensor, " object"]:
    return torch.tensor([values[row] for row in rows], dtype=torch.float32)
