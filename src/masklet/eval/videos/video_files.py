"""What was asked of videos and what was answered: SA-Co/VEval files, the YouTube-VIS layout they build on, predictions.

Records are read and checked one by one; an error names the file, the record and the field. A frame where an object is
not seen holds null, or a mask without pixels. Masks stay run lengths.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from jaxtyping import Float64, Int64
from pydantic import Field
from typing_extensions import NotRequired, TypedDict

from masklet.errors import InputError
from masklet.formats.records import Flag, Pixels, RunLengths, Size, check
from masklet.formats.stream import iterate_items
from masklet.ops.masks import Counts


class _Video(TypedDict):
    id: int
    height: Size
    width: Size
    length: Annotated[int, Field(ge=1)]
    video_name: NotRequired[str]
    file_names: NotRequired[list[str]]


class _Category(TypedDict):
    id: int
    name: str


class _Pair(TypedDict):
    video_id: int
    category_id: int
    noun_phrase: NotRequired[str]


class _Masklet(TypedDict):
    video_id: int
    category_id: int
    segmentations: Annotated[list[RunLengths | None], Field(min_length=1)]
    bboxes: NotRequired[list[Pixels | None]]


class _Annotation(_Masklet):
    id: int
    noun_phrase: NotRequired[str]
    iscrowd: NotRequired[Flag]


class _Prediction(_Masklet):
    score: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Video:
    """One video of a truth file; height and width in pixels, length in frames."""

    video_id: int
    name: str
    height: int
    width: int
    length: int
    file_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Masklet:
    """One object through a video: COCO counts of the frames that have a mask, and a box for every frame.

    A box of zeros says that the object is not seen. `boxes_xywh` is None where a file leaves boxes to the masks.
    `record` is what errors call it, `masklet_id` the id of its annotation or its place in a list of predictions; a true
    masklet has the score 1.
    """

    record: str
    masklet_id: int
    video_id: int
    phrase_id: int
    score: float | int
    frames: Int64[np.ndarray, " seen"]
    counts: tuple[Counts, ...]
    boxes_xywh: Float64[np.ndarray, "frame 4"] | None


@dataclass(frozen=True, kw_only=True)
class VideoTruth:
    """A truth file. `asked` are pairs of a video and a phrase: those with masklets and those known to have none."""

    videos: Mapping[int, Video]
    masklets: Sequence[Masklet]
    asked: frozenset[tuple[int, int]]
    phrases: Mapping[int, str]


def read_truth(path: Path) -> VideoTruth:
    """Reads SA-Co/VEval annotations, or YouTube-VIS ones, whose categories are then the phrases.

    Crowd masklets are left out: they are objects to find in none of the scores. Without `video_np_pairs` no phrase is
    known to be absent from a video. Videos must stand before the annotations, as published files have them.

    Raises: InputError naming file, record and field.
    """
    reader = _TruthReader(path)
    for section, value, _ in iterate_items(path):
        reader.take(section, value)
    if not reader.videos:
        raise InputError(f"{path}: no videos in it; is it an annotation file of SA-Co/VEval or YouTube-VIS?")
    return VideoTruth(
        videos=reader.videos,
        masklets=tuple(reader.masklets),
        asked=frozenset(reader.asked),
        phrases={phrase: reader.names.get(phrase, str(phrase)) for _, phrase in reader.asked},
    )


def read_predictions(path: Path, videos: Mapping[int, Video]) -> tuple[Masklet, ...]:
    """Reads a list of predicted masklets, in the order of the file.

    Raises: InputError naming file, record and field; a video that is not among `videos` is an error too.
    """
    masklets = []
    for section, value, _ in iterate_items(path):
        if section:
            raise InputError(f"{path}: predictions are a list of masklets, and this is an object")
        number = len(masklets)
        values = check(_Prediction, value, path, f"prediction {number}")
        masklets.append(_masklet({**values, "id": number}, path, f"prediction {number}", videos, values["score"]))
    return tuple(masklets)


class _TruthReader:
    """Takes the items of a truth file in the order of the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.videos: dict[int, Video] = {}
        self.masklets: list[Masklet] = []
        self.asked: set[tuple[int, int]] = set()
        self.names: dict[int, str] = {}
        self.known: set[Hashable] = set()

    def take(self, section: str, value: Any) -> None:
        """Items of sections that do not matter here are passed over."""
        if section == "videos":
            video = _video(value, self.path, f"video {len(self.videos)}")
            self._only_once(f"video {video.video_id}")
            self.videos[video.video_id] = video
        elif section == "annotations":
            self._take_annotation(value)
        elif section == "categories":
            category = check(_Category, value, self.path, "category")
            self.names.setdefault(category["id"], category["name"])
        elif section == "video_np_pairs":
            pair = check(_Pair, value, self.path, "pair")
            record = f"the pair of video {pair['video_id']} and category {pair['category_id']}"
            self._only_once(record)
            _video_of(pair, self.path, record, self.videos)
            self._ask(pair)

    def _take_annotation(self, value: Any) -> None:
        values = check(_Annotation, value, self.path, "annotation")
        record = f"annotation {values['id']}"
        self._only_once(record)
        masklet = _masklet(values, self.path, record, self.videos, 1)
        self._ask(values)
        if not values.get("iscrowd"):
            self.masklets.append(masklet)

    def _ask(self, values: Any) -> None:
        self.asked.add((values["video_id"], values["category_id"]))
        if "noun_phrase" in values:
            self.names[values["category_id"]] = values["noun_phrase"]

    def _only_once(self, record: str) -> None:
        if record in self.known:
            raise InputError(f"{self.path}: {record} stands there twice")
        self.known.add(record)


