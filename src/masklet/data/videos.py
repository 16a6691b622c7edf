"""Labelled videos, as clips to track in and as images to detect in."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32

from masklet.cached import cached
from masklet.data.clip_transforms import ClipAugmentConfig, augment_clip, with_masks
from masklet.data.schema import Clip, Example
from masklet.data.transforms import Placement, place_image, place_masks
from masklet.errors import InputError

LONGEST_STRIDE = 5  # as the dataset class of SAM 3 draws it
LEAST_CROP = 0.6


@runtime_checkable
class LabelledVideos(Protocol):
    """Labelled videos."""

    def __len__(self) -> int:
        """Number of videos."""
        ...

    def num_frames(self, video: int) -> int:
        """Labelled frames of a video."""
        ...

    def name(self, video: int, frame: int) -> str:
        """The name of a frame in messages."""
        ...

    def frames(self, video: int, chosen: Sequence[int], rng: np.random.Generator) -> tuple[Example, ...]:
        """Some frames, with the same objects in the same order; an object that cannot be seen has an empty mask.

        Raises: InputError naming the file and the record.
        """
        ...


@dataclass(frozen=True)
class VideoFrames:
    """The labelled frames of videos, one by one, as images: a source of examples."""

    videos: LabelledVideos

    @cached
    def _ends(self) -> np.ndarray:
        return np.cumsum([self.videos.num_frames(video) for video in range(len(self.videos))])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def name(self, index: int) -> str:
        """The name in messages of frame `index` of all videos in a row."""
        return self.videos.name(*self._place(index))

    def sample(self, rng: np.random.Generator) -> Example:
        """A random frame of a random video, so that long ones do not outweigh short ones."""
        video = int(rng.integers(len(self.videos)))
        return self._read(video, int(rng.integers(self.videos.num_frames(video))), rng)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Frame `index` of all videos in a row, with the objects that can be seen in it."""
        return self._read(*self._place(index), rng)

    def _place(self, index: int) -> tuple[int, int]:
        video = int(np.searchsorted(self._ends, index, side="right"))
        return video, index - int(self._ends[video - 1] if video else 0)

    def _read(self, video: int, frame: int, rng: np.random.Generator) -> Example:
        (whole,) = self.videos.frames(video, [frame], rng)
        seen = is_seen(whole.boxes_xyxy)
        index = (np.cumsum(seen) - 1).tolist()
        queries = (replace(q, object_index=tuple(index[i] for i in q.object_index)) for q in whole.queries)
        return replace(
            whole,
            boxes_xyxy=whole.boxes_xyxy[seen],
            masks=whole.masks[seen],
            mask_valid=whole.mask_valid[seen],
            queries=tuple(queries),
        )


@dataclass(frozen=True, kw_only=True)
class VideoClips:
    """Clips of videos: `num_frames` square frames of `size` pixels.

    Frames lie 1 to `LONGEST_STRIDE` labelled frames apart, fewer in short videos (the dataset class of SAM 3); all
    frames of a clip are cropped alike, and then augmented.
    """

    videos: LabelledVideos
    size: int
    num_frames: int
    augment: ClipAugmentConfig | None = None
    tries: int = 50

    def sample(self, rng: np.random.Generator) -> Clip:
        """A clip of a random video, whose first frame shows an object.

        Raises: InputError when no video is long enough, or `tries` clips in a row begin with an empty frame.
        """
        long_enough = [v for v in range(len(self.videos)) if self.videos.num_frames(v) >= self.num_frames]
        if not long_enough:
            longest = max(self.videos.num_frames(video) for video in range(len(self.videos)))
            raise InputError(f"clips have {self.num_frames} frames, and the longest video {longest}")
        for _ in range(self.tries):
            video = long_enough[int(rng.integers(len(long_enough)))]
            chosen = draw_frames(self.videos.num_frames(video), self.num_frames, rng)
            clip = frame_clip(self.videos.frames(video, chosen, rng), self.size, rng)
            clip = clip if self.augment is None else augment_clip(clip, self.augment, rng)
            if clip.frames[0].masks.any():
                return clip
        raise InputError(f"none of {self.tries} clips shows an object in its first frame")


def draw_frames(available: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """Frames of a video at an even distance."""
    longest = min(LONGEST_STRIDE, (available - 1) // max(1, wanted - 1))
    stride = int(rng.integers(1, max(1, longest) + 1))
    start = int(rng.integers(available - (wanted - 1) * stride))
    return [start + stride * index for index in range(wanted)]


def frame_clip(frames: Sequence[Example], size: int, rng: np.random.Generator) -> Clip:
    """The frames as squares: the same window of each, resized. No phrases are asked."""
    height, width = frames[0].image.shape[:2]
    columns, rows = (max(1, round(side * rng.uniform(LEAST_CROP, 1))) for side in (width, height))
    left, top = int(rng.integers(width - columns + 1)), int(rng.integers(height - rows + 1))
    placement = Placement(window=(left, top, left + columns, top + rows), rectangle=(0, 0, size, size))
    placed = (
        with_masks(frame, place_image(frame.image, placement, size), place_masks(frame.masks, placement, size))
        for frame in frames
    )
    return Clip(frames=tuple(placed))


def is_seen(boxes_xyxy: Float32[np.ndarray, "object 4"]) -> Bool[np.ndarray, " object"]:
    """Which boxes have an area."""
    return np.array((boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1))
