"""Predictions of a model for every phrase of every video, kept on disk.

All phrases of a video are followed in one session, a few at a time. Predictions are kept on disk by the content of the
frames, one file for each video, so that a run that was stopped goes on where it was, and a phrase that is new is all
that is asked.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import TypeAdapter

from masklet.errors import InputError
from masklet.eval.predict.predict import find_image, hash_file
from masklet.eval.predict.prediction_cache import read_checked, write_checked
from masklet.eval.videos.video_files import Video, VideoTruth
from masklet.files import write_atomically
from masklet.formats.records import Box, Id, RunLengths, id_order, to_json
from masklet.formats.stream import ListWriter
from masklet.formats.ytvis import YtvisPrediction
from masklet.ops.masks import rle_encode
from masklet.ops.runs import RunTable
from masklet.protocols import Segmenter

PHRASES_AT_ONCE = 8
MAX_CACHE_BYTES = 2**30  # of a file, far above the predictions for any video
_DIGITS = 5  # of scores, as in published predictions


@dataclass(frozen=True)
class FollowedObject:
    """One object as it was followed: run lengths of the frames where it was seen.

    The score is the mean of its scores on those frames.
    """

    score: float
    frames: tuple[int, ...]
    counts: tuple[str, ...]


Predictions = dict[str, tuple[FollowedObject, ...]]


def predict_videos(
    truth: VideoTruth, folder: Path, tracker: Segmenter, kept: Path, advance: Callable[[], object] = lambda: None
) -> Iterator[YtvisPrediction]:
    """Masklets of all phrases asked of all videos, as published predictions have them, video after video.

    Frames are the `file_names` of a video inside `folder`. Predictions are kept in `kept`, in one file for each video
    and model that is written when all phrases of the video have theirs. `advance` is called after each video.

    Raises: InputError naming the video when a frame or a phrase cannot be used.
    """
    for video in truth.videos.values():
        phrase_ids = sorted((phrase for of, phrase in truth.asked if of == video.video_id), key=id_order)
        try:
            predictions = _predict(video, [truth.phrases[each] for each in phrase_ids], folder, tracker, kept)
        except InputError as error:
            raise InputError(f"video {video.name}: {error}") from error
        for phrase_id in phrase_ids:
            for each in predictions[truth.phrases[phrase_id]]:
                yield _to_record(video, phrase_id, each)
        advance()


def write_predictions(predictions: Iterable[YtvisPrediction], path: Path) -> Path:
    """Writes predictions as one list, as they come. Raises: InputError when the file cannot be written."""

    def content(file: BinaryIO) -> None:
        writer = ListWriter(file)
        for prediction in predictions:
            writer.add(to_json(prediction))
        writer.end()

    return write_atomically(path, content)


def _predict(video: Video, phrases: Sequence[str], folder: Path, tracker: Segmenter, kept: Path) -> Predictions:
    if not phrases:
        return {}
    if not video.file_names:
        raise InputError("its record has no file_names, so that there is nothing to ask a model of")
    frames = [find_image(name, [folder]) for name in video.file_names]
    digest = hashlib.sha256(b"".join(bytes.fromhex(hash_file(frame)) for frame in frames)).hexdigest()
    path = kept / tracker.identity / "videos" / f"{digest}.json"
    predictions = _read_cache(path, video)
    missing = [phrase for phrase in dict.fromkeys(phrases) if phrase not in predictions]
    if missing:
        for start in range(0, len(missing), PHRASES_AT_ONCE):
            predictions |= _follow(video, frames, missing[start : start + PHRASES_AT_ONCE], tracker)
        document = {phrase: [asdict(each) for each in objects] for phrase, objects in predictions.items()}
        write_checked(path, json.dumps(document, separators=(",", ":")).encode())
    return predictions


def _follow(video: Video, frames: list[Path], phrases: Sequence[str], tracker: Segmenter) -> Predictions:
    scores: dict[tuple[str, int], list[float]] = {}
    masks: dict[tuple[str, int], dict[int, str]] = {}
    with closing(tracker.open_video(frames)) as session:
        for phrase in phrases:
            session.add_concept(phrase, frame=0)
        for result in session.track():
            if result.masks.shape[1:] != (video.height, video.width):
                size = " x ".join(map(str, result.masks.shape[1:]))
                raise InputError(f"its frames are {size} pixels, and its record says {video.height} x {video.width}")
            for phrase, object_id, score, mask in zip(
                result.concepts, result.ids.tolist(), result.scores.tolist(), result.masks, strict=True
            ):
                if mask.any():
                    masks.setdefault((phrase, object_id), {})[result.index] = rle_encode(mask)
                    scores.setdefault((phrase, object_id), []).append(score)
    objects: dict[str, list[FollowedObject]] = {phrase: [] for phrase in phrases}
    for (phrase, object_id), seen in masks.items():
        score = round(float(np.mean(scores[phrase, object_id])), _DIGITS)
        objects[phrase].append(FollowedObject(score, tuple(seen), tuple(seen.values())))
    return {phrase: tuple(followed) for phrase, followed in objects.items()}


def _to_record(video: Video, phrase_id: Id, followed: FollowedObject) -> YtvisPrediction:
    """A masklet with an entry for each frame, empty where it is not seen."""
    size, table = [video.height, video.width], _runs(video, followed)
    corners = table.boxes_xyxy
    seen_boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1).tolist()
    empty = RunLengths(size=size, counts=rle_encode(np.zeros(size, bool)))
    masks: list[RunLengths | None] = [empty] * video.length
    boxes: list[Box | None] = [[0, 0, 0, 0]] * video.length
    areas: list[float | int | None] = [0] * video.length
    seen = zip(followed.frames, followed.counts, seen_boxes, table.areas.tolist(), strict=True)
    for frame, counts, box, area in seen:
        masks[frame], boxes[frame], areas[frame] = RunLengths(size=size, counts=counts), box, area
    return YtvisPrediction(
        video_id=video.video_id,
        category_id=phrase_id,
        score=followed.score,
        bboxes=boxes,
        segmentations=masks,
        areas=areas,
    )


def _runs(video: Video, followed: FollowedObject) -> RunTable:
    sides = [np.full(len(followed.counts), side) for side in (video.height, video.width)]
    return RunTable.of(followed.counts, *sides)


def _read_cache(path: Path, video: Video) -> Predictions:
    """What is known of a video; a file that is damaged or that does not fit the video counts as empty."""
    try:
        predictions = TypeAdapter(Predictions).validate_json(read_checked(path, MAX_CACHE_BYTES))
        for followed in (each for objects in predictions.values() for each in objects):
            if not set(followed.frames) <= set(range(video.length)):
                raise ValueError("a frame that the video does not have")
            _runs(video, followed)
    except ValueError:
        return {}
    return predictions
