"""Results of a video as records of common formats, all made from the journal: one line of JSON for each frame.

The journal is written as the video is tracked and is never rewritten, so a run that is stopped keeps what it did, and
every other format can be made from it at any time.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from masklet.errors import InputError
from masklet.files import REASONS, replacing
from masklet.formats.coco import CocoAnnotation, CocoCategory, CocoFile, CocoImage
from masklet.formats.davis import MAX_OBJECTS
from masklet.formats.mot import MotBox
from masklet.formats.records import Box, RunLengths, to_json
from masklet.formats.ytvis import YtvisTrack, YtvisVideo
from masklet.inference.video.frame_result import FrameResult
from masklet.ops.masks import mask_to_box, rle_area, rle_decode

CLICKED = "object"  # the category of what was clicked and has no phrase
BATCH_BYTES = 2**28  # of run lengths alive at once while masklets are put together


class Journal:
    """Results on their way to disk, a line each. A run goes on after the lines that are kept."""

    def __init__(self, path: Path, keep: int = 0) -> None:
        """Opens the file for appending after its first `keep` lines; what follows them is cut off."""
        self.path = path
        self.lines = keep
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("r+b" if keep else "wb")
            for _ in range(keep):
                self._file.readline()
            self._file.truncate()
        except OSError as error:
            raise InputError(_cannot(path, error)) from error

    def append(self, result: FrameResult) -> None:
        """Adds a line, which is handed to the operating system when this returns."""
        line = json.dumps(result.to_json(), separators=(",", ":")) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
        except OSError as error:
            raise InputError(_cannot(self.path, error)) from error
        self.lines += 1

    def sync(self) -> None:
        """Waits until all lines are on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Ends writing."""
        self._file.close()


def _cannot(path: Path, error: OSError) -> str:
    return f"cannot write {path}: {REASONS.get(error.errno or 0, error.strerror or str(error))}"


def read_journal(path: Path) -> Iterator[FrameResult]:
    """The results of a journal, one at a time. A last line without its end, which a crash may leave, is no result.

    Raises: InputError when there is no journal, or something else is in it.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if line.endswith(b"\n"):
                    yield _parse(line, f"line {number} of {path}")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def _parse(line: bytes, name: str) -> FrameResult:
    try:
        return FrameResult.from_json(json.loads(line))
    except ValueError as error:
        raise InputError(f"{name} is damaged: {error}") from error


def frame_to_coco(result: FrameResult) -> dict[str, Any]:
    """A COCO dataset of one frame; annotations also carry `track_id`."""
    height, width = result.size
    names = list(dict.fromkeys(category(phrase) for phrase in result.concepts))
    annotations = [
        CocoAnnotation(
            id=place + 1,
            image_id=1,
            category_id=names.index(category(result.concepts[place])) + 1,
            track_id=int(result.ids[place]),
            bbox=_box_xywh(result.boxes[place].tolist()),
            area=int(result.areas[place]),
            segmentation=RunLengths(size=[height, width], counts=result.rles[place]),
            score=round(float(result.scores[place]), 5),
        )
        for place in range(len(result))
    ]
    return CocoFile(
        images={1: CocoImage(id=1, file_name=f"{result.index:06d}", width=width, height=height)},
        categories={number: CocoCategory(id=number, name=name) for number, name in enumerate(names, start=1)},
        annotations=annotations,
    ).to_json()


def category(phrase: str) -> str:
    """The name of a phrase's category."""
    return phrase or CLICKED


def _box_xywh(box: list[float]) -> list[float]:
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def mot_lines(result: FrameResult) -> list[str]:
    """Lines of a MOTChallenge file; the confidence is the tracker's on this frame."""
    rows = zip(result.ids.tolist(), result.boxes.tolist(), result.object_scores.tolist(), strict=True)
    return [
        MotBox(frame=result.index, object_id=object_id, box_xywh=_box_xywh(box), confidence=confidence).line()
        for object_id, box, confidence in rows
    ]


