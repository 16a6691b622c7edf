"""The table of label layouts: a new one is an entry here, a reader in `formats` and a source beside this file."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from masklet.data.labels.coco import CocoSource
from masklet.data.labels.davis import DavisVideos
from masklet.data.labels.mask_folders import MaskFolderSource
from masklet.data.labels.object_masks import read_object_masks
from masklet.data.labels.saco import SacoSource
from masklet.data.labels.yolo import YoloSource
from masklet.data.labels.ytvis import YtvisVideos
from masklet.data.sources import CocoConfig, IndexedSource
from masklet.data.videos import LabelledVideos, VideoFrames
from masklet.errors import InputError
from masklet.formats.coco import CocoFile
from masklet.formats.lvis import read_lvis
from masklet.formats.mot import read_mot
from masklet.formats.object_masks import has_object_folders
from masklet.formats.stream import iterate_items
from masklet.formats.tools.cvat import read_cvat
from masklet.formats.tools.imagefolder import METADATA, read_imagefolder
from masklet.formats.tools.labelme import read_labelme
from masklet.formats.tools.labelstudio import read_labelstudio
from masklet.formats.tools.voc import read_voc
from masklet.media.suffixes import is_image, walk_folders


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


def _of_tool(recognise: Callable[[Path, frozenset[str]], bool], read: Callable[[Path], CocoFile]) -> LabelLayout:
    """Files of a tool, which are read as COCO's."""
    return LabelLayout(
        recognise=recognise, open=lambda files, config: CocoSource(files.labels, files.images, config, read=read)
    )


def _begins(path: Path, text: str) -> bool:
    """Whether an XML file has this near its beginning."""
    if path.suffix.lower() != ".xml" or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return text in file.read(_FIRST_LOOK)


def _holds(path: Path, pattern: str, text: str) -> bool:
    """Whether one of the first files of a folder has this near its beginning."""
    if not path.is_dir():
        return False
    for file in islice((each for each in path.rglob(pattern) if not each.name.startswith(".")), _FEW):
        with file.open(encoding="utf-8-sig", errors="replace") as opened:
            if text in opened.read(_FIRST_LOOK):
                return True
    return False


_FIRST_LOOK, _FEW = 2**16, 5

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
    "objects": LabelLayout(
        recognise=lambda path, _: has_object_folders(path),
        open=lambda files, config: CocoSource(
            files.labels, files.images, config, read=partial(read_object_masks, images=files.images)
        ),
    ),
    "masks": LabelLayout(
        recognise=lambda path, _: (path / "masks").is_dir(),
        open=lambda files, config: MaskFolderSource(files.labels, config),
    ),
    "labelme": _of_tool(lambda path, known: "shapes" in known or _holds(path, "*.json", '"shapes"'), read_labelme),
    "cvat": _of_tool(lambda path, _: _begins(path, "<annotations"), read_cvat),
    "voc": _of_tool(lambda path, _: _begins(path, "<annotation>") or _holds(path, "*.xml", "<annotation>"), read_voc),
    "labelstudio": _of_tool(lambda _, known: "data" in known, read_labelstudio),
    "imagefolder": _of_tool(
        lambda path, _: path.name == METADATA or (path / METADATA).is_file(),
        read_imagefolder,
    ),
    "mot": _of_tool(
        lambda path, _: path.suffix == ".txt" or any((path / name).is_file() for name in ("gt/gt.txt", "mot.txt")),
        read_mot,
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
        if section in ("images", "videos", "shapes", ""):  # its name, and the fields of its first record
            known = frozenset([section, *(value if isinstance(value, dict) else ())])
            break
    for name, layout in LAYOUTS.items():
        if layout.recognise(labels, known):
            return name
    raise InputError(f"{labels} has no known layout of labels; expected is one of {', '.join(LAYOUTS)}")


def find_labels(root: Path, part: str = "train") -> tuple[str, LabelFiles]:
    """The layout and the place of the labels below a folder, as annotation tools export them.

    Roboflow, CVAT and Label Studio's COCO (a json beside its images or beside images/), YOLO's data.yaml, masks beside
    images, image folders of Hugging Face, and the files of LabelMe, CVAT, Pascal VOC and Label Studio. Of several,
    those whose path speaks of `part`.

    Raises: InputError naming what is there, and the setting that chooses.
    """
    found, chosen = _labels_below(root, part)
    if len(chosen) == 1:
        layout, labels = chosen[0]
        return layout, LabelFiles(labels=labels, images=_images_of(labels), part=part)
    if not found:
        names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir() if not path.name.startswith("."))
        there = ", ".join(names[:20]) or "nothing"
        raise InputError(
            f"{root}: no labels of a known layout, only {there}; name them, such as "
            "data.sources.mine='{kind: coco, annotations: annotations.json, images: images}'"
        )
    listed = "; ".join(f"data.sources.mine='{_override(root, *each)}'" for each in found)
    raise InputError(f"{root}: has labels in {len(found)} places; choose one of {listed}")


