"""Results of frames already processed, so that a correction tracks only what it touches and the rest is shown again.

Bounded: beyond the limit the frames visited longest ago are forgotten. Images are not kept.
"""

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.records import FrameRecord


class History:
    """Records by frame. `limit` is in frames; None keeps all."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.records: dict[int, FrameRecord] = {}

    def store(self, record: FrameRecord) -> None:
        """Keeps a frame in place of what was known of it."""
        self.records.pop(record.frame, None)
        self.records[record.frame] = replace(record, result=replace(record.result, image=None))
        while self.limit is not None and len(self.records) > self.limit:
            self.records.pop(next(iter(self.records)))

    def drop(self, object_ids: Collection[int], frames: Collection[int] | None = None) -> None:
        """Forgets objects, on some frames or on all."""
        for frame, record in self.records.items():
            if (frames is None or frame in frames) and set(object_ids) & set(record.result.ids.tolist()):
                self.records[frame] = replace(record, result=without(record.result, object_ids))


def update(known: FrameRecord, fresh: FrameRecord, object_ids: Collection[int]) -> FrameRecord:
    """The fresh record of `object_ids`, and of all others what was known."""
    touched = frozenset(object_ids)
    result = fresh.result[np.isin(fresh.result.ids, list(touched))]
    return FrameRecord(
        result=join(without(known.result, touched), result),
        hidden=(known.hidden - touched) | (fresh.hidden & touched),
        unconfirmed=(known.unconfirmed - touched) | (fresh.unconfirmed & touched),
    )


def without(result: FrameResult, object_ids: Collection[int]) -> FrameResult:
    """A result without some objects."""
    return result[~np.isin(result.ids, list(object_ids))]


def join(result: FrameResult, other: FrameResult) -> FrameResult:
    """The objects of two results of one frame, by ascending id."""
    joined = replace(
        result,
        ids=np.concatenate([result.ids, other.ids]),
        concepts=result.concepts + other.concepts,
        scores=np.concatenate([result.scores, other.scores]),
        object_scores=np.concatenate([result.object_scores, other.object_scores]),
        precedence=np.concatenate([result.precedence, other.precedence]),
        rles=result.rles + other.rles,
        clicked=result.clicked | other.clicked,
        image=other.image if result.image is None else result.image,
    )
    return joined[np.argsort(joined.ids, kind="stable")]
