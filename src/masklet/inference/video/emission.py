"""From processed frames to what the caller sees: the delay, and which masklets are shown.

A frame waits for the confirmation delay; a masklet that ends while it waits was never shown at all. The state here is
immutable: pushing a frame gives another buffer.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from masklet.inference.rules.rules import Rules
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.records import FrameRecord


@dataclass(frozen=True, kw_only=True)
class DelayBuffer:
    """Frames that wait to be shown, oldest first. A new propagation starts with a new one."""

    delay: int
    look_ahead: int
    waiting: tuple[FrameRecord, ...] = ()

    @classmethod
    def of(cls, rules: Rules) -> "DelayBuffer":
        """An empty buffer. A masklet confirmed on the n-th detection in a row is shown from the first on."""
        return cls(delay=rules.confirmation_delay, look_ahead=max(rules.confirm_after - 1, 0))

    def push(self, record: FrameRecord) -> tuple["DelayBuffer", tuple[FrameRecord, ...]]:
        """The buffer with one more frame, and the frames whose wait is over."""
        buffer = replace(self, waiting=(*self.waiting, record))
        return buffer._release(max(len(buffer.waiting) - max(self.delay, 1) + 1, 0))

    def flush(self) -> tuple["DelayBuffer", tuple[FrameRecord, ...]]:
        """An empty buffer, and all frames that waited: no more will come."""
        return self._release(len(self.waiting))

    def _release(self, count: int) -> tuple["DelayBuffer", tuple[FrameRecord, ...]]:
        # A masklet that is confirmed a few frames on is shown from its first frame.
        ahead = (self.waiting[min(index + self.look_ahead, len(self.waiting) - 1)] for index in range(count))
        released = tuple(replace(r, unconfirmed=a.unconfirmed) for r, a in zip(self.waiting, ahead, strict=False))
        return replace(self, waiting=self.waiting[count:]), released


def shown(record: FrameRecord, ended: Collection[int]) -> FrameResult:
    """The masklets of a frame that are shown, by ascending id: none hidden, unconfirmed, or `ended` since."""
    ids = record.result.ids
    kept = [
        row
        for row in np.argsort(ids, kind="stable").tolist()
        if ids[row] not in record.hidden and ids[row] not in record.unconfirmed and ids[row] not in ended
    ]
    return record.result[kept]
