"""The table of label layouts: a new one is an entry here, a reader in `formats` and a source beside this file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from masklet.data.labels.coco import CocoSource
from masklet.data.labels.davis import DavisVideos
from masklet.data.labels.mask_folders import MaskFolderSource
from masklet.data.labels.saco import SacoSource
from masklet.data.labels.yolo import YoloSource
from masklet.data.labels.ytvis import YtvisVideos
from masklet.data.sources import CocoConfig, IndexedSource
from masklet.data.videos import LabelledVideos, VideoFrames
from masklet.errors import InputError
from masklet.formats.lvis import read_lvis
from masklet.formats.stream import iterate_items


@dataclass(frozen=True, kw_only=True)
class LabelFiles:
    """Where labels lie: a file or folder, and the folder of images unless the labels say where these are.

    `part` is the one to use where labels have several.
    """

    labels: Path
    images: Path = Path()
    part: str = "train"


@dataclass(frozen=True, kw_only=True)
class LabelLayout:
    """A layout of labelled images or, with `open_videos`, of labelled videos.

    `recognise` tells from a path and, of a JSON file, from the sections and the fields of its first image whether
    labels have this layout.
    """

    recognise: Callable[[Path, frozenset[str]], bool]
    open: Callable[[LabelFiles, CocoConfig], IndexedSource]
    open_videos: Callable[[LabelFiles, CocoConfig], LabelledVideos] | None = None


def _of_videos(
    recognise: Callable[[Path, frozenset[str]], bool], open_videos: Callable[[LabelFiles, CocoConfig], LabelledVideos]
) -> LabelLayout:
    """Frames of videos are images, too."""
    return LabelLayout(
        recognise=recognise, open=lambda files, config: VideoFrames(open_videos(files, config)), open_videos=open_videos
    )


LAYOUTS: Mapping[str, LabelLayout] = {
    "saco": LabelLayout(
        recognise=lambda _, known: "text_input" in known,
        open=lambda files, config: SacoSource(files.labels, files.images, config.split, config.limit),
    ),
    "lvis": LabelLayout(
        recognise=lambda _, known: "neg_category_ids" in known,
        open=lambda files, config: CocoSource(files.labels, files.images, config, read=read_lvis),
    ),
    "ytvis": _of_videos(
        lambda _, known: "videos" in known, lambda files, config: YtvisVideos(files.labels, files.images, config)
    ),
    "coco": LabelLayout(
        recognise=lambda _, known: "images" in known,
        open=lambda files, config: CocoSource(files.labels, files.images, config),
    ),
    "yolo": LabelLayout(
        recognise=lambda path, _: path.suffix in (".yaml", ".yml"),
        open=lambda files, config: YoloSource(files.labels, files.part, config),
    ),
    "masks": LabelLayout(
        recognise=lambda path, _: (path / "masks").is_dir(),
        open=lambda files, config: MaskFolderSource(files.labels, config),
    ),
    "davis": _of_videos(
        lambda path, _: path.is_dir() and any(path.glob("*/*.png")),
        lambda files, config: DavisVideos(files.labels, files.images, config),
    ),
}


def recognise(labels: Path) -> str:
    """The name of the first layout in the table that a file or folder has. Raises: InputError when it has none."""
    known = frozenset[str]()
    for section, value, _ in iterate_items(labels) if labels.suffix == ".json" else ():
        if section in ("images", "videos"):  # its name, and the fields of its first record
            known = frozenset([section, *(value if isinstance(value, dict) else ())])
            break
    for name, layout in LAYOUTS.items():
        if layout.recognise(labels, known):
            return name
    raise InputError(f"{labels} has no known layout of labels; expected is one of {', '.join(LAYOUTS)}")
