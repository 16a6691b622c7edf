"""Small inputs for a server, and a server in a process of its own."""

import io
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import httpx2
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


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server in a process of its own."""

    address: str
    process: subprocess.Popen[bytes]


@contextmanager
def running_server(folder: Path, model: str, *options: str) -> Iterator[Running]:
    """`masklet serve` until the block ends; it answers /health when the block begins."""
    port = free_port()
    command = [sys.executable, "-m", "masklet", "serve", "--port", str(port), "--folder", str(folder)]
    process = subprocess.Popen([*command, "--model", model, "--device", "cpu", *options])
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            assert process.poll() is None, "the server has stopped"
            try:
                if httpx2.get(f"{address}/health", timeout=2).json()["state"] == "ready":
                    break
            except httpx2.HTTPError:
                pass
            time.sleep(0.1)
        yield Running(address=address, process=process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:  # none is left behind
            process.kill()
            raise
