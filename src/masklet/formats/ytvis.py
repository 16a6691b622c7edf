"""YouTube-VIS labels and results, and SA-Co/VEval, which adds which phrases were asked of which video.

A masklet has an entry for each frame of its video: null, or a mask without pixels, where the object is not seen.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from masklet.errors import InputError
from masklet.formats.records import Box, Flag, Id, Probability, RunLengths, Size, by_id, read_list, read_records

Masks = list[RunLengths | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class YtvisVideo:
    """An entry of `videos`; `frames` are the numbers of the frames where not all were labelled."""

    id: Id
    video_name: str | None = None
    name: str | None = None
    file_names: list[str] | None = None
    height: Size
    width: Size
    length: Annotated[int, Field(ge=1)] | None = None
    frames: list[int] | None = None

    @property
    def files(self) -> list[str]:
        """The files of its frames; none where the labels do not name them."""
        return self.file_names or []

    @property
    def num_frames(self) -> int:
        """Number of frames, by the names of their files where no `length` is stated."""
        return len(self.files) if self.length is None else self.length


@dataclass(frozen=True, slots=True, kw_only=True)
class YtvisCategory:
    """An entry of `categories`."""

    id: Id
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class YtvisPair:
    """An entry of `video_np_pairs`, which only SA-Co/VEval has."""

    id: Id | None = None
    video_id: Id
    category_id: Id
    noun_phrase: str | None = None
    num_masklets: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class YtvisAnnotation:
    """An entry of `annotations`."""

    id: Id
    video_id: Id
    category_id: Id
    noun_phrase: str | None = None
    segmentations: Annotated[Masks, Field(min_length=1)] | None = None
    bboxes: list[Box | None] | None = None
    areas: list[float | int | None] | None = None
    iscrowd: Flag | None = 0
    height: Size | None = None
    width: Size | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class YtvisTrack:
    """An annotation that a tracker made: it has the id that the object keeps, and a score."""

    id: int
    video_id: int
    track_id: int
    category_id: int
    height: int
    width: int
    length: int
    iscrowd: Flag = 0
    score: float | int
    segmentations: Masks
    bboxes: list[Box | None]
    areas: list[int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class YtvisPrediction:
    """An entry of a list of predictions."""

    video_id: Id
    category_id: Id
    score: Probability
    bboxes: list[Box | None] | None = None
    segmentations: Annotated[Masks, Field(min_length=1)]
    areas: list[float | int | None] | None = None


YtvisRecord = YtvisVideo | YtvisCategory | YtvisPair | YtvisAnnotation


@dataclass(frozen=True, kw_only=True)
class YtvisFile:
    """A YouTube-VIS dataset; annotations and pairs are of videos that are there. Categories are names by id."""

    videos: dict[Id, YtvisVideo]
    categories: dict[Id, str]
    annotations: list[YtvisAnnotation]
    pairs: list[YtvisPair]


def iterate_ytvis(path: Path) -> Iterator[YtvisRecord]:
    """The records of a file in its order, each known to be whole by itself; videos and annotations are given once.

    Raises: InputError naming file, record and field.
    """
    kinds = {
        "videos": YtvisVideo,
        "categories": YtvisCategory,
        "video_np_pairs": YtvisPair,
        "annotations": YtvisAnnotation,
    }
    known: set[tuple[object, Id]] = set()
    for record in read_records(path, kinds):
        if isinstance(record, YtvisVideo):
            where, count, names = f"{path}: video {record.id}: length:", record.num_frames, record.files
            if count < 1:
                raise InputError(f"{where} neither it nor file_names says how many frames there are")
            if names and len(names) != count:
                raise InputError(f"{where} is {record.length}, but there are {len(names)} file_names")
        if not isinstance(record, YtvisCategory):
            is_pair = isinstance(record, YtvisPair)
            key = (record.video_id, record.category_id) if is_pair else (type(record), record.id)
            if key in known:
                raise InputError(f"{path}: {name_of(record)} is given twice")
            known.add(key)
        yield record


def read_ytvis(path: Path) -> YtvisFile:
    """All records of a file, in whatever order it has them. Raises: InputError naming file, record and field."""
    videos, categories, annotations, pairs = [], {}, [], []
    for record in iterate_ytvis(path):
        if isinstance(record, YtvisVideo):
            videos.append(record)
        elif isinstance(record, YtvisCategory):
            add_category(categories, record, path)
        elif isinstance(record, YtvisPair):
            pairs.append(record)
        else:
            annotations.append(record)
    found = YtvisFile(videos=by_id(videos, path, "video"), categories=categories, annotations=annotations, pairs=pairs)
    if not videos:
        raise InputError(f"{path}: has no videos: labels of YouTube-VIS or SA-Co/VEval are expected")
    for annotation in annotations:
        check_frames(annotation, found.videos, path, name_of(annotation))
    for pair in pairs:
        video_of(pair, found.videos, path, name_of(pair))
    return found


def read_ytvis_predictions(path: Path) -> Iterator[YtvisPrediction]:
    """A list of predicted masklets. Raises: InputError naming file, record and field."""
    return read_list(path, YtvisPrediction, "prediction")


def name_of(record: YtvisRecord) -> str:
    """A record as messages name it."""
    if isinstance(record, YtvisPair):
        return f"the pair of video {record.video_id} and category {record.category_id}"
    kinds = {YtvisVideo: "video", YtvisCategory: "category", YtvisAnnotation: "annotation"}
    return f"{kinds[type(record)]} {record.id}"


def add_category(categories: dict[Id, str], category: YtvisCategory, path: Path) -> None:
    """Files may declare a category twice. Raises: InputError when they give it two names."""
    if categories.setdefault(category.id, category.name) != category.name:
        names = f"{categories[category.id]!r} and {category.name!r}"
        raise InputError(f"{path}: category {category.id}: name: is {names}")


def video_of(
    record: YtvisAnnotation | YtvisPrediction | YtvisPair, videos: Mapping[Id, YtvisVideo], path: Path, name: str
) -> YtvisVideo:
    """The video that a record is of. Raises: InputError naming it when there is none."""
    if record.video_id not in videos:
        raise InputError(f"{path}: {name}: video_id: there is no video {record.video_id}")
    return videos[record.video_id]


def check_frames(
    record: YtvisAnnotation | YtvisPrediction, videos: Mapping[Id, YtvisVideo], path: Path, name: str
) -> YtvisVideo:
    """The video of a masklet, whose masks and boxes fit its frames. Raises: InputError naming record and field."""
    video = video_of(record, videos, path, name)
    for field in ("segmentations", "bboxes"):
        entries = getattr(record, field)
        if entries is not None and len(entries) != video.num_frames:
            raise InputError(
                f"{path}: {name}: {field}: {len(entries)} entries for the {video.num_frames} frames of video {video.id}"
            )
    for frame, mask in enumerate(record.segmentations or ()):
        if mask is not None and mask.counts and mask.size != [video.height, video.width]:
            sizes = f"{mask.size[0]} x {mask.size[1]}, but video {video.id} is {video.height} x {video.width}"
            raise InputError(f"{path}: {name}: segmentations.{frame}.size: {sizes}")
    for frame, box in enumerate(record.bboxes or ()):
        if box is not None and min(box[2:]) < 0:
            raise InputError(f"{path}: {name}: bboxes.{frame}: its width or height is negative")
    return video
