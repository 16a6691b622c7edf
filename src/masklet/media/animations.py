"""Animated PNG and WebP images as videos, by Pillow: PyAV reads of them the first frame at most."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from masklet.errors import InputError
from masklet.media.frames import ASSUMED_FPS, Frame, FrameSource, read_frame
from masklet.media.images import check_size, open_image

BUFFER_BYTES = 2**28  # of frames that are kept while going backwards
UNREADABLE = (OSError, SyntaxError, ValueError, EOFError)  # what Pillow raises on a damaged file


def count_frames(path: Path) -> int:
    """How many frames an image holds, by its header; 1 where it is no image at all, or may not be read."""
    try:
        with open_image(path) as image:
            return getattr(image, "n_frames", 1)
    except UNREADABLE:
        return 1


class AnimatedImage(FrameSource):
    """The frames of an animated image, each with the whole canvas, over white."""

    seekable = True

    def __init__(self, path: Path) -> None:
        self.path = self._file = path
        ends: list[float] = []
        with open_image(path) as image:
            check_size(str(path), image.height, image.width)
            size = (image.height, image.width)
            count = getattr(image, "n_frames", 1)
            for index in range(count):
                try:
                    image.seek(index)
                    image.load()
                except UNREADABLE:
                    break
                seconds = float(image.info.get("duration") or 1000 / ASSUMED_FPS) / 1000
                ends.append(seconds + (ends[-1] if ends else 0.0))
        if not ends:
            raise InputError(f"{path} holds no frame that can be decoded")
        self._times = np.array([0.0, *ends[:-1]])
        super().__init__(str(path), size, len(ends) / ends[-1])
        if len(ends) < count:
            lost = count - len(ends)
            self.warnings.append(f"{path} is damaged or cut short: its last {lost} of {count} frames cannot be decoded")

    @property
    def num_frames(self) -> int:
        """Number of frames that can be decoded."""
        return len(self._times)

    def _forward(self, start: int, stop: int | None, step: int) -> Iterator[Frame]:
        end = self.num_frames if stop is None else min(stop, self.num_frames)
        with open_image(self._file) as image:
            for index in range(start, end, step):
                image.seek(index)
                pixels = read_frame(image, index)
                yield self._checked(Frame(index=index, time=float(self._times[index]), pixels=pixels))

    def _backward(self, numbers: range) -> Iterator[Frame]:
        room = max(1, BUFFER_BYTES // (3 * self.size[0] * self.size[1]))
        while numbers:
            stretch = numbers[-room:]
            yield from reversed(list(self._forward(stretch[0], stretch[-1] + 1, numbers.step)))
            numbers = numbers[: -len(stretch)]
