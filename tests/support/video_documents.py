"""Small truth files and predictions of moving squares, for tests of what reads and scores them."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from masklet.ops.masks import mask_to_box, rle_encode

HEIGHT, WIDTH = 20, 30


def square(left: int, top: int = 4, side: int = 6) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + side, left : left + side] = True
    return mask


def track(masks: Sequence[np.ndarray | None]) -> dict:
    """The frames of a masklet; None is a frame without an entry, an empty mask one with an empty entry."""
    return {
        "segmentations": [None if m is None else {"size": [*m.shape], "counts": rle_encode(m)} for m in masks],
        "bboxes": [None if m is None else _box(m) for m in masks],
        "areas": [None if m is None else int(m.sum()) for m in masks],
    }


def _box(mask: np.ndarray) -> list[int]:
    left, top, right, bottom = mask_to_box(mask) or (0, 0, 0, 0)
    return [left, top, right - left, bottom - top]


def truth(video: int, phrase: int, masks: Sequence[np.ndarray | None], **changes: object) -> dict:
    return {"video_id": video, "category_id": phrase, "iscrowd": 0, **track(masks), **changes}


def prediction(video: int, phrase: int, score: float, masks: Sequence[np.ndarray | None], **changes: object) -> dict:
    return {"video_id": video, "category_id": phrase, "score": score, **track(masks), **changes}


def document(annotations: Sequence[dict], asked: Sequence[tuple[int, int]] = (), lengths: Sequence[int] = (3,)) -> dict:
    """A truth file of videos with so many frames each; `asked` are further pairs of a video and a phrase."""
    pairs = dict.fromkeys([(each["video_id"], each["category_id"]) for each in annotations] + [*asked])
    return {
        "info": {"version": "v1"},
        "videos": [
            {
                "id": index,
                "video_name": f"video_{index}",
                "file_names": [f"video_{index}/{frame:05d}.jpg" for frame in range(length)],
                "height": HEIGHT,
                "width": WIDTH,
                "length": length,
            }
            for index, length in enumerate(lengths)
        ],
        "annotations": [{"id": number, **each} for number, each in enumerate(annotations, start=1)],
        "categories": [{"id": phrase, "name": f"phrase {phrase}"} for phrase in range(50)],
        "video_np_pairs": [
            {"id": number, "video_id": video, "category_id": phrase, "noun_phrase": f"thing {phrase}"}
            for number, (video, phrase) in enumerate(pairs)
        ],
    }


def write(folder: Path, truths: dict, predictions: Sequence[dict]) -> tuple[Path, Path]:
    paths = folder / "truth.json", folder / "predictions.json"
    paths[0].write_text(json.dumps(truths))
    paths[1].write_text(json.dumps(predictions))
    return paths
