"""Writers of a video's results, fed frame by frame. What they write appears under its name when they are closed.

A run that is stopped closes its writers like one that came to its end: the files then hold what was done.
"""

import json
import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from av.container import OutputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream
from PIL import Image

from masklet.errors import InputError
from masklet.files import cannot_write, write_atomically
from masklet.formats.davis import label_image
from masklet.formats.mask_folders import result_name
from masklet.formats.mot import MOT_FRAMES
from masklet.formats.object_masks import OBJECTS
from masklet.inference.output.frame_export import indexed_mask, mot_lines
from masklet.inference.output.overlays import frame_overlay
from masklet.inference.output.video_export import write_ytvis
from masklet.inference.output.video_sound import with_sound
from masklet.media.frames import ASSUMED_FPS
from masklet.protocols import TrackedFrame

ENCODERS = ("libx264", "mpeg4")  # the first that is there is taken
OPTIONS = {"libx264": {"crf": "20", "preset": "veryfast"}, "mpeg4": {"qmin": "3", "qmax": "5"}}
TICKS = 60_000  # per second: times are kept to 8 microseconds, and MPEG-4 counts no finer than 65535
BT_601 = 5  # the matrix by which PyAV turns RGB into YUV; untold, players take that of HD for large videos

FrameNames = Sequence[str] | None  # files that the frames came from, in the order of their numbers


