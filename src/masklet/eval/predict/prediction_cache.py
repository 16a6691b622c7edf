"""Predictions of a model for phrases of an image, and the files that cache them."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from masklet.files import write_atomically

MAX_BYTES = 2**28  # of a file, far above the predictions for any image


@dataclass(frozen=True, kw_only=True)
class PhrasePrediction:
    """The predicted instances of a phrase in an image of `height` x `width`: scores falling, boxes xyxy in pixels.

    `masks` holds, for each cut, the compressed run lengths of all instances: pixels of a probability above the cut.
    """

    height: int
    width: int
    presence: float
    scores: Float[np.ndarray, " detection"]
    boxes_xyxy: Float[np.ndarray, "detection 4"]
    masks: Mapping[float, tuple[str, ...]]

    @property
    def counts(self) -> tuple[str, ...]:
        """The masks cut at one half."""
        return self.masks[0.5]


Predict = Callable[[Sequence[str]], Mapping[str, PhrasePrediction]]


@dataclass(frozen=True, kw_only=True)
class PredictionCache:
    """Predictions on disk: a file for each image, named by its content.

    A file that is damaged, or was made with another score floor or fewer cuts, counts as empty.
    """

    folder: Path
    floor: float
    cuts: tuple[float, ...]

    def complete(self, digest: str, phrases: Iterable[str], predict: Predict) -> dict[str, PhrasePrediction]:
        """Predictions for all phrases of an image; `predict` is called for those that are not cached.

        Raises: InputError when the folder cannot be written.
        """
        predictions = self.read(digest)
        missing = [phrase for phrase in dict.fromkeys(phrases) if phrase not in predictions]
        if missing:
            predictions |= predict(missing)
            self.write(digest, predictions)
        return predictions

    def read(self, digest: str) -> dict[str, PhrasePrediction]:
        """The cached predictions of an image by phrase."""
        body = read_checked(self._path(digest), MAX_BYTES)
        try:
            document = json.loads(body)
            if document["floor"] != self.floor or not set(map(str, self.cuts)) <= set(document["cuts"]):
                return {}
            return {phrase: _read_prediction(entry) for phrase, entry in document["phrases"].items()}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}

    def write(self, digest: str, predictions: Mapping[str, PhrasePrediction]) -> None:
        """Replaces the cached predictions of an image. Raises: InputError when the folder cannot be written."""
        phrases = {
            phrase: vars(each)
            | {"scores": each.scores.tolist(), "boxes_xyxy": each.boxes_xyxy.tolist()}
            | {"masks": {str(cut): list(counts) for cut, counts in each.masks.items()}}
            for phrase, each in predictions.items()
        }
        document = {"floor": self.floor, "cuts": [str(cut) for cut in self.cuts], "phrases": phrases}
        write_checked(self._path(digest), json.dumps(document, separators=(",", ":")).encode())

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"


def read_checked(path: Path, most: int) -> bytes:
    """The body of a cache file of at most `most` bytes; empty where it is missing, larger or damaged."""
    try:
        with path.open("rb") as file:
            checksum, _, body = file.read(most + 1).partition(b"\n")
    except OSError:
        return b""
    return body if checksum == hashlib.sha256(body).hexdigest().encode() else b""


def write_checked(path: Path, body: bytes) -> None:
    """Writes a cache file: the hash of the body in the first line. Raises: InputError when it cannot be written."""
    write_atomically(path, hashlib.sha256(body).hexdigest().encode() + b"\n" + body)


def _read_prediction(entry: dict[str, Any]) -> PhrasePrediction:
    """Raises: KeyError, TypeError or ValueError for what `PredictionCache.write` did not make."""
    scores = np.array(entry["scores"], np.float64)
    boxes = np.array(entry["boxes_xyxy"], np.float64).reshape(len(scores), 4)
    masks = {float(cut): tuple(map(str, counts)) for cut, counts in entry["masks"].items()}
    numbers = [entry["presence"], *scores, *boxes.ravel()]
    if not all(map(math.isfinite, numbers)) or any(len(counts) != len(scores) for counts in masks.values()):
        raise ValueError("not the prediction for a phrase")
    return PhrasePrediction(
        height=int(entry["height"]),
        width=int(entry["width"]),
        presence=float(entry["presence"]),
        scores=scores,
        boxes_xyxy=boxes,
        masks=masks,
    )
