"""Frames as the model sees them: encoded when they are first needed, the last few remembered."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from masklet.errors import InputError
from masklet.inference.model import Model
from masklet.inference.video.saving import Json, Shelf
from masklet.media.frames import ASSUMED_FPS, Frame, FrameSource
from masklet.media.images import preprocess
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
        self.num_pushed = 0
        self.pushed_size: tuple[int, int] | None = None
        self._held: dict[int, Seen] = {}
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

    def at(self, index: int | None) -> Seen:
        """A frame by number; None is the one seen last, or the first. Raises: InputError when it is not there."""
        self._check_open()
        if index is None:
            index = next(reversed(self._held), 0)
        if index in self._held:
            return self._held[index]
        if self.source is None:
            raise InputError(f"frame {index} is not there: of a live stream only the last frames can be prompted")
        return self.hold(self.source.read(index))

    def frames(self, start: int, stop: int | None, step: int, *, reverse: bool) -> Iterator[Frame]:
        """Frames from `start` on in either direction, until before `stop`. Raises: InputError."""
        self._check_open()
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
        self._check_open()
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
        """The picture of an earlier frame, where it is at hand or can be read again."""
        if index in self._held:
            return self._held[index].frame.pixels
        return self.source.read(index).pixels if self.source is not None and self.source.seekable else None

    def pack(self, frames: Collection[int], shelf: Shelf) -> Json:
        """What a saved session has to know of its pictures; of a stream also the pictures of these frames."""
        again = self.source is not None and self.source.seekable
        held = [] if again else [self._held[index].frame for index in sorted(frames) if index in self._held]
        return {
            "size": None if self.source is None and self.pushed_size is None else self.size,
            "num_pushed": self.num_pushed,
            "held": [[f.index, f.time, shelf.put(pixels=torch.from_numpy(f.pixels.copy()))] for f in held],
        }

    def unpack(self, document: Json, shelf: Shelf) -> None:
        """Takes what was packed. Raises: InputError when that was of a video of another size."""
        size = None if document["size"] is None else (int(document["size"][0]), int(document["size"][1]))
        if self.source is not None and self.source.size != size:
            raise InputError(f"the session is of a video of another size: {size}, not {self.source.size}")
        self.pushed_size = size if self.source is None else None
        self.num_pushed = int(document["num_pushed"])
        for index, time, place in document["held"]:
            pixels = shelf.get(place, torch.device("cpu"))["pixels"].numpy()
            if pixels.dtype != np.uint8 or pixels.shape != (*self.size, 3):
                raise ValueError(f"a picture of {pixels.shape}")
            self.hold(Frame(index=int(index), time=float(time), pixels=pixels))

    def close(self) -> None:
        """Lets the video and all features go."""
        self._is_closed = True
        self._held.clear()
        if self.source is not None:
            self.source.close()

    def _check_open(self) -> None:
        if self._is_closed:
            raise InputError("the session is closed")
