"""Masklets in the ledger: one row a masklet, drawn where it is largest, with all its frames in a blob of its own.

So a masklet is proposed, judged, corrected and finalised as a mask is.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from masklet.engine.blobs import Blobs
from masklet.engine.records import MaskRow
from masklet.errors import InputError
from masklet.ops.masks import mask_to_box, rle_area, rle_decode

SAME_VOLUME = 0.5
WHOLE_SCENE = 0.8  # of a frame, from which a masklet is no thing in it
STEP = 30  # frames between those whose presence is asked first
PRESENT, ABSENT = 0.6, 0.2


@dataclass(frozen=True, kw_only=True)
class ClipMasklet:
    """Run lengths of an object by frame, in a clip of this size; score in [0, 1]."""

    frames: Mapping[int, str]
    size: tuple[int, int]
    score: float

    def area(self) -> int:
        """Pixels over all frames."""
        return sum(rle_area(counts) for counts in self.frames.values())


def to_mask_row(masklet: ClipMasklet, blobs: Blobs) -> MaskRow:
    """The row of a masklet; its frames go to the blobs. It must hold a pixel."""
    key = max(masklet.frames, key=lambda frame: (rle_area(masklet.frames[frame]), -frame))
    box = mask_to_box(rle_decode(masklet.frames[key], *masklet.size))
    assert box is not None, "a masklet without pixels is no masklet"
    text = json.dumps({str(frame): counts for frame, counts in sorted(masklet.frames.items())}, sort_keys=True)
    x0, y0, x1, y1 = (float(value) for value in box)
    return MaskRow(
        counts=masklet.frames[key],
        size=masklet.size,
        box=(x0, y0, x1, y1),
        score=masklet.score,
        frame=key,
        track=blobs.put(text.encode()),
    )


def from_mask_row(row: MaskRow, blobs: Blobs) -> ClipMasklet:
    """The masklet of a row. Raises: InputError when its frames are missing."""
    if row.track is None:
        raise InputError("a mask of an image is no masklet: got one without frames, expected those of a clip")
    frames: dict[str, Any] = json.loads(blobs.get(row.track))
    return ClipMasklet(frames={int(n): counts for n, counts in frames.items()}, size=row.size, score=row.score)


def volume_iou(first: ClipMasklet, second: ClipMasklet) -> float:
    """Intersection over union of pixels of all frames."""
    both = 0
    for frame in first.frames.keys() & second.frames.keys():
        left, right = (rle_decode(each.frames[frame], *each.size) for each in (first, second))
        both += int((left & right).sum())
    union = first.area() + second.area() - both
    return both / union if union else 0.0


def clean(masklets: Sequence[ClipMasklet]) -> list[ClipMasklet]:
    """Without empty ones, those of the whole scene, and the worse of two that are the same; best first."""
    kept: list[ClipMasklet] = []
    for each in sorted(masklets, key=lambda each: -each.score):
        pixels = each.size[0] * each.size[1]
        if not each.area() or each.area() > WHOLE_SCENE * pixels * len(each.frames):
            continue
        if all(volume_iou(each, other) < SAME_VOLUME for other in kept):
            kept.append(each)
    return kept


@dataclass(frozen=True, kw_only=True)
class FrameRange:
    """Frames from `first` to `last`, both in it, where a phrase is present, absent, a candidate, or unknown."""

    first: int
    last: int
    kind: str


def find_ranges(presence: Callable[[int], float], num_frames: int, step: int = STEP) -> list[FrameRange]:
    """Where a phrase is present: every `step` frames are asked, and edges are narrowed by bisection.

    Between two frames of one kind that were asked, the frames are taken for the same.
    """
    asked = sorted({*range(0, num_frames, step), num_frames - 1})
    known = {frame: _kind(presence(frame)) for frame in asked}
    edges: list[tuple[int, str]] = [(0, known[0])]
    for left, right in pairwise(asked):
        low, high = left, right
        while known[left] != known[right] and high - low > 1:
            middle = (low + high) // 2
            known[middle] = _kind(presence(middle))
            low, high = (middle, high) if known[middle] == known[left] else (low, middle)
        if known[left] != known[right]:
            edges.append((high, known[high]))
            if known[high] != known[right]:
                edges.append((right, known[right]))
    starts = [first for first, _ in edges] + [num_frames]
    return [FrameRange(first=first, last=starts[place + 1] - 1, kind=kind) for place, (first, kind) in enumerate(edges)]


def _kind(presence: float) -> str:
    if not np.isfinite(presence):
        return "unknown"
    return "present" if presence >= PRESENT else "absent" if presence <= ABSENT else "candidate"
