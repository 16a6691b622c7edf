"""From whatever holds a video (a file, a folder or list of images, a camera, any iterator) to a `FrameSource`."""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from masklet.errors import InputError
from masklet.media.frames import ASSUMED_FPS, Frame, FrameSource, ImageFrames, Stream, read_frame
from masklet.media.images import ImageSource
from masklet.media.suffixes import MOVING_SUFFIXES, is_image, list_images

VideoSource = str | os.PathLike | int | Iterable[ImageSource] | FrameSource


def open_frames(source: VideoSource) -> FrameSource:
    """The frames of a video file, a folder of images (in natural order of their names), a list of images, an array
    `[frame, height, width, 3]`, a camera (its number), or any iterable of images, which may be endless. A `FrameSource`
    is returned as it is.

    The first frame is read at once. Raises: InputError when there is none.
    """
    if isinstance(source, FrameSource):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _open_path(Path(source))
    if isinstance(source, int) and not isinstance(source, bool):
        from masklet.media.video_reader import open_camera  # PyAV is loaded where it is needed

        return open_camera(source)
    if isinstance(source, (np.ndarray, Tensor)) and source.ndim != 4:
        raise InputError(f"an array of shape {list(source.shape)} is not a video: expected [frame, height, width, 3]")
    if isinstance(source, (Sequence, np.ndarray, Tensor)) and not isinstance(source, bytes):
        return ImageFrames("the list", source)
    if isinstance(source, Iterable) and not isinstance(source, bytes):
        images = (Frame(index=i, time=i / ASSUMED_FPS, pixels=read_frame(each, i)) for i, each in enumerate(source))
        return Stream("the stream", images)
    raise InputError(f"cannot read frames from {type(source).__name__}: give a path, a camera number or frames")


def _open_path(path: Path) -> FrameSource:
    if path.is_dir():
        return ImageFrames(str(path), sorted(list_images(path), key=_natural))
    if is_image(path) and path.suffix.lower() not in MOVING_SUFFIXES:
        return ImageFrames(str(path), [path])
    from masklet.media.video_reader import VideoFile

    return VideoFile(path)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sorts frame2 before frame10."""
    parts = re.split(r"(\d+)", path.name)
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part.lower()) for part in parts]
