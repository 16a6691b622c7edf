"""Clips of one shot each: a video is cut where the picture changes at once, and what hardly moves is left out.

Source: SAM 3 paper, appendix D: single-shot clips of 5 to 30 seconds with motion.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

SIDE = 24  # of what frames are compared at
BINS = 8  # of each colour
CUT = 0.45  # share of pixels whose colours change at once
LEAST_MOTION = 0.6  # mean change between frames, of 255
Small = UInt8[np.ndarray, "24 24 3"]


@dataclass(frozen=True, kw_only=True)
class ClipLimits:
    """Frames a second that are kept, and the seconds of a clip."""

    fps: float = 6.0
    least_seconds: float = 5.0
    most_seconds: float = 30.0


@dataclass(frozen=True, kw_only=True)
class Shot:
    """Frames from `start` to before `stop`, and how much they move."""

    start: int
    stop: int
    motion: float


def shrink(image: UInt8[np.ndarray, "height width 3"]) -> Small:
    """What frames are compared at."""
    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX))


def change(before: Small, after: Small) -> float:
    """The share of pixels whose colour has no counterpart in the other frame, wherever it stood."""
    first, second = (_histogram(each) for each in (before, after))
    return 1 - float(np.minimum(first, second).sum())


def _histogram(image: Small) -> Float[np.ndarray, " bin"]:
    places = (image.astype(int) * BINS // 256) @ np.array([BINS * BINS, BINS, 1])
    return np.bincount(places.ravel(), minlength=BINS**3) / places.size


def find_shots(frames: Sequence[Small], limits: ClipLimits) -> list[Shot]:
    """The shots that are long enough and move, long ones in parts."""
    cuts = [n for n in range(1, len(frames)) if change(frames[n - 1], frames[n]) > CUT]
    least, most = round(limits.least_seconds * limits.fps), round(limits.most_seconds * limits.fps)
    found = []
    for start, stop in zip([0, *cuts], [*cuts, len(frames)], strict=True):
        for first in range(start, stop, most):
            last = min(stop, first + most)
            motion = motion_of(frames[first:last])
            if last - first >= max(2, least) and motion >= LEAST_MOTION:
                found.append(Shot(start=first, stop=last, motion=round(motion, 3)))
    return found


def motion_of(frames: Sequence[Small]) -> float:
    """The mean change of values from frame to frame."""
    if len(frames) < 2:
        return 0.0
    return float(np.abs(np.diff(np.stack(frames).astype(float), axis=0)).mean())
