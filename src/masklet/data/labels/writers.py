"""Labelled images and clips as files in the published layouts, so that any evaluator can score on them.

Images become SA-Co labels beside a folder of PNG files, clips SA-Co/VEval labels beside folders of frames.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from masklet.data.schema import Clip, Example
from masklet.files import write_atomically
from masklet.formats.records import Box, Id, RunLengths, to_json
from masklet.formats.saco import SacoFile, SacoLabel, SacoPair
from masklet.formats.ytvis import YtvisAnnotation, YtvisCategory, YtvisPair, YtvisVideo
from masklet.ops.masks import mask_to_box, rle_encode


def write_saco(examples: Iterable[Example], labels: Path, images: Path) -> int:
    """Writes one pair for each phrase asked of each image; `images` gets the images. Returns the number of pairs.

    Instances without a mask have their box alone, so that a file with such instances is scored by boxes.
    """
    document = SacoFile(pairs={}, labels=[])
    for number, example in enumerate(examples):
        name = f"{labels.stem}-{number:05d}.png"
        _write_image(images / name, example.image)
        for query in example.queries:
            pair = SacoPair(
                id=len(document.pairs) + 1,
                file_name=name,
                text_input=query.phrase,
                height=example.image.shape[0],
                width=example.image.shape[1],
                is_instance_exhaustive=1 if query.exhaustive else 0,
                source=example.source,
            )
            document.pairs[pair.id] = pair
            for index in query.object_index:
                document.labels.append(_label(example, index, len(document.labels) + 1, pair.id))
    write_atomically(labels, json.dumps(document.to_json()))
    return len(document.pairs)


def _label(example: Example, index: int, label_id: int, pair: Id) -> SacoLabel:
    height, width = example.image.shape[:2]
    low_x, low_y, high_x, high_y = example.boxes_xyxy[index].tolist()
    box = [low_x / width, low_y / height, (high_x - low_x) / width, (high_y - low_y) / height]
    mask = example.masks[index] if example.mask_valid[index] else None
    return SacoLabel(
        id=label_id,
        image_id=pair,
        category_id=1,
        bbox=box,
        area=box[2] * box[3] if mask is None else float(mask.mean()),
        segmentation=None if mask is None else _run_lengths(mask),
    )


def _run_lengths(mask: np.ndarray) -> RunLengths:
    return RunLengths(size=[*mask.shape], counts=rle_encode(mask))


def _write_image(path: Path, image: np.ndarray) -> None:
    write_atomically(path, lambda file: Image.fromarray(image).save(file, "PNG"))


def write_veval(clips: Iterable[Clip], labels: Path, videos: Path) -> int:
    """Writes a masklet for each object that a phrase names, and every pair of clip and phrase, absent ones included.

    `videos` gets a folder of frames for each clip. Returns the number of pairs.
    """
    records: list[YtvisVideo] = []
    annotations: list[YtvisAnnotation] = []
    pairs: list[YtvisPair] = []
    categories: dict[str, int] = {}
    for number, clip in enumerate(clips):
        # Write its frames
        height, width = clip.frames[0].image.shape[:2]
        name = f"{labels.stem}-{number:05d}"
        files = [f"{name}/{frame:05d}.png" for frame in range(len(clip.frames))]
        for file, frame in zip(files, clip.frames, strict=True):
            _write_image(videos / file, frame.image)
        records.append(
            YtvisVideo(id=number, video_name=name, file_names=files, height=height, width=width, length=len(files))
        )
        # Gather what each phrase names in any frame
        named: dict[str, set[int]] = defaultdict(set)
        for query in (query for frame in clip.frames for query in frame.queries):
            named[query.phrase].update(query.object_index)
        for phrase, objects in named.items():
            pair = YtvisPair(
                id=len(pairs) + 1,
                video_id=number,
                category_id=categories.setdefault(phrase, len(categories) + 1),
                noun_phrase=phrase,
                num_masklets=len(objects),
            )
            pairs.append(pair)
            for index in sorted(objects):
                annotations.append(_masklet(clip, index, pair, len(annotations) + 1))
    listed = [YtvisCategory(id=key, name=phrase) for phrase, key in categories.items()]
    sections = {"videos": records, "annotations": annotations, "categories": listed, "video_np_pairs": pairs}
    document = {"info": {}} | {section: [*map(to_json, each)] for section, each in sections.items()}
    write_atomically(labels, json.dumps(document))
    return len(pairs)


def _masklet(clip: Clip, index: int, pair: YtvisPair, annotation_id: int) -> YtvisAnnotation:
    """Masks, boxes and areas frame by frame; None where the object is not seen."""
    segmentations: list[RunLengths | None] = []
    boxes: list[Box | None] = []
    areas: list[float | int | None] = []
    height, width = clip.frames[0].image.shape[:2]
    for frame in clip.frames:
        mask = frame.masks[index]
        box = mask_to_box(mask)
        segmentations.append(None if box is None else _run_lengths(mask))
        boxes.append(None if box is None else [box[0], box[1], box[2] - box[0], box[3] - box[1]])
        areas.append(None if box is None else int(mask.sum()))
    return YtvisAnnotation(
        id=annotation_id,
        video_id=pair.video_id,
        category_id=pair.category_id,
        noun_phrase=pair.noun_phrase,
        segmentations=segmentations,
        bboxes=boxes,
        areas=areas,
        height=height,
        width=width,
    )
