"""Asking a model about labelled pictures at hand, and scoring what it says: the same pairs as of files, without files.

Answers are kept on disk by what the picture shows, so that a model is asked once however often it is compared.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from masklet.data.schema import Example, PhraseQuery
from masklet.eval.concepts.cgf1 import PairScores
from masklet.eval.concepts.count_rows import count_rows, figures, score_outcome
from masklet.eval.concepts.outcomes import PairOutcome
from masklet.eval.predict.answers import Answer, AnswerFiles
from masklet.eval.predict.predict import FLOOR, Segmenter, ask_image
from masklet.ops.boxes import box_iou
from masklet.ops.masks import rle_encode
from masklet.ops.runs import RunTable, pair_iou


def ask_example(
    image: UInt8[np.ndarray, "height width 3"], phrases: Sequence[str], segmenter: Segmenter, cache: Path
) -> dict[str, Answer]:
    """The answer to each phrase, from `cache` where the model gave it before. Raises: InputError on a bad phrase."""
    kept = AnswerFiles(folder=cache / segmenter.identity, floor=FLOOR, cuts=(0.5,))
    digest = hashlib.sha256(str(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
    answers = kept.read(digest)
    missing = [phrase for phrase in dict.fromkeys(phrases) if phrase not in answers]
    if missing:
        answers |= ask_image(image, missing, segmenter=segmenter, kept=kept)
        kept.write(digest, answers)
    return answers


def outcome_of(example: Example, query: PhraseQuery, answer: Answer, *, image: str, subset: str) -> PairOutcome:
    """What became of one phrase of a picture called `image`: by masks, or by boxes where a mask is not labelled."""
    rows = list(query.object_index)
    height, width = example.image.shape[:2]
    has_masks = bool(example.mask_valid[rows].all())
    counts = [rle_encode(mask) for mask in example.masks[rows]] if has_masks else []
    truths, predicted = (_table(each, height, width) for each in (counts, answer.counts))
    boxes = example.boxes_xyxy[rows].astype(np.float64)
    return PairOutcome(
        pair_id=0,
        phrase=query.phrase,
        image=image,
        subset=subset,
        height=height,
        width=width,
        scores=answer.scores,
        iou=_mask_iou(truths, predicted) if has_masks else _box_iou(boxes, answer.boxes_xyxy),
        truth_areas=truths.areas if has_masks else _areas(boxes),
        predicted_areas=predicted.areas if has_masks else _areas(answer.boxes_xyxy),
        truth_boxes_xyxy=boxes,
        predicted_boxes_xyxy=answer.boxes_xyxy,
        truth_counts=tuple(counts),
        predicted_counts=answer.counts,
        presence=answer.presence,
    )


def figures_of(outcomes: Iterable[PairOutcome]) -> dict[str, float]:
    """The published figures of pairs, as fractions; NaN where there is none (see `count_rows.figures`)."""
    rows = count_rows(PairScores.of([score_outcome(outcome) for outcome in outcomes]))
    return {name: float(value[0]) for name, value in figures(rows.sum(axis=0, keepdims=True)).items()}


def _table(counts: Sequence[str], height: int, width: int) -> RunTable:
    return RunTable.of(counts, [height] * len(counts), [width] * len(counts))


def _mask_iou(truths: RunTable, predicted: RunTable) -> Float[np.ndarray, "truth prediction"]:
    shape = (len(truths), len(predicted))
    truth, prediction = np.indices(shape).reshape(2, -1)
    return pair_iou(truths, truth, predicted, prediction).reshape(shape)


def _box_iou(
    truths: Float[np.ndarray, "truth 4"], predicted: Float[np.ndarray, "prediction 4"]
) -> Float[np.ndarray, "truth prediction"]:
    return box_iou(torch.from_numpy(truths)[:, None], torch.from_numpy(predicted)[None]).numpy()


def _areas(boxes_xyxy: Float[np.ndarray, "box 4"]) -> np.ndarray:
    return np.rint((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1)).astype(np.int64)
