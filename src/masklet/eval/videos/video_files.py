"""Ground truth and predictions of videos, from SA-Co/VEval files and the YouTube-VIS layout they build on.

A frame where an object is not seen holds null, or a mask without pixels. Masks stay run lengths.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64

from masklet.errors import InputError
from masklet.formats.records import Id
from masklet.formats.ytvis import (
    YtvisAnnotation,
    YtvisCategory,
    YtvisPrediction,
    YtvisVideo,
    add_category,
    check_frames,
    iterate_ytvis,
    name_of,
    read_ytvis_predictions,
    video_of,
)
from masklet.ops.counts import Counts


@dataclass(frozen=True, kw_only=True)
class Video:
    """One video of a truth file; height and width in pixels, length in frames."""

    video_id: Id
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
    masklet_id: Id
    video_id: Id
    phrase_id: Id
    score: float | int
    frames: Int64[np.ndarray, " seen"]
    counts: tuple[Counts, ...]
    boxes_xywh: Float64[np.ndarray, "frame 4"] | None


@dataclass(frozen=True, kw_only=True)
class VideoTruth:
    """Ground truth. `asked` are pairs of a video and a phrase: those with masklets and those known to have none."""

    videos: Mapping[Id, Video]
    masklets: Sequence[Masklet]
    asked: frozenset[tuple[Id, Id]]
    phrases: Mapping[Id, str]


def read_truth(path: Path) -> VideoTruth:
    """Reads SA-Co/VEval annotations, or YouTube-VIS ones, whose categories are then the phrases.

    Crowd masklets are left out: they are objects to detect in none of the scores. Without `video_np_pairs` no phrase is
    known to be absent from a video. Videos must stand before the annotations, as published files have them: masklets
    are reduced to what is scored one by one.

    Raises: InputError naming file, record and field.
    """
    videos: dict[Id, YtvisVideo] = {}
    masklets: list[Masklet] = []
    asked: set[tuple[Id, Id]] = set()
    categories: dict[Id, str] = {}
    phrases: dict[Id, str] = {}
    for record in iterate_ytvis(path):
        if isinstance(record, YtvisVideo):
            videos[record.id] = record
            continue
        if isinstance(record, YtvisCategory):
            add_category(categories, record, path)
            continue
        if not isinstance(record, YtvisAnnotation):
            video_of(record, videos, path, name_of(record))
        elif record.iscrowd:
            check_frames(record, videos, path, name_of(record))
        else:
            masklets.append(_masklet(record, record.id, 1, videos, path, name_of(record)))
        asked.add((record.video_id, record.category_id))
        if record.noun_phrase is not None:
            phrases[record.category_id] = record.noun_phrase
    if not videos:
        raise InputError(f"{path}: no videos in it; is it an annotation file of SA-Co/VEval or YouTube-VIS?")
    return VideoTruth(
        videos={key: _video(video) for key, video in videos.items()},
        masklets=tuple(masklets),
        asked=frozenset(asked),
        phrases={phrase: phrases.get(phrase, categories.get(phrase, str(phrase))) for _, phrase in asked},
    )


def read_predictions(path: Path, videos: Mapping[Id, Video]) -> tuple[Masklet, ...]:
    """Reads a list of predicted masklets, in the order of the file.

    Raises: InputError naming file, record and field; a video that is not among `videos` is an error too.
    """
    records = {
        key: YtvisVideo(id=key, height=video.height, width=video.width, length=video.length)
        for key, video in videos.items()
    }
    return tuple(
        _masklet(prediction, number, prediction.score, records, path, f"prediction {number}")
        for number, prediction in enumerate(read_ytvis_predictions(path))
    )


def _video(record: YtvisVideo) -> Video:
    files = tuple(record.files)
    return Video(
        video_id=record.id,
        name=record.video_name or (files[0].split("/")[0] if files else str(record.id)),
        height=record.height,
        width=record.width,
        length=record.num_frames,
        file_names=files,
    )


def _masklet(
    record: YtvisAnnotation | YtvisPrediction,
    masklet_id: Id,
    score: float | int,
    videos: Mapping[Id, YtvisVideo],
    path: Path,
    name: str,
) -> Masklet:
    if record.segmentations is None:
        raise InputError(f"{path}: {name}: segmentations: is missing")
    video = check_frames(record, videos, path, name)
    seen = [(frame, mask) for frame, mask in enumerate(record.segmentations) if mask is not None and mask.counts]
    boxes = None if record.bboxes is None else np.array([box or (0, 0, 0, 0) for box in record.bboxes], np.float64)
    return Masklet(
        record=f"{path}: {name}",
        masklet_id=masklet_id,
        video_id=video.id,
        phrase_id=record.category_id,
        score=score,
        frames=np.array([frame for frame, _ in seen], np.int64),
        counts=tuple(mask.counts for _, mask in seen),
        boxes_xywh=boxes,
    )
