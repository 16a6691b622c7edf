"""Overlaps of the masklets of one video, frame by frame: by masks, from their runs, and by boxes.

All scores of videos are computed from them: volumes, tracks frame by frame, classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int64

from masklet.cached import cached
from masklet.errors import InputError
from masklet.eval.videos.hota import FrameOverlap
from masklet.eval.videos.video_files import Masklet, Video
from masklet.ops.runs import RunTable, pair_intersections


@dataclass(frozen=True, kw_only=True)
class VideoOverlaps:
    """Areas of the true and the predicted masklets of a video and their intersections in each frame, in pixels.

    A mask without pixels is not visible, nor is a box of four zeros. Any other box is, even if it has no area.
    """

    shared: Float64[np.ndarray, "frame truth prediction"]
    truth_areas: Float64[np.ndarray, "frame truth"]
    predicted_areas: Float64[np.ndarray, "frame prediction"]
    truth_seen: Bool[np.ndarray, "frame truth"]
    predicted_seen: Bool[np.ndarray, "frame prediction"]

    def select(self, truths: Int64[np.ndarray, " chosen"], predictions: Int64[np.ndarray, " kept"]) -> "VideoOverlaps":
        """The overlaps of some of the masklets."""
        return VideoOverlaps(
            shared=self.shared[:, truths[:, None], predictions],
            truth_areas=self.truth_areas[:, truths],
            predicted_areas=self.predicted_areas[:, predictions],
            truth_seen=self.truth_seen[:, truths],
            predicted_seen=self.predicted_seen[:, predictions],
        )

    @property
    def volume_iou(self) -> Float64[np.ndarray, "truth prediction"]:
        """Intersection over union of the volumes of all frames; 1 where both are empty throughout."""
        shared = self.shared.sum(axis=0)
        union = self.truth_areas.sum(axis=0)[:, None] + self.predicted_areas.sum(axis=0) - shared
        return np.divide(shared, union, out=np.ones_like(shared), where=union > 0)

    @cached
    def iou(self) -> Float64[np.ndarray, "frame truth prediction"]:
        """Intersection over union in each frame; 0 where both are empty."""
        union = self.truth_areas[:, :, None] + self.predicted_areas[:, None] - self.shared
        return np.divide(self.shared, union, out=np.zeros_like(union), where=union > 0)

    def frames(self) -> list[FrameOverlap]:
        """The visible objects of each frame with their overlaps, to score tracks."""
        frames = []
        for iou, truths, predictions in zip(self.iou, self.truth_seen, self.predicted_seen, strict=True):
            rows, columns = np.flatnonzero(truths), np.flatnonzero(predictions)
            frames.append(FrameOverlap(truth_ids=rows, predicted_ids=columns, iou=iou[rows[:, None], columns]))
        return frames


@dataclass(frozen=True, kw_only=True)
class _Masks:
    """Masks of the masklets of a video: where each is in the table, -1 where there is none, its pixels and its box."""

    table: RunTable
    place: Int64[np.ndarray, "frame masklet"]
    areas: Float64[np.ndarray, "frame masklet"]
    boxes_xyxy: Float64[np.ndarray, "frame masklet 4"]


def measure_overlaps(
    video: Video, truths: Sequence[Masklet], predictions: Sequence[Masklet]
) -> tuple[VideoOverlaps, VideoOverlaps]:
    """Overlaps by masks and by boxes. Raises: InputError naming the record whose run lengths are damaged."""
    left, right = _masks(video, truths), _masks(video, predictions)
    shared = _shared_areas(left.boxes_xyxy, right.boxes_xyxy)  # of boxes: where it is 0, masks share nothing
    frame, truth, prediction = np.nonzero(shared)
    places = left.place[frame, truth], right.place[frame, prediction]
    shared[frame, truth, prediction] = pair_intersections(left.table, places[0], right.table, places[1])
    by_mask = VideoOverlaps(
        shared=shared,
        truth_areas=left.areas,
        predicted_areas=right.areas,
        truth_seen=left.areas > 0,
        predicted_seen=right.areas > 0,
    )
    boxes, others = _boxes(truths, left), _boxes(predictions, right)
    by_box = VideoOverlaps(
        shared=_shared_areas(boxes, others),
        truth_areas=_box_areas(boxes),
        predicted_areas=_box_areas(others),
        truth_seen=(boxes != 0).any(axis=-1),
        predicted_seen=(others != 0).any(axis=-1),
    )
    return by_mask, by_box


def _masks(video: Video, masklets: Sequence[Masklet]) -> _Masks:
    lengths = [len(masklet.frames) for masklet in masklets]
    row = np.repeat(np.arange(len(masklets)), lengths)
    frame = np.concatenate([np.zeros(0, np.int64), *(masklet.frames for masklet in masklets)])
    counts = [count for masklet in masklets for count in masklet.counts]
    try:
        table = RunTable.of(counts, np.full(len(row), video.height), np.full(len(row), video.width))
    except ValueError as error:
        # The message names the mask by its number; users know records and frames.
        name, _, what = str(error).partition(": ")
        mask = int(name.removeprefix("mask "))
        raise InputError(f"{masklets[row[mask]].record}: segmentations.{frame[mask]}.counts: {what}") from error
    shape = video.length, len(masklets)
    place, areas, boxes = np.full(shape, -1), np.zeros(shape), np.zeros((*shape, 4))
    place[frame, row], areas[frame, row], boxes[frame, row] = np.arange(len(row)), table.areas, table.boxes_xyxy
    return _Masks(table=table, place=place, areas=areas, boxes_xyxy=boxes)


def _boxes(masklets: Sequence[Masklet], masks: _Masks) -> Float64[np.ndarray, "frame masklet 4"]:
    """Corners of the boxes of a file, or of those around its masks."""
    boxes = masks.boxes_xyxy.copy()
    for row, masklet in enumerate(masklets):
        if masklet.boxes_xywh is not None:
            boxes[:, row, :2] = masklet.boxes_xywh[:, :2]
            boxes[:, row, 2:] = masklet.boxes_xywh[:, :2] + masklet.boxes_xywh[:, 2:]
    return boxes


def _box_areas(boxes_xyxy: Float64[np.ndarray, "frame masklet 4"]) -> Float64[np.ndarray, "frame masklet"]:
    return np.prod(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], axis=-1)


def _shared_areas(
    left: Float64[np.ndarray, "frame truth 4"], right: Float64[np.ndarray, "frame prediction 4"]
) -> Float64[np.ndarray, "frame truth prediction"]:
    """Intersections of boxes; one axis at a time, because with many objects these arrays are the largest."""
    shared = np.ones((*left.shape[:2], right.shape[1]))
    for low, high in ((0, 2), (1, 3)):
        ends = np.minimum(left[:, :, None, high], right[:, None, :, high])
        shared *= np.maximum(ends - np.maximum(left[:, :, None, low], right[:, None, :, low]), 0)
    return shared
