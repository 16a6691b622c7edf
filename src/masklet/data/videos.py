"""Labelled videos, as clips to track in and as pictures to find in: YouTube-VIS json, and folders in the DAVIS layout.

A YouTube-VIS file says what things are called, so its frames are pictures with phrases. DAVIS knows objects by number
alone: it teaches to follow them, and nothing about words.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from masklet.data.clip_transforms import ClipAugmentConfig, augment_clip, boxes_of
from masklet.data.mask_folders import read_numbers
from masklet.data.reading import check_records, check_references, decode_objects, inside, read_image, read_json
from masklet.data.schema import Clip, Example, PhraseQuery
from masklet.data.sources import ID, QueryConfig, ask, kept_names
from masklet.data.transforms import Placement, place_image, place_masks
from masklet.errors import InputError
from masklet.ops.masks import mask_to_box

VOID = 255  # in the DAVIS layout: neither object nor background
LONGEST_STRIDE = 5  # as the dataset class of SAM 3 draws it
LEAST_CROP = 0.6


@runtime_checkable
class VideoSource(Protocol):
    """Labelled videos."""

    def __len__(self) -> int:
        """Number of videos."""
        ...

    def num_frames(self, video: int) -> int:
        """Labelled frames of a video."""
        ...

    def name(self, video: int, frame: int) -> str:
        """What a message calls a frame."""
        ...

    def frames(self, video: int, chosen: Sequence[int], rng: np.random.Generator) -> tuple[Example, ...]:
        """Some frames, with the same objects in the same order; an object that cannot be seen has an empty mask.

        Raises: InputError naming the file and the record.
        """
        ...


class YtvisVideos:
    """Videos of a YouTube-VIS json; phrases are category names.

    A file of SA-Co/VEval says in `video_np_pairs` which categories were asked of a video; of others nothing is known.

    Raises: InputError naming the file, the record and the field that cannot be used.
    """

    def __init__(self, annotations: Path, images: Path, config: QueryConfig) -> None:
        document = read_json(annotations, ("videos", "annotations", "categories"))
        _check_ytvis(annotations, document)
        self.path, self.images, self.config = annotations, images, config
        self.phrases = {record["id"]: record["name"] for record in document["categories"]}
        names = {_video_name(record): record for record in document["videos"]}
        kept = kept_names(names, config.split, config.limit, str(annotations))
        self.records = [names[name] for name in kept]
        self.annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        self.crowds: dict[Any, set[str]] = defaultdict(set)
        self.asked = self._asked_phrases(document)
        for annotation in document["annotations"]:
            if annotation.get("iscrowd"):
                self.crowds[annotation["video_id"]].add(self.phrases[annotation["category_id"]])
            else:
                self.annotations[annotation["video_id"]].append(annotation)

    def _asked_phrases(self, document: dict[str, Any]) -> Mapping[Any, frozenset[str]]:
        """By video, the phrases that have labels or are known to be absent."""
        pairs = document.get("video_np_pairs")
        if pairs is None:
            every = frozenset(self.phrases.values() if self.config.complete else ())
            return {record["id"]: every for record in document["videos"]}
        check_records(self.path, "video_np_pairs", pairs, {"video_id": ID, "category_id": ID})
        asked: dict[Any, set[str]] = defaultdict(set)
        for position, pair in enumerate(pairs):
            if pair["category_id"] not in self.phrases:
                where = f"{self.path}: video_np_pairs[{position}]"
                raise InputError(f"{where}: category_id {pair['category_id']!r} is not among the categories")
            asked[pair["video_id"]].add(self.phrases[pair["category_id"]])
        return {record["id"]: frozenset(asked[record["id"]]) for record in document["videos"]}

    def __len__(self) -> int:
        return len(self.records)

    def num_frames(self, video: int) -> int:
        """All frames are labelled."""
        return len(self.records[video]["file_names"])

    def name(self, video: int, frame: int) -> str:
        """The file name of a frame."""
        return self.records[video]["file_names"][frame]

    def frames(self, video: int, chosen: Sequence[int], rng: np.random.Generator) -> tuple[Example, ...]:
        """Frames of a video; `rng` draws categories that are asked in vain, the same in all of them."""
        record = self.records[video]
        annotations, crowds = self.annotations[record["id"]], self.crowds[record["id"]]
        of_video: dict[str, list[int]] = defaultdict(list)
        for row, annotation in enumerate(annotations):
            of_video[self.phrases[annotation["category_id"]]].append(row)
        known = self.asked[record["id"]].difference(of_video, crowds)
        queries = ask(of_video, known, self.config, rng)
        queries = tuple(replace(each, exhaustive=each.exhaustive and each.phrase not in crowds) for each in queries)
        return tuple(self._frame(record, annotations, frame, queries, known) for frame in chosen)

    def _frame(
        self,
        record: dict[str, Any],
        annotations: list[dict[str, Any]],
        frame: int,
        queries: tuple[PhraseQuery, ...],
        absent: frozenset[str],
    ) -> Example:
        where = f"video {record['id']}, frame {frame}"
        path = inside(self.images, record["file_names"][frame], f"{self.path}: {where}")
        image = read_image(path, where, (record["height"], record["width"]))
        shown = [self._label(annotation, record, frame) for annotation in annotations]
        boxes, masks, mask_valid = decode_objects(shown, (image.shape[0], image.shape[1]), self.path)
        for row in np.flatnonzero(mask_valid & ~_seen(boxes)):
            boxes[row] = mask_to_box(masks[row])  # files that leave boxes out
        return Example(
            image=image,
            boxes_xyxy=boxes,
            masks=masks,
            mask_valid=mask_valid,
            queries=_visible(queries, _seen(boxes)),
            source=self.path.stem,
            absent=absent,
        )

    def _label(self, annotation: dict[str, Any], record: dict[str, Any], frame: int) -> dict[str, Any]:
        """One annotation in one frame, as an annotation of a picture."""
        label: dict[str, Any] = {"id": f"{annotation.get('id')}, frame {frame}", "bbox": [0, 0, 0, 0]}
        for field, many in (("segmentation", "segmentations"), ("bbox", "bboxes")):
            values = annotation.get(many)
            if values is None:
                continue
            if not isinstance(values, list) or len(values) != len(record["file_names"]):
                where = f"{self.path}: annotation {annotation.get('id')}: {many}"
                raise InputError(f"{where} has not one entry for each of {len(record['file_names'])} frames")
            if values[frame]:
                label[field] = values[frame]
        return label


class DavisVideos:
    """Videos of two folders, with a folder for each video: pictures, and labels as pictures of object numbers.

    A frame is labelled when there is a label of its name; 0 is background, and so is 255, "void". There are no phrases.

    Raises: InputError naming the folder or file that cannot be used.
    """

    def __init__(self, annotations: Path, images: Path, config: QueryConfig) -> None:
        if not annotations.is_dir():
            raise InputError(f"{annotations} is not a folder")
        labels = {path.name: sorted(path.glob("*.png")) for path in sorted(annotations.iterdir()) if path.is_dir()}
        labels = {name: files for name, files in labels.items() if files}
        kept = kept_names(labels, config.split, config.limit, str(annotations))
        self.images, self.source = images, annotations.name
        self.labels = [labels[name] for name in kept]

    def __len__(self) -> int:
        return len(self.labels)

    def num_frames(self, video: int) -> int:
        """Those that have a label."""
        return len(self.labels[video])

    def name(self, video: int, frame: int) -> str:
        """Video and frame, as in the folders."""
        label = self.labels[video][frame]
        return f"{label.parent.name}/{label.stem}"

    def frames(self, video: int, chosen: Sequence[int], rng: np.random.Generator) -> tuple[Example, ...]:
        """Frames of a video; the objects are those of these frames, by their numbers."""
        del rng
        labels = [self.labels[video][frame] for frame in chosen]
        numbers = [read_numbers(label) for label in labels]
        objects = np.unique(np.concatenate([np.unique(each) for each in numbers]))
        objects = objects[(objects > 0) & (objects != VOID)]
        frames = []
        for label, each in zip(labels, numbers, strict=True):
            image = read_image(self._picture(label), "the frame", (each.shape[0], each.shape[1]))
            masks = each[None] == objects[:, None, None]
            frames.append(
                Example(
                    image=image,
                    boxes_xyxy=boxes_of(masks),
                    masks=masks,
                    mask_valid=np.atleast_1d(masks.any(axis=(1, 2))),
                    queries=(),
                    source=self.source,
                )
            )
        return tuple(frames)

    def _picture(self, label: Path) -> Path:
        folder = self.images / label.parent.name
        for suffix in (".jpg", ".png", ".jpeg"):
            if (folder / f"{label.stem}{suffix}").is_file():
                return folder / f"{label.stem}{suffix}"
        raise InputError(f"{label}: no picture {label.stem}.jpg in {folder}")


@dataclass(frozen=True)
class VideoFrames:
    """The labelled frames of videos, one by one, as pictures: a source of examples."""

    videos: VideoSource

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([self.videos.num_frames(video) for video in range(len(self.videos))])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def name(self, index: int) -> str:
        """What a message calls frame `index` of all videos in a row."""
        return self.videos.name(*self._place(index))

    def sample(self, rng: np.random.Generator) -> Example:
        """A random frame of a random video, so that long ones do not outweigh short ones."""
        video = int(rng.integers(len(self.videos)))
        return self._read(video, int(rng.integers(self.videos.num_frames(video))), rng)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Frame `index` of all videos in a row, with the objects that can be seen in it."""
        return self._read(*self._place(index), rng)

    def _place(self, index: int) -> tuple[int, int]:
        video = int(np.searchsorted(self._ends, index, side="right"))
        return video, index - int(self._ends[video - 1] if video else 0)

    def _read(self, video: int, frame: int, rng: np.random.Generator) -> Example:
        (whole,) = self.videos.frames(video, [frame], rng)
        seen = _seen(whole.boxes_xyxy)
        index = (np.cumsum(seen) - 1).tolist()
        queries = (replace(q, object_index=tuple(index[i] for i in q.object_index)) for q in whole.queries)
        return replace(
            whole,
            boxes_xyxy=whole.boxes_xyxy[seen],
            masks=whole.masks[seen],
            mask_valid=whole.mask_valid[seen],
            queries=tuple(queries),
        )


