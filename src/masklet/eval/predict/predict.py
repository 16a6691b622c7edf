"""Predictions of a model for every pair of an image and a phrase, kept on disk.

Pairs are grouped by image, so that each image is encoded once however many phrases are asked. Predictions are kept
by the content of the image, so that a run that was stopped continues, and only new phrases are asked. Masks become run
lengths one at a time.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from masklet.errors import InputError
from masklet.eval.predict.prediction_cache import PhrasePrediction, PredictionCache
from masklet.formats.records import Id, RunLengths, inside
from masklet.formats.saco import SacoPrediction, SacoPredictionWriter, SacoPresence
from masklet.ops.masks import rle_area, rle_encode
from masklet.phrases import phrase_key
from masklet.protocols import Instances, Pixels, Segmenter

PHRASES_AT_ONCE = 16  # asked in one pass, which bounds memory
FLOOR = 0.05  # scores below it hardly move any figure
_CHUNK_BYTES = 2**20
_DIGITS = 5  # of scores, as in published predictions: 0.499996 becomes 0.5


@dataclass(frozen=True)
class Request:
    """A phrase asked of an image, which is a path inside the folders of images."""

    image: str
    pair_id: Id
    phrase: str


@dataclass(frozen=True, kw_only=True)
class PairPrediction(PhrasePrediction):
    """The prediction for a request."""

    pair_id: Id


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
    if not re.fullmatch(r"\w[\w.-]*", segmenter.identity):
        raise ValueError(f"identity {segmenter.identity!r} cannot name a folder")
    folder = cache / (segmenter.identity + ("-assumed-present" if assume_present else ""))
    kept = PredictionCache(folder=folder, floor=floor, cuts=tuple(dict.fromkeys((0.5, *cuts))))
    ask = partial(ask_image, segmenter=segmenter, kept=kept, assume_present=assume_present)
    asked: dict[str, list[Request]] = {}
    for request in requests:
        asked.setdefault(request.image, []).append(request)
    for name, of_image in asked.items():
        try:
            path = find_image(name, images)
            phrases = [request.phrase for request in of_image]
            predictions = kept.complete(hash_file(path), phrases, partial(ask, path))
        except InputError as error:
            raise InputError(f"{name} (pair {of_image[0].pair_id}): {error}") from error
        for request in of_image:
            yield PairPrediction(pair_id=request.pair_id, **vars(predictions[request.phrase]))
            advance()


def ask_image(
    image: Path | Pixels,
    phrases: Sequence[str],
    *,
    segmenter: Segmenter,
    kept: PredictionCache,
    assume_present: bool = False,
) -> dict[str, PhrasePrediction]:
    """The predictions for all phrases, above the floor and with the cuts of `kept`, whose files are left alone.

    Raises: InputError when the image or a phrase cannot be read.
    """
    predictions: dict[str, PhrasePrediction] = {}
    with closing(segmenter.open(image)) as session:
        for start in range(0, len(phrases), PHRASES_AT_ONCE):
            chunk = list(phrases[start : start + PHRASES_AT_ONCE])
            spelling = {phrase_key(phrase): phrase for phrase in reversed(chunk)}  # what says the same is asked once
            asked = [*dict.fromkeys(spelling[phrase_key(phrase)] for phrase in chunk)]
            found = session.find(asked, threshold=kept.floor, assume_present=assume_present)
            own = {phrase: _select(phrase, found, session.size, kept.cuts) for phrase in asked}
            predictions |= {phrase: own[spelling[phrase_key(phrase)]] for phrase in chunk}
    return predictions


def _select(phrase: str, found: Instances, size: tuple[int, int], cuts: Sequence[float]) -> PhrasePrediction:
    """The prediction for a phrase, rounded so that it is the same whether it comes from the model or from a file."""
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


def hash_file(path: Path) -> str:
    """SHA-256 of its content. Raises: InputError when it cannot be read."""
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
