"""From whatever holds a video (a file, a folder or list of images, a camera, any iterator) to a `FrameSource`."""

import os
import re
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from masklet.errors import InputError
from masklet.media.animations import AnimatedImage, count_frames
from masklet.media.frames import ASSUMED_FPS, Frame, FrameSource, ImageFrames, Stream, read_frame
from masklet.media.images import ImageSource
from masklet.media.suffixes import ANIMATED_SUFFIXES, MOVING_SUFFIXES, is_image, list_images

VideoSource = str | os.PathLike[str] | int | Iterable[ImageSource] | FrameSource


def open_frames(source: VideoSource) -> FrameSource:
    """The frames of a video file, a folder of images (in natural order of their names), a list of images, an array
    `[frame, height, width, 3]`, a camera (its number), or any iterable of images, which may be endless. A `FrameSource`
    is returned as it is.

    The first frame is read at once. Raises: InputError when there is none.
    """
    if isinstance(source, FrameSource):
        return source
    if isinstance(source, str) and re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", source):
        raise InputError(f"{source} is an address: save the video as a file, or hand its frames in as an iterator")
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
    mode = _mode_of(path)
    if stat.S_ISDIR(mode):
        return ImageFrames(str(path), list_images(path), path)
    if not stat.S_ISREG(mode):
        raise InputError(f"{path} is a pipe or a device: give the number of a camera, or its frames as an iterator")
    if path.suffix.lower() in ANIMATED_SUFFIXES and count_frames(path) > 1:
        return AnimatedImage(path)
    if is_image(path) and path.suffix.lower() not in MOVING_SUFFIXES:
        return ImageFrames(str(path), [path], path)
    from masklet.media.video_reader import VideoFile

    return VideoFile(path)


def _mode_of(path: Path) -> int:
    try:
        return path.stat().st_mode
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except PermissionError as error:
        raise InputError(f"no permission to read {path}") from error
    except OSError as error:
        name = f"{path.name[:40]}..." if len(path.name) > 40 else path
        raise InputError(f"cannot read {name}: {error.strerror}") from error
    except ValueError as error:  # a zero byte in the name
        raise InputError(f"not a file name: {str(path)!r}") from error
