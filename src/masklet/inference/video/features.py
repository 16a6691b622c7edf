"""Frames as the model sees them: encoded when they are first needed, the last few cached."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import UInt8

from masklet.cached import cached
from masklet.errors import InputError
from masklet.inference.predictor import Predictor
from masklet.media.frames import ASSUMED_FPS, Frame, FrameSource
from masklet.media.images import preprocess
from masklet.models.click import ClickFeatures
from masklet.models.detector import ImageFeatures
from masklet.models.vision import TrunkMaps

CACHED_FRAMES = 4  # frames whose features stay: about 25 MB each at full size


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameFeatures:
    """A frame and its features, each computed at its first use from one pass through the trunk."""

    predictor: Predictor
    frame: Frame

    @cached
    def _trunk(self) -> TrunkMaps:
        with torch.inference_mode():
            pixels = preprocess(self.frame.pixels, self.predictor.image_size)[None].to(self.predictor.device)
            return self.predictor.detector.vision.trunk(pixels)

    @cached
    def for_detector(self) -> ImageFeatures:
        """What the detector needs."""
        with torch.inference_mode():
            return self.predictor.detector.prepare(self._trunk)

    @cached
    def for_tracker(self) -> ClickFeatures:
        """What the tracker and its click head need."""
        with torch.inference_mode():
            return self.predictor.detector.tracker.tracker_features(self._trunk)


class FrameCache:
    """The frames of a source, or those that are pushed when there is none."""

    def __init__(self, predictor: Predictor, source: FrameSource | None) -> None:
        self.predictor, self.source = predictor, source
        self.num_pushed = 0
        self.pushed_size: tuple[int, int] | None = None
        self.held: dict[int, FrameFeatures] = {}
        self._is_closed = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width. Raises: InputError when no frame was pushed yet."""
        if self.source is not None:
            return self.source.size
        if self.pushed_size is None:
            raise InputError("no frame was pushed yet")
        return self.pushed_size

    @property
    def fps(self) -> float | None:
        """Frames a second, where they are known."""
        return None if self.source is None else self.source.fps

    @property
    def num_frames(self) -> int | None:
        """Length, where it is known."""
        return None if self.source is None else self.source.num_frames

    @property
    def has_begun(self) -> bool:
        """Whether there is a frame: always of a source, of a live stream once the first one was pushed."""
        return self.source is not None or self.pushed_size is not None

    @property
    def has_ended(self) -> bool:
        """Whether the source was a stream and its last frame has passed."""
        return self.source is not None and not self.source.seekable and self.source.num_frames is not None

    def at(self, index: int | None) -> FrameFeatures:
        """A frame by number; None is the one used last, or the first. Raises: InputError when it is not there."""
        self.check_open()
        if index is None:
            index = next(reversed(self.held), 0)
        if index in self.held:
            return self.held[index]
        if self.source is None:
            raise InputError(f"frame {index} is not there: of a live stream only the last frames can be prompted")
        return self.hold(self.source.read(index))

    def frames(self, start: int, stop: int | None, step: int, *, reverse: bool) -> Iterator[Frame]:
        """Frames from `start` on in either direction, until before `stop`. Raises: InputError."""
        self.check_open()
        if self.source is None:
            raise InputError("this session has no video: give its frames to push()")
        if not reverse:
            return self.source.frames(start, stop, step)
        if start < 0:
            return iter(())
        last = 0 if stop is None else stop + 1
        return self.source.frames(last + (start - last) % step, start + 1, step, reverse=True)

    def hold(self, frame: Frame) -> FrameFeatures:
        """The frame with its features, which may still be cached from before."""
        features = self.held.pop(frame.index, None) or FrameFeatures(predictor=self.predictor, frame=frame)
        self.held[frame.index] = features
        while len(self.held) > CACHED_FRAMES:
            self.held.pop(next(iter(self.held)))
        return features

    def push(self, pixels: UInt8[np.ndarray, "height width 3"], time: float | None) -> FrameFeatures:
        """The next frame of a live stream. Raises: InputError when it differs in size from the others."""
        self.check_open()
        if self.source is not None:
            raise InputError("this session reads a video: use track(), or open one without a source to push frames")
        size = (pixels.shape[0], pixels.shape[1])
        if self.pushed_size not in (None, size):
            raise InputError(f"the frame is {size}, the stream {self.pushed_size} (height, width)")
        self.pushed_size = size
        index = self.num_pushed
        self.num_pushed += 1
        return self.hold(Frame(index=index, time=index / ASSUMED_FPS if time is None else time, pixels=pixels))

    def pixels(self, index: int) -> UInt8[np.ndarray, "height width 3"] | None:
        """The image of an earlier frame, where it is at hand or can be read again."""
        if index in self.held:
            return self.held[index].frame.pixels
        return self.source.read(index).pixels if self.source is not None and self.source.seekable else None

    def close(self) -> None:
        """Closes the video and frees all features."""
        self._is_closed = True
        self.held.clear()
        if self.source is not None:
            self.source.close()

    def check_open(self) -> None:
        """Raises: InputError after `close`."""
        if self._is_closed:
            raise InputError("the session is closed")
