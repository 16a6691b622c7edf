"""Frames of video files and cameras, by PyAV.

Frames are numbered by their time of presentation, from an index that is made by reading the file once without decoding.
So a number means the same frame whether it was reached from the start, by seeking, or backwards. Decoders are opened
for one pass and closed after it, and a pass backwards holds a bounded part of what lies between key frames.
"""

import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Float64, Int64, UInt8

from masklet.cached import cached
from masklet.errors import InputError
from masklet.media.av_files import open_to_read
from masklet.media.frames import ASSUMED_FPS, Frame, FrameSource, Stream
from masklet.media.images import check_size, read_image

BUFFER_BYTES = 2**28  # of decoded frames that are kept while going backwards
STEADY = ("mpegts", "mpeg")  # broadcasts, whose frames are evenly spaced: a gap is a loss
VP8_SHOWN = 0x10  # in the first byte of a frame of VP8
MOMENT = 1e-3  # seconds between frames that share a time stamp
CAMERAS = {"linux": "v4l2", "darwin": "avfoundation", "win32": "dshow"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Index:
    """When the frames are shown, in order, in seconds, and where decoding can begin.

    `stamps` are the file's own, by which a decoded image is told; None where they cannot be trusted: frames are then
    counted as they are decoded. `keys` are the numbers of the key frames, `seeks` the stamps by which each may be
    found: that of showing and that of decoding it.
    """

    times: Float64[np.ndarray, " frame"]
    stamps: Int64[np.ndarray, " frame"] | None = None
    keys: tuple[int, ...] = ()
    seeks: tuple[tuple[int, ...], ...] = ()

    @property
    def count(self) -> int:
        """Number of frames."""
        return len(self.times)


@dataclass(frozen=True, kw_only=True)
class PacketEntry:
    """What the index needs of a packet; one that is not shown is only there to decode others."""

    pts: int | None
    dts: int | None
    is_key: bool
    is_shown: bool

    @classmethod
    def of(cls, packet: av.Packet, codec: str) -> "PacketEntry":
        """VP8 says in the first byte whether a frame is shown."""
        is_hidden = packet.is_discard or (codec == "vp8" and not bytes(packet)[0] & VP8_SHOWN)
        return cls(pts=packet.pts, dts=packet.dts, is_key=packet.is_keyframe, is_shown=not is_hidden)


class VideoFile(FrameSource):
    """A video file that is decoded as it is read."""

    seekable = True

    def __init__(self, path: Path) -> None:
        self.path = self._file = path
        self._lost: set[object] = set()  # stamps of frames that could not be decoded, or only in part
        with self._opened() as (container, stream):
            self._is_steady = container.format.name in STEADY
            fps = stream.average_rate or stream.guessed_rate
            self._time_base = stream.time_base or Fraction(1)
            aspect = stream.sample_aspect_ratio
        super().__init__(str(path), (0, 0), None if fps is None else float(fps))
        with closing(self._images(0)) as images:
            first = next(images, None)
        if first is None:
            raise InputError(f"{path} holds no frame that can be decoded")
        is_turned = _turn(first)[0]
        self.size = (first.width, first.height) if is_turned else (first.height, first.width)
        if aspect:
            self.pixel_aspect = 1 / aspect if is_turned else Fraction(aspect)

    @property
    def num_frames(self) -> int:
        """How many frames the file names, damaged ones included."""
        return self._index.count

    @contextmanager
    def _opened(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """The container and its video stream; errors name the file."""
        try:
            container = open_to_read(self._file)
        except FFmpegError as error:
            raise InputError(_reason(self._file, error)) from error
        with container:
            stream = container.streams.best("video")
            if not isinstance(stream, VideoStream) or Disposition.attached_pic in stream.disposition:
                raise InputError(f"{self.path} has no video stream")
            if stream.codec_context is None:
                raise InputError(f"{self.path} is in a format that cannot be decoded, or is damaged")
            check_size(str(self.path), stream.height, stream.width)
            stream.thread_type = "AUTO"
            yield container, stream

    @cached
    def _index(self) -> Index:
        index = self._read_index()
        if self._is_steady and index.count > 2:
            steps = np.diff(index.times)
            missing = np.maximum(np.round(steps / np.median(steps)) - 1, 0)
            self._lose(("gap", place, each) for place in np.flatnonzero(missing) for each in range(int(missing[place])))
        return index

    def _read_index(self) -> Index:
        packets: list[PacketEntry] = []
        with self._opened() as (container, stream):
            is_avi, codec = container.format.name == "avi", stream.codec_context.name
            for packet in self._demuxed(container, stream):
                if packet is not None:
                    packets.append(PacketEntry.of(packet, codec))
            # The frames that an AVI file counts are moments, and at some of them nothing new is shown
            seen = max((each.pts or 0 for each in packets), default=-1) + 1 if is_avi else len(packets)
            self._lose(("missing", number) for number in range(seen, stream.frames))
        # Leave out what comes before the first key frame, in the file or on the screen, as in a broadcast that was cut
        packets = packets[next((place for place, each in enumerate(packets) if each.is_key), 0) :]
        begin = packets[0].pts if packets else None
        packets = [each for each in packets if each.pts is None or begin is None or each.pts >= begin]
        stamps = sorted({each.pts for each in packets if each.is_shown and each.pts is not None})
        decoded_at = [each.dts for each in packets if each.dts is not None]
        is_one = all(a <= b for a, b in pairwise(decoded_at))  # and not several recordings, one after the other
        is_reordered = is_avi and codec in ("h264", "hevc")  # AVI holds no time of showing, which matters there
        if is_reordered or not is_one or len(stamps) != sum(each.is_shown for each in packets):
            return Index(times=self._count_times(timed=not is_reordered))
        keys = sorted((each.pts, each.dts) for each in packets if each.is_key and each.pts is not None)
        array = np.array(stamps, dtype=np.int64)
        return Index(
            times=array * float(self._time_base),
            stamps=array,
            keys=tuple(np.searchsorted(array, [pts for pts, _ in keys]).tolist()),
            seeks=tuple((pts,) if dts is None else (pts, dts) for pts, dts in keys),
        )

    def _count_times(self, *, timed: bool) -> Float64[np.ndarray, " frame"]:
        """The times of the frames by decoding them all, from their own stamps where those are there and hold."""
        stamps = [image.pts for image in self._images(0)]
        step = 1 / (self.fps or ASSUMED_FPS)
        known = [stamp * float(self._time_base) for stamp in stamps if stamp is not None]
        if not timed or len(known) < len(stamps):
            return np.arange(len(stamps)) * step
        return rising_times(known, step)

    def _forward(self, start: int, stop: int | None, step: int) -> Iterator[Frame]:
        with closing(self._decode(start)) as decoded:
            for index, image in decoded:
                if stop is not None and index >= stop:
                    return
                if (index - start) % step:
                    continue
                check_size(self.name, image.height, image.width)
                time = float(self._index.times[index])
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
                self._lose_frames(last + 1, number)
                last = number
                yield number, image
        self._lose_frames(last + 1, self._index.count)

    def _lose_frames(self, first: int, stop: int) -> None:
        """Frames that the file names and the decoder did not give."""
        if self._index.stamps is not None:
            self._lose(self._index.stamps[first:stop].tolist())

    def _images(self, first: int) -> Generator[VideoFrame, None, None]:
        """Decoded images from a key frame at or before frame `first`."""
        for stamp in (*self._places(first), None):
            with self._opened() as (container, stream):
                if stamp is not None and not _seek(container, stream, stamp):
                    continue
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
                self._lose([] if packet is None else [packet.pts])
                continue
            self._lose(image.pts for image in images if image.is_corrupt)
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
            self._lose(["end"])
        yield None

    def _lose(self, frames: Iterable[object]) -> None:
        """Counts frames that are lost or hurt, each once, in the warning."""
        before = len(self._lost)
        self._lost.update(frames)
        if len(self._lost) > before:
            count = f"{len(self._lost)} frame" + "s" * (len(self._lost) > 1)
            self.warnings = [
                f"{self.name} is damaged or cut short: what can be decoded of it is used; "
                f"{count} so far could not be, or only in part"
            ]


def _seek(container: InputContainer, stream: VideoStream, stamp: int) -> bool:
    """Moves to a place that the index names; False where a damaged index leads nowhere."""
    try:
        container.seek(stamp, stream=stream)
    except FFmpegError:
        return False
    return True


def rising_times(seconds: Sequence[float], step: float) -> Float64[np.ndarray, " frame"]:
    """Times of frames whose stamps may be doubled or begin anew: each later than the one before.

    Where they begin anew, as in recordings that were joined, the second follows the first after one `step`; a stamp
    that is only repeated is moved by as little as players tell apart.
    """
    times: list[float] = []
    shift = 0.0
    for moment in seconds:
        time = moment + shift
        if times and time < times[-1] - step / 2:
            shift += times[-1] + step - time
            time = times[-1] + step
        elif times and time <= times[-1]:
            time = times[-1] + MOMENT
        times.append(time)
    return np.array(times, dtype=np.float64)


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
    if image.format.has_palette or any(part.is_alpha for part in image.format.components):
        pixels = read_image(image.to_ndarray(format="rgba"))  # over white, as images are
    else:
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
