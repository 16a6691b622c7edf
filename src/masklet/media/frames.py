"""Numbered RGB frames and where they come from; `video_source.open_frames` chooses the class for a source.

Sources that can be reached at random (files, folders, lists) can also be read backwards; streams give each frame once.
No source holds more than a few frames.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from masklet.errors import InputError
from masklet.media.images import ImageSource, read_image

ASSUMED_FPS = 25.0  # of a source without time stamps


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """One frame: its number in order of presentation, its time in seconds, and its pixels, RGB and upright."""

    index: int
    time: float
    pixels: UInt8[np.ndarray, "height width 3"]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[0], self.pixels.shape[1]


def read_frame(image: ImageSource, index: int) -> UInt8[np.ndarray, "height width 3"]:
    """The pixels of frame `index`. Raises: InputError naming the frame."""
    try:
        return read_image(image)
    except InputError as error:
        raise InputError(f"frame {index}: {error}") from error


class FrameSource(AbstractContextManager, ABC):
    """A source of frames.

    `size` is height and width of the first frame; all others must agree. `fps` is None where it is unknown (times then
    assume `ASSUMED_FPS`). `pixel_aspect` is the width of a pixel by its height, `file_names` the file of each frame
    where they came from files. `warnings` holds a sentence for each kind of damage met so far.
    """

    seekable: bool
    path: Path | None = None  # the file or folder that is read, if it is one
    pixel_aspect: Fraction = Fraction(1)
    file_names: tuple[str, ...] | None = None

    def __init__(self, name: str, size: tuple[int, int], fps: float | None = None) -> None:
        self.name, self.size, self.fps = name, size, fps
        self.warnings: list[str] = []

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    @abstractmethod
    def num_frames(self) -> int | None:
        """Number of frames; None for a stream whose end has not been reached."""

    def frames(
        self, start: int = 0, stop: int | None = None, step: int = 1, *, reverse: bool = False
    ) -> Iterator[Frame]:
        """Frames `start`, `start + step`, ... before `stop` (by default the end); with `reverse` the same, last first.

        A frame that cannot be decoded keeps its number and is left out.

        Raises: InputError for a range that makes no sense, for a stream asked to go back, and, while reading, for a
        frame that cannot be read or differs in size.
        """
        if start < 0 or step < 1 or (stop is not None and stop < start):
            raise InputError(f"no frames from {start} to {stop} in steps of {step}")
        if not reverse:
            return self._forward(start, stop, step)
        if not self.seekable:
            raise InputError(f"{self.name} cannot be read backwards: it gives each frame once")
        total = self.num_frames
        assert total is not None, "a seekable source has a length"
        return self._backward(range(start, total if stop is None else min(stop, total), step))

    def read(self, index: int) -> Frame:
        """One frame. Raises: InputError when there is none of that number, or when a stream is past it."""
        frame = next(self.frames(index, index + 1), None)
        if frame is None:
            raise InputError(f"{self.name} has no frame {index}")
        return frame

    @abstractmethod
    def _forward(self, start: int, stop: int | None, step: int) -> Iterator[Frame]: ...

    def _backward(self, numbers: range) -> Iterator[Frame]:
        return map(self.read, reversed(numbers))

    def close(self) -> None:
        """Closes files and devices."""

    def _checked(self, frame: Frame) -> Frame:
        if frame.size != self.size:
            raise InputError(
                f"frame {frame.index} of {self.name} is {frame.size[1]} x {frame.size[0]} pixels,"
                f" but the first one is {self.size[1]} x {self.size[0]}"
            )
        return frame


class ImageFrames(FrameSource):
    """A folder, list or array of images, each read when its turn comes."""

    seekable = True

    def __init__(
        self, name: str, images: Sequence[ImageSource] | np.ndarray | Tensor, path: Path | None = None
    ) -> None:
        if len(images) == 0:
            raise InputError(f"no images in {name}")
        self._images: Any = images
        self.path = path
        names = tuple(Path(each).name for each in images if isinstance(each, (str, PathLike)))
        if len({Path(name).stem for name in names}) == len(images):
            self.file_names = names
        super().__init__(name, read_frame(self._images[0], 0).shape[:2])

    @property
    def num_frames(self) -> int:
        """Number of images."""
        return len(self._images)

    def _forward(self, start: int, stop: int | None, step: int) -> Iterator[Frame]:
        total = self.num_frames
        for index in range(start, total if stop is None else min(stop, total), step):
            pixels = read_frame(self._images[index], index)
            yield self._checked(Frame(index=index, time=index / ASSUMED_FPS, pixels=pixels))


class Stream(FrameSource):
    """Frames that come once, in order. The last one given is held, so that it can be read again."""

    seekable = False

    def __init__(
        self, name: str, frames: Iterator[Frame], fps: float | None = None, close: Callable[[], object] | None = None
    ) -> None:
        self._frames, self._close = frames, close
        self._held = next(frames, None)
        self._total: int | None = None
        if self._held is None:
            raise InputError(f"{name} holds no frames")
        super().__init__(name, self._held.size, fps)

    @property
    def num_frames(self) -> int | None:
        """Number of frames, once the last one has been passed."""
        return self._total

    def frames(
        self, start: int = 0, stop: int | None = None, step: int = 1, *, reverse: bool = False
    ) -> Iterator[Frame]:
        """As every source; `start` may not lie before the last frame given."""
        if self._held is not None and start < self._held.index and not reverse:
            raise InputError(f"frame {start} of {self.name} has passed: it gives each frame once")
        return super().frames(start, stop, step, reverse=reverse)

    def _forward(self, start: int, stop: int | None, step: int) -> Iterator[Frame]:
        wanted = start
        while stop is None or wanted < stop:
            while self._held is not None and self._held.index < wanted:
                following, last = next(self._frames, None), self._held.index
                self._held = None if following is None else self._checked(following)
                if following is None:
                    self._total = last + 1
            if self._held is None:
                return
            yield self._held
            wanted += step

    def close(self) -> None:
        """Ends the stream and closes its device."""
        self._held = None
        if self._close is not None:
            self._close()


def check_kept(source: FrameSource, replaced: Iterable[Path]) -> None:
    """Raises: InputError when one of the files or folders that will be replaced is the source, or holds it."""
    if source.path is None:
        return
    own = source.path.resolve()
    for path in replaced:
        place = path.resolve()
        if place in (own, *own.parents) or (path.exists() and path.samefile(own)):
            raise InputError(f"the results would replace the video itself, {source.path}: choose another place")
