"""Predictions for labelled images in memory, scored as pairs of an image and a phrase like those of files."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8

from masklet.data.schema import Example, PhraseQuery
from masklet.eval.concepts.cgf1 import total
from masklet.eval.concepts.outcomes import PairOutcome, score_outcome
from masklet.eval.predict.predict import FLOOR, ask_image
from masklet.eval.predict.prediction_cache import PhrasePrediction, PredictionCache
from masklet.ops.boxes import box_iou
from masklet.ops.masks import rle_encode
from masklet.ops.runs import RunTable, iou_table
from masklet.protocols import Segmenter


@dataclass(frozen=True)
class LabelledInstances:
    """The labelled instances of a phrase in an image: boxes xyxy in pixels, and masks unless one has a box alone."""

    height: int
    width: int
    boxes_xyxy: Float[np.ndarray, "truth 4"]
    counts: tuple[str, ...] | None

    @classmethod
    def of(cls, example: Example, query: PhraseQuery) -> "LabelledInstances":
        """The instances of one query of an example."""
        rows = list(query.object_index)
        height, width = example.image.shape[:2]
        has_masks = bool(example.mask_valid[rows].all())
        counts = tuple(rle_encode(mask) for mask in example.masks[rows]) if has_masks else None
        return cls(height, width, example.boxes_xyxy[rows].astype(np.float64), counts)

    def table(self, counts: Iterable[str]) -> RunTable:
        """Masks of the size of the image."""
        listed = list(counts)
        return RunTable.of(listed, [self.height] * len(listed), [self.width] * len(listed))

    def iou(
        self, boxes_xyxy: Float[np.ndarray, "detection 4"], counts: Iterable[str]
    ) -> Float[np.ndarray, "truth detection"]:
        """Overlaps with predicted masks, or with boxes where an instance has no mask."""
        if self.counts is not None:
            return iou_table(self.table(self.counts), self.table(counts))
        boxes = torch.from_numpy(boxes_xyxy).double()
        return box_iou(torch.from_numpy(self.boxes_xyxy)[:, None], boxes[None]).numpy()


def ask_example(
    image: UInt8[np.ndarray, "height width 3"], phrases: Sequence[str], segmenter: Segmenter, cache: Path
) -> dict[str, PhrasePrediction]:
    """The prediction for each phrase, from `cache` where it has them. Raises: InputError on a bad phrase."""
    kept = PredictionCache(folder=cache / segmenter.identity, floor=FLOOR, cuts=(0.5,))
    digest = hashlib.sha256(str(image.shape).encode() + np.ascontiguousarray(image).tobytes()).hexdigest()
    return kept.complete(digest, phrases, partial(ask_image, image, segmenter=segmenter, kept=kept))


def outcome_of(
    example: Example, query: PhraseQuery, prediction: PhrasePrediction, *, image: str, subset: str
) -> PairOutcome:
    """The outcome of one phrase of an image of that name: by masks, or by boxes where a mask is not labelled."""
    truths = LabelledInstances.of(example, query)
    boxes = prediction.boxes_xyxy
    by_masks = truths.counts is not None
    return PairOutcome(
        pair_id=0,
        phrase=query.phrase,
        image=image,
        subset=subset,
        height=truths.height,
        width=truths.width,
        scores=prediction.scores,
        iou=truths.iou(boxes, prediction.counts),
        truth_areas=truths.table(truths.counts or ()).areas if by_masks else _areas(truths.boxes_xyxy),
        predicted_areas=truths.table(prediction.counts).areas if by_masks else _areas(boxes),
        truth_boxes_xyxy=truths.boxes_xyxy,
        predicted_boxes_xyxy=boxes,
        truth_counts=truths.counts or (),
        predicted_counts=prediction.counts,
        presence=prediction.presence,
    )


def _areas(boxes_xyxy: Float[np.ndarray, "box 4"]) -> np.ndarray:
    return np.rint((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(axis=1)).astype(np.int64)


def figures_of(outcomes: Iterable[PairOutcome]) -> dict[str, float]:
    """The published figures of pairs, as fractions; NaN where there is none (see `ConceptCounts.figures`)."""
    return {name: float(value) for name, value in total(map(score_outcome, outcomes)).figures().items()}
