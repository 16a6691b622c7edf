"""Labelled pictures and clips as files in the published layouts, so that any evaluator can score on them.

Pictures become SA-Co labels beside a folder of PNG files, clips SA-Co/VEval labels beside folders of frames.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from masklet.data.schema import Clip, Example, PhraseQuery
from masklet.files import write_atomically
from masklet.ops.masks import mask_to_box, rle_encode


def write_saco(examples: Iterable[Example], labels: Path, images: Path) -> int:
    """Writes one pair for each phrase asked of each picture; `images` gets the pictures. Returns how many pairs.

    Instances without a mask have their box alone, so that a file with such instances is scored by boxes.
    """
    pairs: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, example in enumerate(examples):
        name = f"{labels.stem}-{number:05d}.png"
        _write_picture(images / name, example.image)
        for query in example.queries:
            height, width = example.image.shape[:2]
            pairs.append(
                {
                    "id": len(pairs) + 1,
                    "file_name": name,
                    "text_input": query.phrase,
                    "height": height,
                    "width": width,
                    "is_instance_exhaustive": int(query.exhaustive),
                    "source": example.source,
                }
            )
            for index in query.object_index:
                annotations.append({"id": len(annotations) + 1, **_instance(example, index, len(pairs))})
    categories = [{"id": 1, "name": "object"}]
    document = {"images": pairs, "annotations": annotations, "categories": categories}
    write_atomically(labels, json.dumps(document))
    return len(pairs)


def _instance(example: Example, index: int, pair: int) -> dict[str, Any]:
    height, width = example.image.shape[:2]
    low_x, low_y, high_x, high_y = example.boxes_xyxy[index].tolist()
    box = [low_x / width, low_y / height, (high_x - low_x) / width, (high_y - low_y) / height]
    record = {"image_id": pair, "category_id": 1, "iscrowd": 0, "bbox": box, "area": box[2] * box[3]}
    if example.mask_valid[index]:
        mask = example.masks[index]
        record["segmentation"] = {"size": [height, width], "counts": rle_encode(mask)}
        record["area"] = float(mask.mean())
    return record


def _write_picture(path: Path, image: np.ndarray) -> None:
    write_atomically(path, lambda file: Image.fromarray(image).save(file, "PNG"))


def write_veval(clips: Iterable[Clip], labels: Path, videos: Path) -> int:
    """Writes a masklet for each object that a phrase names, and every pair of clip and phrase, absent ones included.

    `videos` gets a folder of frames for each clip. Returns how many pairs.
    """
    document: dict[str, Any] = {"info": {}, "videos": [], "annotations": [], "categories": [], "video_np_pairs": []}
    categories: dict[str, int] = {}
    for number, clip in enumerate(clips):
        name = f"{labels.stem}-{number:05d}"
        height, width = clip.frames[0].image.shape[:2]
        files = [f"{name}/{frame:05d}.png" for frame in range(len(clip.frames))]
        for file, frame in zip(files, clip.frames, strict=True):
            _write_picture(videos / file, frame.image)
        video = {"id": number, "video_name": name, "file_names": files, "height": height, "width": width}
        document["videos"].append({**video, "length": len(files)})
        for query, objects in _objects_by_phrase(clip):
            category = categories.setdefault(query.phrase, len(categories) + 1)
            own = {"video_id": number, "category_id": category, "noun_phrase": query.phrase}
            masklets = [_masklet(clip, index, own) for index in objects]
            for masklet in masklets:
                document["annotations"].append({"id": len(document["annotations"]) + 1, **masklet})
            pair = {"id": len(document["video_np_pairs"]) + 1, **own, "num_masklets": len(masklets)}
            document["video_np_pairs"].append(pair)
    document["categories"] = [{"id": key, "name": phrase} for phrase, key in categories.items()]
    write_atomically(labels, json.dumps(document))
    return len(document["video_np_pairs"])


def _objects_by_phrase(clip: Clip) -> list[tuple[PhraseQuery, list[int]]]:
    """What each phrase names in any frame."""
    named: dict[str, tuple[PhraseQuery, set[int]]] = {}
    for frame in clip.frames:
        for query in frame.queries:
            named.setdefault(query.phrase, (query, set()))[1].update(query.object_index)
    return [(query, sorted(objects)) for query, objects in named.values()]


def _masklet(clip: Clip, index: int, own: dict[str, Any]) -> dict[str, Any]:
    """Masks, boxes and areas frame by frame; None where the object is not seen."""
    segmentations: list[Any] = []
    boxes: list[Any] = []
    areas: list[Any] = []
    height, width = clip.frames[0].image.shape[:2]
    for frame in clip.frames:
        mask = frame.masks[index]
        box = mask_to_box(mask)
        seen = box is not None
        segmentations.append({"size": [height, width], "counts": rle_encode(mask)} if seen else None)
        boxes.append([box[0], box[1], box[2] - box[0], box[3] - box[1]] if box is not None else None)
        areas.append(int(mask.sum()) if seen else None)
    tracks = {"segmentations": segmentations, "bboxes": boxes, "areas": areas}
    return {**own, **tracks, "iscrowd": 0, "height": height, "width": width}