class Writer(ABC):
    """One format, written beside its place. After an error only `discard` may follow."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes: list[str] = []
        self._beside = path.with_name(f".{path.name}.part")
        self._begun = False

    def add(self, result: TrackedFrame) -> None:
        """Writes one frame. Raises: InputError when it cannot be written, or does not fit the format."""
        try:
            if not self._begun:
                _remove(self._beside)
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._begin(result)
                self._begun = True
            self._write(result)
        except (OSError, FFmpegError) as error:
            raise cannot_write(self.path, error) from error

    def close(self) -> list[Path]:
        """Gives what was written its name and returns it; without a frame there is nothing. Raises: InputError."""
        if not self._begun:
            return []
        try:
            self._finish()
            if self.path.is_dir():
                shutil.rmtree(self.path)
            self._beside.replace(self.path)
        except (OSError, FFmpegError) as error:
            raise cannot_write(self.path, error) from error
        return [self.path]

    def discard(self) -> None:
        """Deletes what was written; an older result stays as it was."""
        self._release()
        _remove(self._beside)

    def _begin(self, result: TrackedFrame) -> None:  # noqa: B027 - formats without a head have none
        """Opens what frames are written to; the first one is at hand."""

    @abstractmethod
    def _write(self, result: TrackedFrame) -> None: ...

    def _finish(self) -> None:
        """Writes what follows the last frame, and closes all."""
        self._release()

    def _release(self) -> None:  # noqa: B027 - formats that hold nothing open have none
        """Closes what is open."""


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class MotWriter(Writer):
    """MOTChallenge text, see `frame_export.mot_lines`.

    Where frames have names, `mot_frames.json` beside it says which number is which file.
    """

    _file: BinaryIO | None = None

    def __init__(self, path: Path, names: FrameNames = None) -> None:
        super().__init__(path)
        self._names = names
        self._seen: dict[int, str] = {}

    def _begin(self, result: TrackedFrame) -> None:  # noqa: ARG002 - all frames are alike
        self._file = self._beside.open("wb")

    def _write(self, result: TrackedFrame) -> None:
        assert self._file is not None, "begun"
        self._file.write("".join(f"{line}\n" for line in mot_lines(result)).encode())
        if self._names is not None:
            self._seen[result.index + 1] = self._names[result.index]

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()

    def close(self) -> list[Path]:
        """As of every writer; the names of the frames are a second file."""
        files = super().close()
        if files and self._names is not None:
            files.append(write_atomically(self.path.with_name(MOT_FRAMES), json.dumps(self._seen, indent=1)))
        return files


class YtvisWriter(Writer):
    """A YouTube-VIS dataset, see `video_export.write_ytvis`: made at the end, from the journal of the run."""

    def __init__(self, path: Path, journal: Path, name: str, names: FrameNames = None) -> None:
        super().__init__(path)
        self._journal, self._name, self._names = journal, name, names

    def _write(self, result: TrackedFrame) -> None:
        """The journal has it."""

    def _finish(self) -> None:
        write_ytvis(self._journal, self._beside, self._name, self._names)


class _FolderWriter(Writer):
    """A folder of images, with a file that says which object is which. Replaces only a folder that this class wrote.

    An image is called as the file of its frame, where there was one, and else by its number.
    """

    digits: int  # of a number

    def __init__(self, path: Path, names: FrameNames = None) -> None:
        super().__init__(path)
        self._names = names
        if path.exists() and not (path / OBJECTS).exists():
            raise InputError(f"{path} exists and was not written by masklet: choose another folder")
        self._objects: list[dict[str, str | int]] = []

    def _name_of(self, result: TrackedFrame) -> str:
        if self._names is None:
            return f"{result.index:0{self.digits}d}.png"
        return f"{Path(self._names[result.index]).stem}.png"

    def _begin(self, result: TrackedFrame) -> None:  # noqa: ARG002 - all frames are alike
        self._beside.mkdir()

    def _finish(self) -> None:
        write_atomically(self._beside / OBJECTS, json.dumps(self._objects, indent=1))


class MaskWriter(_FolderWriter):
    """A folder for each object, `003-dog`, with an image for each frame it is seen on, `000012.png`.

    Images are black and white, one bit deep. Masks are as they are: where objects overlap, both are white.
    """

    digits = 6

    def __init__(self, path: Path, names: FrameNames = None) -> None:
        super().__init__(path, names)
        self._folders: dict[int, Path] = {}

    def _write(self, result: TrackedFrame) -> None:
        for place, object_id in enumerate(result.ids.tolist()):
            if object_id not in self._folders:
                name = result.phrases[place]
                self._folders[object_id] = self._beside / result_name(object_id, name)
                self._folders[object_id].mkdir()
                entry = {"id": object_id, "name": name, "folder": self._folders[object_id].name}
                self._objects.append(entry)
            image = Image.fromarray(result.mask(place))
            image.save(self._folders[object_id] / self._name_of(result), compress_level=1)  # four times faster


class DavisWriter(_FolderWriter):
    """An image with the DAVIS palette for each frame, `00012.png`: 0 is background, 1 to 255 objects as they appear.

    A pixel where objects overlap is that of the one in front, see `TrackedFrame.masks`.
    """

    digits = 5

    def __init__(self, path: Path, names: FrameNames = None) -> None:
        super().__init__(path, names)
        self._indices: dict[int, int] = {}

    def _write(self, result: TrackedFrame) -> None:
        known = len(self._indices)
        ids = indexed_mask(result, self._indices)
        names = dict(zip(result.ids.tolist(), result.phrases, strict=True))
        for object_id in list(self._indices)[known:]:
            entry = {"index": self._indices[object_id], "id": object_id, "name": names[object_id]}
            self._objects.append(entry)
        label_image(ids).save(self._beside / self._name_of(result))


class OverlayWriter(Writer):
    """An MP4 of the frames with their objects, at the times of the source; frames must come in order of time.

    Odd sides gain a pixel, as the codec wants them even; pixels keep their shape. When `sound` names the source's file,
    its sound of the stretch that was drawn is copied along; what prevents that is a note.
    """

    _container: OutputContainer | None = None
    _stream: VideoStream

    def __init__(
        self, path: Path, fps: float | None = None, sound: Path | None = None, pixel_aspect: Fraction = Fraction(1)
    ) -> None:
        super().__init__(path)
        self._fps, self._source, self._pixel_aspect = fps or ASSUMED_FPS, sound, pixel_aspect
        self._first = self._last = 0.0

    def _begin(self, result: TrackedFrame) -> None:
        self._first, self._last = result.time, -np.inf
        name = str(self._beside.absolute())  # a name with a colon would be a protocol
        self._container = av.open(name, "w", format="mp4", options={"movflags": "faststart"})
        encoder = next(name for name in ENCODERS if name in av.codecs_available)
        rate = Fraction(self._fps).limit_denominator(1001)
        self._stream = self._container.add_stream(encoder, rate=rate, options=OPTIONS[encoder])  # type: ignore[assignment]
        self._stream.height, self._stream.width = (side + side % 2 for side in result.size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.time_base = Fraction(1, TICKS)
        self._stream.codec_context.colorspace = BT_601
        self._stream.codec_context.sample_aspect_ratio = self._pixel_aspect

    def _write(self, result: TrackedFrame) -> None:
        assert self._container is not None, "begun"
        if result.time <= self._last:
            raise InputError(f"frame {result.index} does not come after the one before: an overlay needs them in order")
        self._last = result.time
        height, width = result.size
        drawn = np.pad(frame_overlay(result), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = av.VideoFrame.from_ndarray(drawn, format="rgb24")
        frame.pts, frame.time_base = round((result.time - self._first) * TICKS), Fraction(1, TICKS)
        self._container.mux(self._stream.encode(frame))

    def _finish(self) -> None:
        assert self._container is not None, "begun"
        self._container.mux(self._stream.encode())
        self._release()
        if self._source is not None:
            self._add_sound(self._source)

    def _add_sound(self, source: Path) -> None:
        target = self._beside.with_name(f"{self._beside.name}.sound")
        try:
            reason = with_sound(self._beside, source, (self._first, self._last + 1 / self._fps), target)
            if reason is None:
                target.replace(self._beside)
            elif reason:
                self.notes.append(f"the sound was left out: {reason}")
        finally:
            _remove(target)

    def _release(self) -> None:
        if self._container is not None:
            self._container.close()
