"""Semantic segmentation: which class each pixel has, as mean IoU over classes (ADE20K, Pascal Context, Cityscapes).

Label maps are PNG files of one channel whose pixel values are class numbers; 255 is not judged. A model that detects
instances is asked for every class, and its masks are painted over one another, the surest on top.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8

from masklet.errors import InputError
from masklet.eval.predict.prediction_cache import PhrasePrediction
from masklet.eval.sums import Summable
from masklet.formats.benchmarks import UNJUDGED
from masklet.media.images import read_numbers
from masklet.media.suffixes import find_by_stem, walk
from masklet.ops.masks import rle_decode

LEAST_SCORE = 0.5
LEAST_PRESENCE = 0.5
LEAST_AREA = 0.0005  # of the image; smaller masks are left out


@dataclass(frozen=True, kw_only=True)
class ConfusionTally(Summable):
    """Pixels by their true class (rows) and the class they were given (columns); the last column is "none"."""

    pixels: Int64[np.ndarray, "truth predicted"]

    @classmethod
    def of(
        cls, truth: UInt8[np.ndarray, "height width"], predicted: UInt8[np.ndarray, "height width"]
    ) -> "ConfusionTally":
        """Pixels of one image."""
        judged = truth != UNJUDGED
        code = truth[judged].astype(np.int64) * 256 + predicted[judged]
        return cls(pixels=np.bincount(code, minlength=256 * 256).reshape(256, 256))

    def iou(self) -> dict[int, float]:
        """IoU of each class that is anywhere, in the truth or in the prediction."""
        right = np.diagonal(self.pixels)
        union = self.pixels.sum(axis=0) + self.pixels.sum(axis=1) - right
        return {int(each): float(right[each] / union[each]) for each in np.flatnonzero(union[:UNJUDGED])}

    def metrics(self) -> dict[str, float]:
        """Mean IoU over classes that are anywhere in the truth, and the share of judged pixels that are right."""
        present = np.flatnonzero(self.pixels.sum(axis=1))
        iou = self.iou()
        total = max(1, int(self.pixels.sum()))
        return {
            "mIoU": float(np.mean([iou[int(each)] for each in present])) if present.size else -1.0,
            "pixel_accuracy": float(np.diagonal(self.pixels).sum() / total),
        }


def paint(predictions: Sequence[tuple[int, PhrasePrediction]]) -> UInt8[np.ndarray, "height width"]:
    """A label map of the predictions for the classes of one image; pixels that no mask covers are 255."""
    height, width = predictions[0][1].height, predictions[0][1].width
    found = [
        (score, number, counts)
        for number, prediction in predictions
        if prediction.presence >= LEAST_PRESENCE
        for score, counts in zip(prediction.scores.tolist(), prediction.counts, strict=True)
        if score >= LEAST_SCORE
    ]
    labels = np.full((height, width), UNJUDGED, np.uint8)
    for _, number, counts in sorted(found, key=lambda each: each[0]):
        mask = rle_decode(counts, height, width)
        if mask.mean() >= LEAST_AREA:
            labels[mask] = number
    return labels


def image_of(name: Path, folders: Sequence[Path]) -> str:
    """The image of a label map: the one of the same name with any suffix, inside the first folder that has one.

    Raises: InputError when none has.
    """
    for folder in folders:
        path = find_by_stem(folder / name.parent, name.stem)
        if path is not None:
            return path.relative_to(folder).as_posix()
    raise InputError(f"there is no image of {name} in {', '.join(map(str, folders))}")


def score_folders(truth: Path, predicted: Path) -> Iterator[tuple[str, ConfusionTally]]:
    """Pixels of each image of a folder of label maps against the one of the same name in the other.

    Raises: InputError naming the file that is missing, unreadable or of another size.
    """
    names = [path.relative_to(truth) for path in walk(truth, (".png",))]
    if not names:
        raise InputError(f"no .png file in {truth}")
    for name in names:
        labels, found = read_labels(truth / name), read_labels(predicted / name)
        if labels.shape != found.shape:
            height, width = labels.shape
            raise InputError(f"{predicted / name}: is not {width} x {height} pixels as {truth / name} is")
        yield name.as_posix(), ConfusionTally.of(labels, found)


def read_labels(path: Path) -> UInt8[np.ndarray, "height width"]:
    """The class of each pixel. Raises: InputError naming the file."""
    numbers = read_numbers(path)
    if numbers.max(initial=0) > UNJUDGED:
        raise InputError(f"{path}: holds class {numbers.max()}; numbers up to {UNJUDGED} are expected")
    return numbers.astype(np.uint8)
