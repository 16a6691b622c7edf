"""Predictions of a model for every pair of an image and a phrase, kept on disk.

Pairs are grouped by image, so that each image is encoded once however many phrases are asked. Predictions are kept
by the content of the image, so that a run that was stopped continues, and only new phrases are asked. Masks become run
lengths one at a time.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from masklet.errors import InputError
from masklet.eval.predict.prediction_cache import PhrasePrediction, PredictionCache
from masklet.formats.records import RunLengths, inside
from masklet.formats.saco import SacoPrediction, SacoPredictionWriter, SacoPresence
from masklet.ops.masks import rle_area, rle_encode

PHRASES_AT_ONCE = 16  # asked in one pass, which bounds memory
FLOOR = 0.05  # scores below it hardly move any figure
_CHUNK_BYTES = 2**20
_DIGITS = 5  # of scores, as in published predictions: 0.499996 becomes 0.5


@runtime_checkable
class Found(Protocol):
    """The instances of some phrases in one image, best first; boxes are xyxy pixels inside the image."""

    @property
    def presence(self) -> Mapping[str, float]:
        """Probability of each phrase asked for to be in the image at all."""
        ...

    @property
    def phrases(self) -> Sequence[str]:
        """The phrase of each instance."""
        ...

    @property
    def scores(self) -> Float32[np.ndarray, " detection"]:
        """Probability of each instance."""
        ...

    @property
    def boxes(self) -> Float32[np.ndarray, "detection 4"]:
        """Boxes in pixels."""
        ...

    def mask(self, index: int, *, cut: float) -> Bool[np.ndarray, "height width"]:
        """Pixels of an instance whose probability is above `cut`."""
        ...


@runtime_checkable
class Session(Protocol):
    """One image, encoded."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        ...

    def find(self, phrases: list[str], *, threshold: float, assume_present: bool = False) -> Found:
        """Instances of the phrases that score above `threshold`, whether or not presence is taken for granted."""
        ...

    def close(self) -> None:
        """Frees the image."""
        ...


@runtime_checkable
class Segmenter(Protocol):
    """A model such as `masklet.Model`. The same `identity` gives the same predictions."""

    @property
    def identity(self) -> str:
        """A name for the model with its settings, fit to name a folder."""
        ...

    def open(self, image: Path | UInt8[np.ndarray, "height width 3"]) -> Session:
        """Encodes an image, from its file or its pixels. Raises: InputError when it cannot be read."""
        ...


@dataclass(frozen=True)
class Request:
    """A phrase asked of an image, which is a path inside the folders of images."""

    image: str
    pair_id: int
    phrase: str


@dataclass(frozen=True, kw_only=True)
class PairPrediction(PhrasePrediction):
    """The prediction for a request."""

    pair_id: int


