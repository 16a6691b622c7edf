"""From tracked frames to the caller: results wait for the delay, are corrected by later prompts, and are given once.

What is decided goes into the history, so that a correction tracks only what it touches and the rest is shown again.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import UInt8

from masklet.inference.video.emission import DelayBuffer, shown
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.history import History
from masklet.inference.video.records import FrameRecord
from masklet.models.memory_bank import Traversal

Pixels = UInt8[np.ndarray, "height width 3"]


@dataclass(kw_only=True)
class ResultQueue:
    """`buffer` holds what was tracked on `traversal` and waits; `due` no longer waits and was not given yet."""

    history: History
    buffer: DelayBuffer
    traversal: Traversal = field(default_factory=Traversal)
    due: list[FrameRecord] = field(default_factory=list)
    ended: set[int] = field(default_factory=set)  # ids that no object has any more

    @property
    def pending(self) -> tuple[FrameRecord, ...]:
        """What was tracked and not given yet, in this order."""
        return (*self.due, *self.buffer.waiting)

    def continues(self, start: int, traversal: Traversal, stale: Collection) -> bool:
        """Whether a run from here goes on with what is pending, which no prompt has changed since (`stale`)."""
        pending = self.pending
        is_same_way = replace(self.traversal, num_frames=traversal.num_frames) == traversal
        return bool(pending) and pending[0].frame == start and is_same_way and not (self.due and stale)

    def restart(self, buffer: DelayBuffer, scores: Mapping[int, float]) -> None:
        """Drops what is pending: the history has it. Later frames wait in the given buffer."""
        self.decide(scores)
        self.due.clear()
        self.buffer = buffer

    def wait(self, record: FrameRecord, scores: Mapping[int, float]) -> None:
        """Lets a tracked frame wait; frames whose wait is over become due."""
        self.buffer, ready = self.buffer.push(record)
        self.due += [self.keep(each, scores) for each in ready]

    def decide(self, scores: Mapping[int, float]) -> None:
        """Makes all frames due that wait."""
        self.buffer, ready = self.buffer.flush()
        self.due += [self.keep(each, scores) for each in ready]

    def keep(self, record: FrameRecord, scores: Mapping[int, float]) -> FrameRecord:
        """Takes a decided frame into the history, with the scores that its masklets have by now."""
        known = [scores.get(object_id, 0.0) for object_id in record.result.ids.tolist()]
        record = replace(record, result=replace(record.result, scores=np.array(known, dtype=np.float32)))
        self.history.store(record)
        return record

    def preview(self, record: FrameRecord, scores: Mapping[int, float]) -> FrameResult:
        """What a prompt shows at once: nothing waits, and the frame still has to be tracked."""
        return shown(self.keep(replace(record, unconfirmed=frozenset()), scores), self.ended)

    def take_due(self, pixels_of: Callable[[int], Pixels | None]) -> Iterator[FrameResult]:
        """Gives what is due, as it is known by now: a prompt may have changed it."""
        while self.due:
            record = self.due.pop(0)
            known = self.history.records.get(record.frame, record)
            image = pixels_of(record.frame) if record.result.image is None else record.result.image
            result = replace(known.result, image=image)
            yield shown(replace(known, result=result, unconfirmed=record.unconfirmed), self.ended)

    def forget(self, object_ids: Collection[int]) -> None:
        """Ends objects: none of their results is shown any more."""
        self.history.drop(object_ids)
        self.ended |= set(object_ids)
