"""Images from clients: sizes are checked before a byte is decoded, and only a few are decoded at a time."""

import base64
import binascii
import io
import re
import threading
from pathlib import Path

from jaxtyping import UInt8
from numpy import ndarray
from PIL import Image

from masklet.errors import InputError
from masklet.media.images import DECODING_ERRORS, read_image, without_pillow_limit
from masklet.serve.problems import HttpProblem
from masklet.serve.settings import Limits

VIDEO_SUFFIXES = frozenset((".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".gif"))
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
_STARTS = (b"\x1aE\xdf\xa3", b"RIFF", b"GIF8", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3", b"G")
_DATA_URL = re.compile(r"data:(?:image|video)/[\w.+-]{1,40};base64,", re.ASCII)


class ImageDecoder:
    """Turns bytes of image files into pixels, within limits."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._places = threading.BoundedSemaphore(limits.decoders)

    def read(self, data: bytes) -> UInt8[ndarray, "height width 3"]:
        """The pixels of an image file. Raises: InputError for what is none, HttpProblem (413) where it is too large."""
        if len(data) > self.limits.image_bytes:
            raise HttpProblem(413, f"the image has {len(data)} bytes, at most {self.limits.image_bytes} are read")
        with self._places:
            self._check_pixels(data)
            return read_image(data)

    def _check_pixels(self, data: bytes) -> None:
        """Only the header is read. What cannot be opened is left to `read_image`, which says why."""
        try:
            with without_pillow_limit(), Image.open(io.BytesIO(data)) as image:
                width, height = image.size
        except DECODING_ERRORS:  # the reader names the fault
            return
        if width * height > self.limits.pixels:
            raise HttpProblem(413, f"the image is {width} x {height}, at most {self.limits.pixels} pixels are read")


def check_frame(size: tuple[int, int], limits: Limits) -> None:
    """Raises: HttpProblem (413) for a video whose frames, of `size` (height, width), are too large to be followed."""
    if size[0] * size[1] > limits.frame_pixels:
        raise HttpProblem(413, f"the video is {size[1]} x {size[0]}, at most {limits.frame_pixels} pixels are followed")


def from_base64(text: str) -> bytes:
    """The bytes of base64, also of a data URL. Raises: InputError."""
    head = _DATA_URL.match(text[:80])
    try:
        return base64.b64decode(text[head.end() if head else 0 :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"the image is not base64: {error}") from error


def is_video(path: Path) -> bool:
    """Whether a file begins as a video does. A playlist does not: it would name other files for the reader to open."""
    with path.open("rb") as file:
        head = file.read(12)
    return head[4:8] in _BOXES or head.startswith(_STARTS)
