"""Results of a frame of a video as records of common formats, in pixels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from masklet.errors import InputError
from masklet.formats.coco import CocoAnnotation, CocoCategory, CocoFile, CocoImage
from masklet.formats.davis import MAX_OBJECTS
from masklet.formats.mot import MotBox
from masklet.formats.records import RunLengths
from masklet.protocols import TrackedFrame


def frame_to_coco(result: TrackedFrame) -> dict[str, Any]:
    """A COCO dataset of one frame; annotations also carry `track_id`."""
    height, width = result.size
    names = list(dict.fromkeys(result.phrases))
    annotations = [
        CocoAnnotation(
            id=place + 1,
            image_id=1,
            category_id=names.index(result.phrases[place]) + 1,
            track_id=int(result.ids[place]),
            bbox=box_xywh(result.boxes[place].tolist()),
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


def frame_to_supervision(result: TrackedFrame) -> Any:
    """`supervision.Detections`: ids are tracker ids, class numbers count the phrases in the order of the objects."""
    try:
        import supervision  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError("to_supervision needs the package supervision: pip install supervision") from error
    names = list(dict.fromkeys(result.phrases))
    return supervision.Detections(
        xyxy=result.boxes,
        mask=result.masks,
        confidence=result.object_scores,
        class_id=np.array([names.index(phrase) for phrase in result.phrases], dtype=int),
        tracker_id=result.ids,
        data={"class_name": np.array(result.phrases)},
    )


def box_xywh(box: Sequence[float | int]) -> list[float]:
    """A box xyxy as its corner and size."""
    x0, y0, x1, y1 = box
    return [x0, y0, x1 - x0, y1 - y0]


def mot_lines(result: TrackedFrame) -> list[str]:
    """Lines of a MOTChallenge file; the confidence is the tracker's on this frame."""
    rows = zip(result.ids.tolist(), result.boxes.tolist(), result.object_scores.tolist(), strict=True)
    return [
        MotBox(frame=result.index, object_id=object_id, box_xywh=box_xywh(box), confidence=confidence).line()
        for object_id, box, confidence in rows
    ]


def indexed_mask(result: TrackedFrame, indices: dict[int, int]) -> UInt8[np.ndarray, "height width"]:
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