def labels_at(place: Path, part: str = "train") -> Path:
    """The labels that a path means: a file, a folder of a layout, or what one folder around it all holds.

    Of several below the folder, those whose path speaks of `part`. Raises: InputError naming them when it is not one.
    """
    if not place.is_dir() or _layout_of(place) not in (None, "davis"):  # images/ alone look like DAVIS's folders
        return place
    found, chosen = _labels_below(place, part)
    if len(chosen) == 1:
        return chosen[0][1]
    if found:
        listed = ", ".join(str(path) for _, path in found)
        raise InputError(f"{place}: has labels in {len(found)} places; name one of {listed}")
    return place


def _labels_below(root: Path, part: str) -> tuple[list[tuple[str, Path]], list[tuple[str, Path]]]:
    """Layouts and places of all labels below a folder; and of those that are meant, one if all is well."""
    found = [(layout, path) for path in _candidates(root) if (layout := _layout_of(path)) is not None]
    if len(found) == 1:
        return found, found
    return found, [each for each in found if part in str(each[1].relative_to(root)).lower()]


def _candidates(root: Path) -> list[Path]:
    """Files and folders that may be labels, a few levels deep; a folder of one file an image stands for its files."""
    if (root / "masks").is_dir() and (root / "images").is_dir():
        return [root]
    places = [root, *sorted(path for path in walk_folders(root, _LEVELS))]
    files = [file for place in places for file in islice(_label_files(place), _MOST_FILES)]
    kinds = {file: _layout_of(file) for file in files}
    folders = [file.parent for file in files if kinds[file] in ("labelme", "voc")]
    return [*(file for file in files if kinds[file] not in ("labelme", "voc", None)), *dict.fromkeys(folders)]


def _label_files(folder: Path) -> Iterator[Path]:
    """Files of a folder that may hold labels, by name."""
    suffixes = (".json", ".jsonl", ".yaml", ".yml", ".xml")
    return (each for each in sorted(folder.iterdir()) if each.suffix in suffixes and not each.name.startswith("."))


_LEVELS, _MOST_FILES = 2, 20  # of a folder with more, the first of which are enough to tell


def _layout_of(path: Path) -> str | None:
    try:
        return recognise(path)
    except InputError:
        return None


def _images_of(labels: Path) -> Path:
    """The folder of the images: beside the labels, or called images, beside them or beside their folder."""
    home = labels if labels.is_dir() else labels.parent
    if labels.name == METADATA:
        return home
    names = ("images", "JPEGImages", f"images/{labels.stem.removeprefix('instances_')}")
    found = [place / name for place in (home, home.parent) for name in reversed(names) if (place / name).is_dir()]
    return home if not found or any(map(is_image, home.iterdir())) else found[0]


def _override(root: Path, layout: str, labels: Path) -> str:
    place = labels.relative_to(root).as_posix()
    if layout in ("yolo", "masks"):
        return f"{{kind: {layout}, {'data' if layout == 'yolo' else 'folder'}: {place}}}"
    return f"{{kind: {layout}, annotations: {place}, images: {_images_of(labels).relative_to(root).as_posix()}}}"
