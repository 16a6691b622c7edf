"""Frames as the model sees them: encoded when they are first needed, the last few remembered."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from masklet.errors import InputError
from masklet.inference.frames import ASSUMED_FPS, Frame, FrameSource
from masklet.inference.image import Model
from masklet.inference.media import preprocess
from masklet.models.click import ClickFeatures
from masklet.models.detector import ImageFeatures

_REMEMBERED = 4  # frames whose features stay: about 25 MB each at full size


@dataclass(frozen=True, kw_only=True, eq=False)
class Seen:
    """A frame and its features, each computed at its first use from one pass through the trunk."""

    model: Model
    frame: Frame

    @cached_property
    def _trunk(self) -> Tensor:
        with torch.inference_mode():
            pixels = preprocess(self.frame.pixels, self.model.image_size)[None].to(self.model.device)
            return self.model.detector.vision.trunk(pixels)

    @cached_property
    def features(self) -> ImageFeatures:
        """What the detector needs."""
        with torch.inference_mode():
            return self.model.detector.prepare(self._trunk)

    @cached_property
    def look(self) -> ClickFeatures:
        """What the tracker needs."""
        with torch.inference_mode():
            return self.model.detector.tracker.look(self._trunk)


class Sight:
    """The frames of a source, or those that are pushed when there is none."""

    def __init__(self, model: Model, source: FrameSource | None) -> None:
        self.model, self.source = model, source
        self._held: dict[int, Seen] = {}
        self.num_pushed = 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width. Raises: InputError when no frame was pushed yet."""
        if self.source is not None:
            return self.source.size
        if not self._held:
            raise InputError("no frame was pushed yet")
        return next(iter(self._held.values())).frame.size

    @property
    def fps(self) -> float | None:
        """Frames a second, where they are known."""
        return None if self.source is None else self.source.fps

    @property
    def num_frames(self) -> int | None:
        """Length, where it is known."""
        return None if self.source is None else self.source.num_frames

    def at(self, index: int | None) -> Seen:
        """A frame by number; None is the one seen last, or the first. Raises: InputError when it is not there."""
        if index is None:
            index = next(reversed(self._held), 0)
        if index in self._held:
            return self._held[index]
        if self.source is None:
            raise InputError(f"frame {index} is not there: of a live stream only the last frames can be prompted")
        return self.hold(self.source.read(index))

    def frames(self, start: int, stop: int | None, step: int, *, reverse: bool) -> Iterator[Frame]:
        """Frames from `start` on in either direction, until before `stop`. Raises: InputError."""
        if self.source is None:
            raise InputError("this session has no video: give its frames to push()")
        if not reverse:
            return self.source.frames(start, stop, step)
        if start < 0:
            return iter(())
        last = 0 if stop is None else stop + 1
        return self.source.frames(last + (start - last) % step, start + 1, step, reverse=True)

    def hold(self, frame: Frame) -> Seen:
        """The frame with its features, which may still be there from before."""
        seen = self._held.pop(frame.index, None) or Seen(model=self.model, frame=frame)
        self._held[frame.index] = seen
        while len(self._held) > _REMEMBERED:
            self._held.pop(next(iter(self._held)))
        return seen

    def push(self, pixels: UInt8[np.ndarray, "height width 3"], time: float | None) -> Seen:
        """The next frame of a live stream. Raises: InputError when it differs in size from the others."""
        if self.source is not None:
            raise InputError("this session reads a video: use track(), or open one without a source to push frames")
        if self._held and pixels.shape[:2] != self.size:
            raise InputError(f"the frame is {pixels.shape[:2]}, the stream {self.size} (height, width)")
        index = self.num_pushed
        self.num_pushed += 1
        return self.hold(Frame(index=index, time=index / ASSUMED_FPS if time is None else time, pixels=pixels))

    def close(self) -> None:
        """Lets the video and all features go."""
        self._held.clear()
        if self.source is not None:
            self.source.close()