@dataclass(frozen=True, kw_only=True)
class VideoClips:
    """Clips of videos: `num_frames` square frames of `size` pixels.

    Frames lie 1 to `LONGEST_STRIDE` labelled frames apart, fewer in short videos (the dataset class of SAM 3); all
    frames of a clip are cropped alike, and then augmented.
    """

    videos: VideoSource
    size: int
    num_frames: int
    augment: ClipAugmentConfig | None = None
    tries: int = 50

    def sample(self, rng: np.random.Generator) -> Clip:
        """A clip of a random video, whose first frame shows an object.

        Raises: InputError when no video is long enough, or `tries` clips in a row begin with an empty frame.
        """
        long_enough = [v for v in range(len(self.videos)) if self.videos.num_frames(v) >= self.num_frames]
        if not long_enough:
            longest = max(self.videos.num_frames(video) for video in range(len(self.videos)))
            raise InputError(f"clips have {self.num_frames} frames, and the longest video {longest}")
        for _ in range(self.tries):
            video = long_enough[int(rng.integers(len(long_enough)))]
            chosen = draw_frames(self.videos.num_frames(video), self.num_frames, rng)
            clip = frame_clip(self.videos.frames(video, chosen, rng), self.size, rng)
            clip = clip if self.augment is None else augment_clip(clip, self.augment, rng)
            if clip.frames[0].masks.any():
                return clip
        raise InputError(f"none of {self.tries} clips shows an object in its first frame")