def predict_pairs(
    requests: Iterable[Request],
    images: Sequence[Path],
    segmenter: Segmenter,
    cache: Path,
    *,
    floor: float = FLOOR,
    cuts: Sequence[float] = (0.5,),
    assume_present: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> Iterator[PairPrediction]:
    """The predictions for all requests, image after image in the order in which images are first asked for.

    `images` are the folders to look in. Instances score above `floor`; masks are cut at one half and at the other
    `cuts`. With `assume_present`, presence does not enter the scores. `advance` is called after each one.
    Predictions are kept in `cache`, in one file for each image that is written when all of its phrases have one.

    Raises: InputError naming the image, and a pair that asks for it, when that or a phrase cannot be read.
    """
    folder = cache / (_folder_name(segmenter.identity) + ("-assumed-present" if assume_present else ""))
    kept = PredictionCache(folder=folder, floor=floor, cuts=tuple(dict.fromkeys((0.5, *cuts))))
    ask = partial(ask_image, segmenter=segmenter, kept=kept, assume_present=assume_present)
    asked: dict[str, list[Request]] = {}
    for request in requests:
        asked.setdefault(request.image, []).append(request)
    for name, of_image in asked.items():
        answers = _answer_image(name, of_image, images, ask, kept)
        for request in of_image:
            yield PairPrediction(pair_id=request.pair_id, **vars(answers[request.phrase]))
            advance()


def _answer_image(
    name: str,
    requests: Sequence[Request],
    images: Sequence[Path],
    ask: Callable[[Path, Sequence[str]], dict[str, PhrasePrediction]],
    kept: PredictionCache,
) -> dict[str, PhrasePrediction]:
    """Answers from the cache, and from the model for what is not there."""
    try:
        path = find_image(name, images)
        return kept.complete(_hash_file(path), [each.phrase for each in requests], partial(ask, path))
    except InputError as error:
        raise InputError(f"{name} (pair {requests[0].pair_id}): {error}") from error


def ask_image(
    image: Path | UInt8[np.ndarray, "height width 3"],
    phrases: Sequence[str],
    *,
    segmenter: Segmenter,
    kept: PredictionCache,
    assume_present: bool = False,
) -> dict[str, PhrasePrediction]:
    """The answers to all phrases, above the floor and with the cuts of `kept`, whose files are left alone.

    Raises: InputError when the image or a phrase cannot be read.
    """
    session = segmenter.open(image)
    answers: dict[str, PhrasePrediction] = {}
    try:
        for start in range(0, len(phrases), PHRASES_AT_ONCE):
            chunk = list(phrases[start : start + PHRASES_AT_ONCE])
            found = session.find(chunk, threshold=kept.floor, assume_present=assume_present)
            answers |= {phrase: _answer(phrase, found, session.size, kept.cuts) for phrase in chunk}
    finally:
        session.close()
    return answers


def _answer(phrase: str, found: Found, size: tuple[int, int], cuts: Sequence[float]) -> PhrasePrediction:
    """Rounded, so that an answer is the same whether it comes from the model or from the file."""
    rows = [row for row, each in enumerate(found.phrases) if each == phrase]
    return PhrasePrediction(
        height=size[0],
        width=size[1],
        presence=round(float(found.presence[phrase]), _DIGITS),
        scores=np.round(found.scores[rows].astype(np.float64), _DIGITS),
        boxes_xyxy=np.round(found.boxes[rows].astype(np.float64), 3),
        masks={cut: tuple(rle_encode(found.mask(row, cut=cut)) for row in rows) for cut in cuts},
    )


# --- files --------------------------------------------------------------------------------------------------------


def find_image(name: str, folders: Sequence[Path]) -> Path:
    """The file of this name in the first folder that has it.

    Raises: InputError when none has it, or when the name leads out of the folders.
    """
    for folder in folders:
        path = inside(folder, name, "the labels")
        if path.is_file():
            return path
    raise InputError(f"there is no {name} in {', '.join(map(str, folders))}")


def _folder_name(identity: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", identity):
        raise ValueError(f"identity {identity!r} cannot name a folder")
    return identity


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()


def write_predictions(predictions: Iterable[PairPrediction], path: Path) -> None:
    """Writes predictions as they come, in the published layout. Raises: InputError when they cannot be written."""
    with SacoPredictionWriter(path) as writer:
        for each in predictions:
            writer.add(SacoPresence(image_id=each.pair_id, presence=each.presence), to_saco(each))


def to_saco(prediction: PairPrediction) -> Iterator[SacoPrediction]:
    """The records of one pair, each with the presence of the pair."""
    height, width = prediction.height, prediction.width
    instances = zip(prediction.scores.tolist(), prediction.boxes_xyxy.tolist(), prediction.counts, strict=True)
    for score, (x0, y0, x1, y1), counts in instances:
        box = (x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height)
        yield SacoPrediction(
            image_id=prediction.pair_id,
            segmentation=RunLengths(size=[height, width], counts=counts),
            bbox=[round(value, _DIGITS) for value in box],
            score=score,
            area=round(rle_area(counts) / (height * width), 7),
            presence=prediction.presence,
        )
