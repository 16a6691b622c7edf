"""Small videos for tests: the grey of a frame says its number, its red corner which way is up."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

ONE = 1 << 16
QUARTER_TURN = (0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30)  # clockwise, as phones write it
HALF_TURN = (-ONE, 0, 0, 0, -ONE, 0, 0, 0, 1 << 30)
COUNTER_TURN = (0, -ONE, 0, ONE, 0, 0, 0, 0, 1 << 30)
MIRRORED = (-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)


def grey(number):
    return 20 + 15 * number


def picture(number, size=(48, 64)):
    pixels = np.full((*size, 3), grey(number), dtype=np.uint8)
    pixels[: size[0] // 3, : size[1] // 3] = (250, 10, 10)
    return pixels


def number_of(pixels):
    """What `picture` made these pixels, whatever a codec did to them."""
    middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].mean()
    return round((middle - 20) / 15)


def write_video(
    path,
    count=12,
    *,
    size=(48, 64),
    codec="libx264",
    times=None,
    gop=5,
    b_frames=2,
    audio=None,
    audio_codec="aac",
    muxing=None,
    title=None,
):
    """A video of `count` frames at 10 per second, or at `times` in seconds, with a tone of `audio` seconds."""
    with av.open(str(path), "w", options=muxing or {}) as container:
        if title:
            container.metadata["title"] = title
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = size
        stream.pix_fmt = {"gif": "rgb8", "libx264": "yuv420p" if size[0] % 2 == size[1] % 2 == 0 else "yuv444p"}.get(
            codec, "yuv420p"
        )
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = gop, b_frames
        stream.codec_context.time_base = Fraction(1, 1000 if times else 10)
        if audio:
            _add_tone(container, audio, audio_codec)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            frame.pts = round(times[number] * 1000) if times else number
            frame.time_base = stream.codec_context.time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return Path(path)


def write_frames(path, codec, images, *, rate=10, places=None, aspect=None, pix_fmt="yuv420p", options=None):
    """A video of pictures, with the n-th at `places[n] / rate` seconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pix_fmt
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for number, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgba" if image.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = places[number] if places else number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _add_tone(container, seconds, codec, rate=44100):
    stream = container.add_stream(codec, rate=rate, layout="mono", bit_rate=64000)
    wave = np.sin(np.arange(round(seconds * rate)) / 20).astype(np.float32)
    for start in range(0, len(wave), 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def set_matrix(path, matrix):
    """Writes a display matrix into the track header of an mp4 file."""
    data = bytearray(Path(path).read_bytes())
    place = data.find(b"tkhd") + 44
    data[place : place + 36] = struct.pack(">9i", *matrix)
    Path(path).write_bytes(data)