def draw_frames(available: int, wanted: int, rng: np.random.Generator) -> list[int]:
    """Frames of a video at an even distance."""
    longest = min(LONGEST_STRIDE, (available - 1) // max(1, wanted - 1))
    stride = int(rng.integers(1, max(1, longest) + 1))
    start = int(rng.integers(available - (wanted - 1) * stride))
    return [start + stride * index for index in range(wanted)]


def frame_clip(frames: Sequence[Example], size: int, rng: np.random.Generator) -> Clip:
    """The frames as squares: the same window of each, resized. No phrases are asked."""
    height, width = frames[0].image.shape[:2]
    columns, rows = (max(1, round(side * rng.uniform(LEAST_CROP, 1))) for side in (width, height))
    left, top = int(rng.integers(width - columns + 1)), int(rng.integers(height - rows + 1))
    placement = Placement(window=(left, top, left + columns, top + rows), rectangle=(0, 0, size, size))
    placed = []
    for frame in frames:
        masks = place_masks(frame.masks, placement, size)
        example = Example(
            image=place_image(frame.image, placement, size),
            boxes_xyxy=boxes_of(masks),
            masks=masks,
            mask_valid=np.atleast_1d(masks.any(axis=(1, 2))),
            queries=(),
            source=frame.source,
        )
        placed.append(example)
    return Clip(frames=tuple(placed))


def _seen(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Which boxes are not empty."""
    return np.array((boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1))


def _visible(queries: tuple[PhraseQuery, ...], seen: np.ndarray) -> tuple[PhraseQuery, ...]:
    """What can be asked of one frame: a phrase whose answers are out of sight is absent, if it was exhaustive."""
    shown = [replace(q, object_index=tuple(i for i in q.object_index if seen[i])) for q in queries]
    return tuple(query for query in shown if query.object_index or query.exhaustive)


def _video_name(record: dict[str, Any]) -> str:
    """The folder of its frames, which no other video shares, with its id."""
    return f"{Path(record['file_names'][0]).parent} {record['id']}"


def _check_ytvis(path: Path, document: dict[str, Any]) -> None:
    check_records(path, "categories", document["categories"], {"id": ID, "name": str})
    check_records(path, "videos", document["videos"], {"id": ID, "width": int, "height": int, "file_names": list})
    check_records(path, "annotations", document["annotations"], {"video_id": ID, "category_id": ID})
    for record in document["videos"]:
        names = record["file_names"]
        if not names or not all(isinstance(name, str) for name in names):
            raise InputError(f"{path}: video {record['id']}: file_names is empty, or holds something else than names")
    check_references(path, document, {"category_id": "categories", "video_id": "videos"})
