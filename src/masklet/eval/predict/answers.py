"""Answers of a model to phrases asked of an image, and the files that keep them."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from masklet.files import write_atomically

MAX_BYTES = 2**28  # of a file, far above the answers to any image


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The instances of a phrase in an image of `height` x `width`: scores falling, boxes xyxy in pixels.

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


@dataclass(frozen=True, kw_only=True)
class AnswerFiles:
    """Answers on disk: a file for each image, named by its content, a hash of its second line in the first.

    A file that is damaged, or whose answers were asked for with another floor or fewer cuts, counts as empty.
    """

    folder: Path
    floor: float
    cuts: tuple[float, ...]

    def read(self, digest: str) -> dict[str, Answer]:
        """What is known of an image, by phrase."""
        try:
            with self._path(digest).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            checksum, _, body = content.partition(b"\n")
            if checksum.decode() != hashlib.sha256(body).hexdigest():
                return {}
            document = json.loads(body)
            if document["floor"] != self.floor or not set(map(str, self.cuts)) <= set(document["cuts"]):
                return {}
            return {phrase: _read_answer(entry) for phrase, entry in document["phrases"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {}

    def write(self, digest: str, answers: Mapping[str, Answer]) -> None:
        """Replaces what is known of an image. Raises: InputError when the folder cannot be written."""
        phrases = {phrase: _to_json(answer) for phrase, answer in answers.items()}
        document = {"floor": self.floor, "cuts": [str(cut) for cut in self.cuts], "phrases": phrases}
        body = json.dumps(document, separators=(",", ":")).encode()
        write_atomically(self._path(digest), hashlib.sha256(body).hexdigest().encode() + b"\n" + body)

    def _path(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"


def _to_json(answer: Answer) -> dict[str, Any]:
    return {
        "height": answer.height,
        "width": answer.width,
        "presence": answer.presence,
        "scores": answer.scores.tolist(),
        "boxes_xyxy": answer.boxes_xyxy.tolist(),
        "masks": {str(cut): list(counts) for cut, counts in answer.masks.items()},
    }


def _read_answer(entry: dict[str, Any]) -> Answer:
    """Raises: KeyError, TypeError or ValueError for what `_to_json` did not make."""
    scores = np.array(entry["scores"], np.float64)
    boxes = np.array(entry["boxes_xyxy"], np.float64).reshape(len(scores), 4)
    masks = {float(cut): tuple(map(str, counts)) for cut, counts in entry["masks"].items()}
    numbers = [entry["presence"], *scores, *boxes.ravel()]
    if not all(map(math.isfinite, numbers)) or any(len(counts) != len(scores) for counts in masks.values()):
        raise ValueError("not the answer to a phrase")
    return Answer(
        height=int(entry["height"]),
        width=int(entry["width"]),
        presence=float(entry["presence"]),
        scores=scores,
        boxes_xyxy=boxes,
        masks=masks,
    )
