"""The journal of a video's results, one line of JSON for each frame, and what is made of it afterwards.

The journal is written as the video is tracked and is never rewritten, so a run that is stopped keeps what it did, and
every other format can be made from it at any time.
"""

import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from masklet.errors import InputError
from masklet.files import cannot_write, replacing
from masklet.formats.records import RunLengths, to_json
from masklet.formats.ytvis import YtvisTrack, YtvisVideo
from masklet.inference.output.frame_export import box_xywh
from masklet.inference.video.frame_result import FrameResult
from masklet.media.frames import FrameSource
from masklet.ops.masks import mask_to_box, rle_area, rle_decode
from masklet.protocols import TrackedFrame

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
            raise cannot_write(path, error) from error

    def append(self, result: TrackedFrame) -> None:
        """Adds a line, which is handed to the operating system when this returns."""
        line = json.dumps(result.to_json(), separators=(",", ":")) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.lines += 1

    def sync(self) -> None:
        """Waits until all lines are on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Ends writing."""
        self._file.close()


def read_journal(path: Path) -> Iterator[FrameResult]:
    """The results of a journal, one at a time. A last line without its end, which a crash may leave, is no result.

    Raises: InputError when there is no journal, or something else is in it.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.endswith(b"\n"):
                    return
                try:
                    yield FrameResult.from_json(json.loads(line))
                except ValueError as error:
                    raise InputError(f"line {number} of {path} is damaged: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error


def with_images(results: Iterable[FrameResult], source: FrameSource) -> Iterator[FrameResult]:
    """Results, in order of their frames, with the frame of each: its own, or else the source's."""
    frames = None
    for result in results:
        if result.image is not None:
            yield result
            continue
        if frames is None:
            frames = source.frames(result.index)
        frame = next((each for each in frames if each.index == result.index), None)
        if frame is None:
            raise InputError(f"{source.name} has no frame {result.index}, or not in this order")
        yield replace(result, image=frame.pixels)


def write_ytvis(journal: Path, path: Path, name: str, file_names: Sequence[str] | None = None) -> Path:
    """A YouTube-VIS dataset of the whole video, whose masklets have a mask or null for each frame of the journal.

    `file_names` are those of all frames of the video, where they have any.

    The score of a masklet is the mean of its `scores`. Masklets are gathered a batch at a time, with one pass over the
    journal each, as all masks of a long video might not fit in memory.
    """
    # Survey the journal: frames, and of each object the phrase, the scores and the bytes of its masks
    frames: list[int] = []
    concepts: dict[int, str] = {}
    scores: dict[int, list[float]] = defaultdict(list)
    sizes: Counter[int] = Counter()
    height, width = 0, 0
    for result in read_journal(journal):
        frames.append(result.index)
        height, width = result.size
        rows = zip(result.ids.tolist(), result.phrases, result.scores.tolist(), result.rles, strict=True)
        for object_id, phrase, score, rle in rows:
            concepts.setdefault(object_id, phrase)
            scores[object_id].append(score)
            sizes[object_id] += len(rle)
    names = list(dict.fromkeys(concepts.values()))
    files = None if file_names is None else [file_names[frame] for frame in frames]
    video = YtvisVideo(id=1, name=name, file_names=files, height=height, width=width, length=len(frames), frames=frames)
    categories = [{"id": number, "name": each} for number, each in enumerate(names, start=1)]
    # Write the masklets, batch by batch
    numbers = count(1)
    with replacing(path) as beside, beside.open("x", encoding="utf-8") as file:
        file.write(f'{{"videos": [{json.dumps(to_json(video))}], "categories": {json.dumps(categories)}, ')
        file.write('"annotations": [')
        for batch in _batches(sizes):
            tracks = {
                object_id: YtvisTrack(
                    id=next(numbers),
                    video_id=1,
                    track_id=object_id,
                    category_id=names.index(concepts[object_id]) + 1,
                    height=height,
                    width=width,
                    length=len(frames),
                    score=round(float(np.mean(scores[object_id])), 5),
                    segmentations=[None] * len(frames),
                    bboxes=[None] * len(frames),
                    areas=[None] * len(frames),
                )
                for object_id in sorted(batch)
            }
            _fill(tracks, journal)
            for track in tracks.values():
                file.write(("," if track.id > 1 else "") + "\n" + json.dumps(to_json(track)))
        file.write("]}\n")
    return path


def _batches(sizes: Counter[int]) -> Iterator[set[int]]:
    batch: set[int] = set()
    for object_id, size in sizes.items():
        if batch and size + sum(sizes[each] for each in batch) > BATCH_BYTES:
            yield batch
            batch = set()
        batch.add(object_id)
    if batch:
        yield batch


def _fill(tracks: dict[int, YtvisTrack], journal: Path) -> None:
    """Enters the masks of the journal into masklets by their ids."""
    for position, result in enumerate(read_journal(journal)):
        for object_id, counts in zip(result.ids.tolist(), result.rles, strict=True):
            if object_id in tracks:
                track, box = tracks[object_id], mask_to_box(rle_decode(counts, *result.size)) or (0, 0, 0, 0)
                track.segmentations[position] = RunLengths(size=[*result.size], counts=counts)
                track.bboxes[position] = box_xywh([float(value) for value in box])
                track.areas[position] = rle_area(counts)