def _video(value: Any, path: Path, record: str) -> Video:
    values = check(_Video, value, path, record)
    names = tuple(values.get("file_names", ()))
    if names and len(names) != values["length"]:
        raise InputError(f"{path}: video {values['id']}: length is {values['length']}, but {len(names)} file_names")
    return Video(
        video_id=values["id"],
        name=values.get("video_name") or (names[0].split("/")[0] if names else str(values["id"])),
        height=values["height"],
        width=values["width"],
        length=values["length"],
        file_names=names,
    )


def _video_of(values: Any, path: Path, record: str, videos: Mapping[int, Video]) -> Video:
    if values["video_id"] not in videos:
        raise InputError(f"{path}: {record}: video_id: there is no video {values['video_id']}")
    return videos[values["video_id"]]


def _masklet(values: Any, path: Path, record: str, videos: Mapping[int, Video], score: float | int) -> Masklet:
    video = _video_of(values, path, record, videos)
    for field in ("segmentations", "bboxes"):
        if field in values and len(values[field]) != video.length:
            raise InputError(
                f"{path}: {record}: {field}: {len(values[field])} entries for the {video.length} frames of "
                f"video {video.video_id}"
            )
    seen = [(frame, mask) for frame, mask in enumerate(values["segmentations"]) if mask and mask["counts"]]
    for frame, mask in seen:
        if mask["size"] != [video.height, video.width]:
            height, width = mask["size"]
            raise InputError(
                f"{path}: {record}: segmentations.{frame}.size: {height} x {width}, but video {video.video_id} is "
                f"{video.height} x {video.width}"
            )
    return Masklet(
        record=f"{path}: {record}",
        masklet_id=values["id"],
        video_id=video.video_id,
        phrase_id=values["category_id"],
        score=score,
        frames=np.array([frame for frame, _ in seen], np.int64),
        counts=tuple(mask["counts"] for _, mask in seen),
        boxes_xywh=_boxes(values["bboxes"], path, record) if "bboxes" in values else None,
    )


def _boxes(boxes: list[list[float | int] | None], path: Path, record: str) -> Float64[np.ndarray, "frame 4"]:
    numbers = np.array([box or (0, 0, 0, 0) for box in boxes], np.float64)
    negative = (numbers[:, 2:] < 0).any(axis=1)
    if negative.any():
        raise InputError(f"{path}: {record}: bboxes.{negative.argmax()}: its width or height is negative")
    return numbers
