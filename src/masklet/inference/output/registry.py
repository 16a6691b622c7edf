"""The tables of formats that results are written in; a new one is an entry here and a writer beside this file.

Names are asked for before a model is loaded, so what needs torch or PyAV is imported by the entries themselves.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from masklet.files import whole_or_none, write_atomically

if TYPE_CHECKING:
    from masklet.inference.output.video_writer import Writer
    from masklet.media.frames import FrameSource
    from masklet.protocols import ImageInstances


# --- images -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ImageOutput:
    """The place of a result: a path inside a folder, without suffix. `name` is what labels call the image."""

    folder: Path
    stem: str
    name: str | None = None

    def file(self, suffix: str) -> Path:
        """The file of this suffix, dots in the stem or not."""
        base = self.folder / self.stem
        return base.with_name(f"{base.name}.{suffix}")


def _write_yolo(result: "ImageInstances", output: ImageOutput) -> list[Path]:
    lines = _exports().to_yolo(result, list(result.queries))
    write_atomically(output.folder / "classes.txt", "\n".join([*result.queries, ""]))
    return [write_atomically(output.file("txt"), "\n".join([*lines, ""]))]


def _exports() -> ModuleType:
    from masklet.inference.output import export

    return export


SHARED_FILES = {"coco": "coco.json", "yolo": "classes.txt"}  # of all images of a folder together

IMAGE_FORMATS: Mapping[str, Callable[["ImageInstances", ImageOutput], list[Path]]] = {
    "overlay": lambda result, output: [_exports().write_overlay(result, output.file("overlay.png"))],
    "json": lambda result, output: [_exports().write_json(result, output.file("json"))],
    "coco": lambda result, output: [
        write_atomically(output.file("coco.json"), json.dumps(_exports().to_coco(result, output.name)))
    ],
    "yolo": _write_yolo,
    "png": lambda result, output: _exports().save_masks(result, output.file("masks")),
}


def write_image_formats(result: "ImageInstances", formats: Sequence[str], output: ImageOutput) -> list[Path]:
    """Writes one result in each format and returns the files, in the order of the table: the overlay comes first.

    Raises: InputError when a file cannot be written; then none is left of this result.
    """
    with whole_or_none() as paths:
        for name, write in IMAGE_FORMATS.items():
            if name in formats:
                paths.extend(write(result, output))
    return paths


# --- videos -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class VideoOutput:
    """The place of the results of a video: a folder, with the journal of the run, and the video itself."""

    folder: Path
    journal: Path
    source: "FrameSource"


def _overlay_writer(output: VideoOutput) -> "Writer":
    from masklet.media.video_reader import VideoFile

    sound = output.source.path if isinstance(output.source, VideoFile) else None
    source = output.source
    return _writers().OverlayWriter(output.folder / "overlay.mp4", source.fps, sound, source.pixel_aspect)


def _writers() -> ModuleType:
    from masklet.inference.output import video_writer

    return video_writer


VIDEO_FORMATS: Mapping[str, Callable[[VideoOutput], "Writer | None"]] = {
    "overlay": _overlay_writer,
    "masks": lambda output: _writers().MaskWriter(output.folder / "masks", output.source.file_names),
    "ytvis": lambda output: _writers().YtvisWriter(
        output.folder / "ytvis.json", output.journal, Path(output.source.name).name, output.source.file_names
    ),
    "mot": lambda output: _writers().MotWriter(output.folder / "mot.txt", output.source.file_names),
    "davis": lambda output: _writers().DavisWriter(output.folder / "davis", output.source.file_names),
    "json": lambda _: None,  # the journal itself, which every run writes
}


def open_writers(formats: Sequence[str], folder: Path, journal: Path, source: "FrameSource") -> "dict[str, Writer]":
    """A writer for each format that needs one.

    Raises: InputError when something else is in its place, or the source itself.
    """
    from masklet.media.frames import check_kept

    output = VideoOutput(folder=folder, journal=journal, source=source)
    opened = {name: VIDEO_FORMATS[name](output) for name in formats}
    writers = {name: writer for name, writer in opened.items() if writer is not None}
    check_kept(source, [journal, *(writer.path for writer in writers.values())])
    return writers


def export(journal: Path, folder: Path, formats: Sequence[str], source: "FrameSource") -> list[Path]:
    """Makes formats of a journal anew and returns the files. Raises: InputError."""
    from masklet.inference.output.video_export import read_journal, with_images

    writers = open_writers(formats, folder, journal, source)
    try:
        results = read_journal(journal)
        for result in with_images(results, source) if "overlay" in writers else results:
            for writer in writers.values():
                writer.add(result)
        return [path for writer in writers.values() for path in writer.close()]
    except BaseException:
        for writer in writers.values():
            writer.discard()
        raise
