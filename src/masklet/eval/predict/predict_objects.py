"""Predictions of a model for objects that are given by their first mask, written as label images."""

from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from masklet.errors import InputError
from masklet.files import write_atomically
from masklet.formats.davis import label_image, list_videos, object_ids
from masklet.media.images import read_numbers
from masklet.media.suffixes import list_images
from masklet.protocols import FrameInstances, Segmenter


def predict_objects(
    truth: Path, videos: Path, out: Path, tracker: Segmenter, advance: Callable[[], object] = lambda: None
) -> Path:
    """Follows every object of the label images `truth/<video>/<frame>.png` through the frames `videos/<video>/`.

    An object is given by its mask on the first label image that shows it. The predictions are `out/<video>/<frame>.png`
    for each label image. `advance` is called after each video.

    Raises: InputError naming the video whose frames or masks cannot be used.
    """
    if not truth.is_dir():
        raise InputError(f"{truth} is not a folder of label images: a model is not asked for a file of masklets")
    for video, labels in list_videos(truth).items():
        try:
            _follow(labels, list_images(videos / video), out / video, tracker)
        except InputError as error:
            raise InputError(f"video {video}: {error}") from error
        advance()
    return out


def _follow(labels: Sequence[Path], frames: Sequence[Path], out: Path, tracker: Segmenter) -> None:
    places = {frame.stem: place for place, frame in enumerate(frames)}
    for label in labels:
        if label.stem not in places:
            raise InputError(f"there is no frame {label.stem} for the label image {label}")
    wanted = {places[label.stem]: label.name for label in labels}
    given: set[int] = set()
    with closing(tracker.open_video(frames)) as session:
        for label in labels:
            numbers = read_numbers(label)
            for object_id in set(object_ids(numbers)) - given:
                session.add_mask(object_id, places[label.stem], numbers == object_id)
                given.add(object_id)
        if not given:
            raise InputError("its label images show no object")
        for result in session.track(start=0):
            if result.index in wanted:
                picture = label_image(_numbers(result))
                write_atomically(out / wanted[result.index], partial(picture.save, format="PNG"))


def _numbers(result: FrameInstances) -> UInt8[np.ndarray, "height width"]:
    numbers = np.zeros(result.masks.shape[1:], np.uint8)
    for object_id, mask in zip(result.ids.tolist(), result.masks, strict=True):
        numbers[mask] = object_id
    return numbers
