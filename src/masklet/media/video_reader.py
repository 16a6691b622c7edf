"""Frames of video files and cameras, by PyAV.

Frames are numbered by their time of presentation, from an index that is made by reading the file once without decoding.
So a number means the same frame whether it was reached from the start, by seeking, or backwards. Decoders are opened
for one pass and closed after it, and a pass backwards holds a bounded part of what lies between key frames.
"""

import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import chain
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Int64, UInt8

from masklet.errors import InputError
from masklet.media.frames import ASSUMED_FPS, Frame, FrameSource, Stream
from masklet.media.images import check_size

BUFFER_BYTES = 2**28  # of decoded frames that are kept while going backwards
CAMERAS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """Time stamps of all frames in order, and where decoding can begin.

    `stamps` is None where the file's own cannot be trusted; frames are then counted as they are decoded. `keys` are the
    numbers of the key frames, `seeks` the stamps by which each may be found: that of showing and that of decoding it.
    """

    count: int
    stamps: Int64[np.ndarray, " frame"] | None
    keys: tuple[int, ...] = ()
    seeks: tuple[tuple[int, ...], ...] = ()


class VideoFile(FrameSource):
    """A video file that is decoded as it is read."""

    seekable = True

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as (_, stream):
            fps = stream.average_rate or stream.guessed_rate
            self._time_base = stream.time_base or Fraction(1)
        super().__init__(str(path), (0, 0), None if fps is None else float(fps))
        with closing(self._images(0)) as images:
            first = next(images, None)
        if first is None:
            raise InputError(f"{path} holds no frame that can be decoded")
        self.size = (first.width, first.height) if _turn(first)[0] else (first.height, first.width)

    @property
    def num_frames(self) -> int:
        """How many frames the file names, damaged ones included."""
        return self._index.count

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """The container and its video stream; errors name the file."""
        if "\0" in str(self.path):  # which would end the name, for PyAV
            raise InputError(f"not a file name: {str(self.path)!r}")
        try:
            container = av.open(str(self.path), metadata_errors="replace")
        except FFmpegError as error:
            raise InputError(_reason(self.path, error)) from error
        with container:
            if not container.streams.video:
                raise InputError(f"{self.path} has no video stream")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise InputError(f"{self.path} is in a format that cannot be decoded, or is damaged")
            check_size(str(self.path), stream.height, stream.width)
            stream.thread_type = "AUTO"
            yield container, stream

    @cached_property
    def _index(self) -> Index:
        packets: list[tuple[int | None, int | None, bool]] = []
        seen = 0
        with self._opened() as (container, stream):
            counted = container.format.name == "avi" and stream.codec_context.name in ("h264", "hevc")
            for packet in self._demuxed(container, stream):
                if packet is not None and not packet.is_discard:
                    packets.append((packet.pts, packet.dts, packet.is_keyframe))
                seen += packet is not None
            if seen < stream.frames:
                self._warn()
        # Leave out what comes before the first key frame, in the file or on the screen, as in a broadcast that was cut
        packets = packets[next((place for place, (_, _, is_key) in enumerate(packets) if is_key), 0) :]
        shown = packets[0][0] if packets else None
        packets = [each for each in packets if each[0] is None or shown is None or each[0] >= shown]
        stamps = sorted({pts for pts, _, _ in packets if pts is not None})
        if counted or len(stamps) != len(packets):  # AVI holds no time of showing, which matters where order changes
            return Index(count=len(packets), stamps=None)
        keys = sorted((pts, dts) for pts, dts, is_key in packets if is_key and pts is not None)
        array = np.array(stamps, dtype=np.int64)
        return Index(
            count=len(stamps),
            stamps=array,
            keys=tuple(np.searchsorted(array, [pts for pts, _ in keys]).tolist()),
            seeks=tuple((pts,) if dts is None else (pts, dts) for pts, dts in keys),
        )

    def _forward(self, start: int, stop: int | None, step: int) -> Iterator[Frame]:
        with closing(self._decode(start)) as decoded:
            for index, image in decoded:
                if stop is not None and index >= stop:
                    return
                if (index - start) % step:
                    continue
                check_size(self.name, image.height, image.width)
                if self._index.stamps is None:
                    time = index / (self.fps or ASSUMED_FPS)
                else:
                    time = float(int(self._index.stamps[index]) * self._time_base)
                yield self._checked(Frame(index=index, time=time, pixels=_upright_pixels(image)))

    def _backward(self, numbers: range) -> Iterator[Frame]:
        """A stretch between key frames at a time, or as much of its end as the buffer holds."""
        room = max(1, BUFFER_BYTES // (3 * self.size[0] * self.size[1]))
        while numbers:
            last = numbers[-1]
            key = max((key for key in self._index.keys if key <= last), default=0)
            stretch = [number for number in numbers[-room:] if number >= key]
            yield from reversed(list(self._forward(stretch[0], last + 1, numbers.step)))
            numbers = numbers[: -len(stretch)]

    def _decode(self, first: int) -> Generator[tuple[int, VideoFrame], None, None]:
        """Numbered images in order, from number `first` on."""
        if first >= self._index.count:
            return
        stamps = self._index.stamps
        last = first - 1
        for count, image in enumerate(self._images(first)):
            number = count if stamps is None else _place(stamps, image.pts)
            if number > last:  # damage may bring old images back
                last = number
                yield number, image

    def _images(self, first: int) -> Generator[VideoFrame, None, None]:
        """Decoded images from a key frame at or before frame `first`."""
        for stamp in (*self._places(first), None):
            with self._opened() as (container, stream):
                if stamp is not None:
                    container.seek(stamp, stream=stream)
                packets = self._demuxed(container, stream)
                if stamp is not None:
                    head = next((packet for packet in packets if packet is None or packet.is_keyframe), None)
                    stamps, begin = self._index.stamps, None if head is None else head.pts
                    if head is None or begin is None or stamps is None or begin > int(stamps[first]):
                        continue  # seeking went too far
                    packets = chain([head], packets)
                yield from self._decoded(stream, packets)
                return

    def _decoded(self, stream: VideoStream, packets: Iterable[av.Packet | None]) -> Iterator[VideoFrame]:
        """The images of packets, without those that are too damaged."""
        for packet in packets:
            try:
                images = stream.decode(packet)
            except FFmpegError:
                self._warn()
                continue
            if any(image.is_corrupt for image in images):
                self._warn()
            yield from images

    def _places(self, first: int) -> list[int]:
        """Stamps to seek, the closest key frame before `first` to begin with, then ones twice, four times ... back."""
        if first == 0:
            return []
        before = int(np.searchsorted(self._index.keys, first, side="right"))
        places: list[int] = []
        back = 1
        while back <= before and self._index.keys[before - back] > 0:
            places += self._index.seeks[before - back]
            back *= 2
        return places

    def _demuxed(self, container: InputContainer, stream: VideoStream) -> Iterator[av.Packet | None]:
        """Packets up to the end or to where the file breaks off, then None, which empties the decoder."""
        try:
            yield from (packet for packet in container.demux(stream) if packet.size)
        except FFmpegError:
            self._warn()
        yield None

    def _warn(self) -> None:
        sentence = f"{self.name} is damaged or cut short: what can be decoded of it is used"
        if sentence not in self.warnings:
            self.warnings.append(sentence)


def _place(stamps: Int64[np.ndarray, " frame"], stamp: int | None) -> int:
    """The number of the frame with this stamp; -1 for a part of a frame, or one that the file hides."""
    place = len(stamps) if stamp is None else int(np.searchsorted(stamps, stamp))
    return place if place < len(stamps) and stamps[place] == stamp else -1


def open_camera(number: int) -> Stream:
    """The frames of a camera as they come. Raises: InputError when there is none of that number."""
    kind = CAMERAS.get(sys.platform)
    if kind is None:
        raise InputError(f"cameras cannot be read on {sys.platform}")
    try:
        container = av.open(_camera_name(kind, number), format=kind)
    except (FFmpegError, ValueError) as error:
        raise InputError(f"camera {number} cannot be opened: {_plain(error)}") from error
    rate = container.streams.video[0].average_rate
    frames = _live(container, number)
    return Stream(f"camera {number}", frames, None if rate is None else float(rate), container.close)


def _camera_name(kind: str, number: int) -> str:
    if kind == "v4l2":
        return f"/dev/video{number}"
    if kind == "avfoundation":
        return str(number)
    from av.device import enumerate_input_devices

    names = [each.name for each in enumerate_input_devices(kind) if "video" in each.media_types]
    if number >= len(names):
        raise InputError(f"camera {number} cannot be opened: {len(names)} are connected")
    return f"video={names[number]}"


def _live(container: InputContainer, number: int) -> Iterator[Frame]:
    begin: float | None = None
    try:
        for index, image in enumerate(container.decode(video=0)):
            time = image.time or 0.0
            begin = time if begin is None else begin
            yield Frame(index=index, time=time - begin, pixels=_upright_pixels(image))
    except FFmpegError as error:
        raise InputError(f"camera {number} gives no more frames: {_plain(error)}") from error


def _turn(image: VideoFrame) -> tuple[bool, bool, bool]:
    """What the display matrix asks for: swap the axes, then mirror the columns, then the rows.

    Its first two rows say where one step to the right and one step down in the stored image lead on the screen.
    """
    data = image.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    right_x, right_y, _, down_x, down_y = np.frombuffer(bytes(data), dtype="=i4")[:5].tolist()
    if abs(right_x) >= abs(right_y):
        return False, right_x < 0, down_y < 0
    return True, down_x < 0, right_y < 0


def _upright_pixels(image: VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    pixels = image.to_ndarray(format="rgb24")
    swap, mirror_columns, mirror_rows = _turn(image)
    if swap:
        pixels = pixels.transpose(1, 0, 2)
    if mirror_columns:
        pixels = pixels[:, ::-1]
    if mirror_rows:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _reason(path: Path, error: FFmpegError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"no such file: {path}"
    if isinstance(error, PermissionError):
        return f"no permission to read {path}"
    if path.is_file() and path.stat().st_size == 0:
        return f"{path} is empty (0 bytes)"
    return f"{path} is not a video, or is damaged from its beginning: {_plain(error)}"


def _plain(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
