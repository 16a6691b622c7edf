"""Validation of a training run: labelled images are asked and scored as in evaluation, and some results are drawn."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from masklet.checkpoints.weights import Weights
from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import IndexedSource
from masklet.eval.analysis.phrase_scores import phrase_scores
from masklet.eval.concepts.cgf1 import SCORE_THRESHOLD
from masklet.eval.predict.examples import outcome_of
from masklet.eval.predict.predict import ask_image
from masklet.eval.predict.prediction_cache import PhrasePrediction, PredictionCache
from masklet.files import write_atomically
from masklet.inference.devices import choose_device, choose_dtype
from masklet.inference.image.image_result import ImageResult
from masklet.inference.model import make_model
from masklet.ops.masks import rle_decode
from masklet.train.recipes.schema import Recipe
from masklet.train.run.validator import Figures, validation_images
from masklet.types import Detections

MOST_DRAWN, MOST_PIXELS = 8, 1000  # images, and pixels of the longer side of one
PICTURES, TRUTH = "pictures", "truth"


class ImageValidation:
    """Asks weights for the phrases of labelled images of a source.

    The predictions for some of the images are drawn, into `pictures/step-000400`, and once their labels, into
    `pictures/truth`.
    """

    def __init__(self, source: IndexedSource, places: Sequence[int], recipe: Recipe, out: Path) -> None:
        self.source, self.places, self.recipe, self.out = source, places, recipe, out
        count = min(MOST_DRAWN, len(places))
        self.drawn = {places[index * len(places) // count]: index for index in range(count)}

    def __len__(self) -> int:
        return len(self.places)

    def __call__(self, weights: Weights, step: int) -> Figures:
        """Figures of the weights after `step` updates."""
        device = choose_device(self.recipe.device)
        dtype = choose_dtype("auto" if self.recipe.bfloat16 else "float32", device)
        model, outcomes, drawings = make_model(weights, device, dtype), [], []
        # Only floor and cuts are read: predictions of intermediate weights are not cached.
        kept = PredictionCache(folder=self.out, floor=SCORE_THRESHOLD, cuts=(0.5,))
        for place in self.places:
            example = self.source.example(place, np.random.default_rng(place))
            # The phrases that are labelled in full, each once, present ones first
            complete = {query.phrase: query for query in example.queries if query.exhaustive}
            queries = sorted(complete.values(), key=lambda query: not query.object_index)
            if not queries:
                continue
            name = self.source.name(place)
            predictions = ask_image(example.image, [query.phrase for query in queries], segmenter=model, kept=kept)
            outcomes += [
                outcome_of(example, query, predictions[query.phrase], image=name, subset="validation")
                for query in queries
            ]
            if place in self.drawn:
                drawings.append(self._draw(place, step, example, queries, predictions))
        metrics, phrases = phrase_scores(outcomes)
        return Figures(metrics=metrics, phrases=tuple(phrases), images=tuple(drawings))

    def _draw(
        self,
        place: int,
        step: int,
        example: Example,
        queries: Sequence[PhraseQuery],
        predictions: dict[str, PhrasePrediction],
    ) -> Path:
        stem = re.sub(r"[^\w.-]+", "_", Path(self.source.name(place)).stem)[:80]
        name = f"{self.drawn[place]:02d}-{stem}.png"  # images of one name in several folders differ in the number
        truth = self.out / PICTURES / TRUTH / name
        if not truth.is_file():
            _save(truth, _labelled(example, queries))
        return _save(self.out / PICTURES / f"step-{step:06d}" / name, _predicted(example, predictions))


def open_validation(recipe: Recipe, out: Path) -> ImageValidation | None:
    """The validation of a recipe; None without images for it. Raises: InputError as `validation_images` does."""
    found = validation_images(recipe)
    return None if found is None else ImageValidation(*found, recipe, out)


def _labelled(example: Example, queries: Sequence[PhraseQuery]) -> ImageResult:
    """The labels as a result of a model; an object without a mask is drawn as its box."""
    rows = [row for query in queries for row in query.object_index]
    masks = []
    for row in rows:
        mask = example.masks[row]
        if not example.mask_valid[row]:
            mask = np.zeros(example.image.shape[:2], bool)
            x0, y0, x1, y1 = example.boxes_xyxy[row].round().astype(int).tolist()
            mask[y0:y1, x0:x1] = True
        masks.append(mask)
    detections = Detections(
        boxes_xyxy=torch.from_numpy(example.boxes_xyxy[rows]),
        scores=torch.ones(len(rows)),
        mask_logits=_logits(example, masks),
        prompt_index=torch.tensor([prompt for prompt, query in enumerate(queries) for _ in query.object_index]).long(),
        presence=torch.tensor([float(bool(query.object_index)) for query in queries]),
    )
    return _result(example, detections, [query.phrase for query in queries])


def _predicted(example: Example, predictions: dict[str, PhrasePrediction]) -> ImageResult:
    height, width = example.image.shape[:2]
    each = list(predictions.values())
    masks = (rle_decode(counts, height, width) for prediction in each for counts in prediction.counts)
    detections = Detections(
        boxes_xyxy=torch.from_numpy(np.concatenate([prediction.boxes_xyxy for prediction in each])).float(),
        scores=torch.from_numpy(np.concatenate([prediction.scores for prediction in each])).float(),
        mask_logits=_logits(example, masks),
        prompt_index=torch.tensor([prompt for prompt, prediction in enumerate(each) for _ in prediction.counts]).long(),
        presence=torch.tensor([prediction.presence for prediction in each]),
    )
    return _result(example, detections, list(predictions))


def _logits(
    example: Example, masks: Iterable[Bool[np.ndarray, "height width"]]
) -> Float[Tensor, "detection rows columns"]:
    """Masks as logits, at the size at which they are drawn."""
    width, height = _drawn_size(example)
    small = [np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)) for mask in masks]
    return torch.from_numpy(np.array(small, bool).reshape(-1, height, width)).float() * 2 - 1


def _result(example: Example, detections: Detections, phrases: Sequence[str]) -> ImageResult:
    size = _drawn_size(example)
    image = np.asarray(Image.fromarray(example.image).resize(size, Image.Resampling.LANCZOS))
    scale = size[0] / example.image.shape[1]
    detections = replace(detections, boxes_xyxy=detections.boxes_xyxy * scale)
    return ImageResult(image=image, detections=detections, queries=tuple(phrases))


def _drawn_size(example: Example) -> tuple[int, int]:
    height, width = example.image.shape[:2]
    scale = min(1.0, MOST_PIXELS / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _save(path: Path, result: ImageResult) -> Path:
    return write_atomically(path, lambda file: result.plot().save(file, "PNG"))
