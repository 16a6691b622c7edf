"""Small inputs for a server."""

import io
from pathlib import Path

import av
import numpy as np
from PIL import Image


def photo_bytes(width: int = 96, height: int = 64, kind: str = "PNG") -> bytes:
    """A picture with two squares."""
    pixels = np.full((height, width, 3), 40, np.uint8)
    pixels[10:30, 10:30] = (220, 60, 40)
    pixels[30:55, 50:80] = (40, 90, 220)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def write_clip(path: Path, frames: int = 12, size: tuple[int, int] = (64, 96)) -> Path:
    """A square that moves to the right."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            pixels = np.full((*size, 3), 40, np.uint8)
            pixels[20:40, 8 + 4 * index : 28 + 4 * index] = (220, 60, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path