def indexed_mask(result: FrameResult, indices: dict[int, int]) -> UInt8[np.ndarray, "height width"]:
    """The index of the object at each pixel, 0 where there is none; overlaps go to the object in front.

    `indices` maps ids to indices from 1 on, and is added to when an id is new.

    Raises: InputError when there are more objects than indices.
    """
    ids = result.ids.tolist()
    for object_id in ids:
        if indices.setdefault(object_id, len(indices) + 1) > MAX_OBJECTS:
            raise InputError(f"an indexed image holds at most {MAX_OBJECTS} objects, and frame {result.index} has more")
    image = np.zeros(result.size, dtype=np.uint8)
    for place in np.argsort(-result.precedence, kind="stable")[::-1].tolist():  # from the back to the front
        image[result.mask(place)] = indices[ids[place]]
    return image


def write_ytvis(journal: Path, path: Path, name: str) -> Path:
    """A YouTube-VIS dataset of the whole video, whose masklets have a mask or null for each frame of the journal.

    The score of a masklet is the mean of its `scores`. Masklets are gathered a batch at a time, with one pass over the
    journal each, as all masks of a long video might not fit in memory.
    """
    frames, sizes, concepts, size = _survey(journal)
    names = list(dict.fromkeys(category(phrase) for phrase in concepts.values()))
    video = YtvisVideo(id=1, name=name, height=size[0], width=size[1], length=len(frames), frames=frames)
    categories = [{"id": number, "name": each} for number, each in enumerate(names, start=1)]
    with replacing(path) as beside, beside.open("x", encoding="utf-8") as file:
        file.write(f'{{"videos": [{json.dumps(to_json(video))}], "categories": {json.dumps(categories)}, ')
        file.write('"annotations": [')
        written = 0
        for batch in _batches(sizes):
            for object_id, masklet in _gather(journal, batch, len(frames)).items():
                track = YtvisTrack(
                    id=written + 1,
                    video_id=1,
                    track_id=object_id,
                    category_id=names.index(category(concepts[object_id])) + 1,
                    height=size[0],
                    width=size[1],
                    length=len(frames),
                    score=round(float(np.mean(masklet.scores)), 5),
                    segmentations=masklet.segmentations,
                    bboxes=masklet.boxes,
                    areas=masklet.areas,
                )
                file.write(("," if written else "") + "\n" + json.dumps(to_json(track)))
                written += 1
        file.write("]}\n")
    return path


def _survey(journal: Path) -> tuple[list[int], Counter[int], dict[int, str], tuple[int, int]]:
    """Frame numbers; for each id the bytes of its masks and its phrase; and the size of the frames."""
    frames: list[int] = []
    sizes: Counter[int] = Counter()
    concepts: dict[int, str] = {}
    size = (0, 0)
    for result in read_journal(journal):
        frames.append(result.index)
        size = result.size
        for object_id, phrase, rle in zip(result.ids.tolist(), result.concepts, result.rles, strict=True):
            sizes[object_id] += len(rle)
            concepts.setdefault(object_id, phrase)
    return frames, sizes, concepts, size


def _batches(sizes: Counter[int]) -> Iterator[set[int]]:
    batch: set[int] = set()
    for object_id, size in sizes.items():
        if batch and size + sum(sizes[each] for each in batch) > BATCH_BYTES:
            yield batch
            batch = set()
        batch.add(object_id)
    if batch:
        yield batch


@dataclass(frozen=True)
class _Masklet:
    """What is gathered of an object, with an entry for each frame but for its scores."""

    segmentations: list[RunLengths | None]
    boxes: list[Box | None]
    areas: list[int | None]
    scores: list[float]


def _gather(journal: Path, batch: set[int], length: int) -> dict[int, _Masklet]:
    """The masklets of some objects, by their ids in ascending order."""
    masklets = {each: _Masklet([None] * length, [None] * length, [None] * length, []) for each in sorted(batch)}
    for position, result in enumerate(read_journal(journal)):
        for place, object_id in enumerate(result.ids.tolist()):
            if object_id not in masklets:
                continue
            masklet, counts = masklets[object_id], result.rles[place]
            box = mask_to_box(rle_decode(counts, *result.size)) or (0, 0, 0, 0)
            masklet.segmentations[position] = RunLengths(size=[*result.size], counts=counts)
            masklet.boxes[position] = _box_xywh([float(value) for value in box])
            masklet.areas[position] = rle_area(counts)
            masklet.scores.append(float(result.scores[place]))
    return masklets
