"""A session on one image: it is encoded once, then asked for concepts, refined by examples, and clicked on."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from masklet.errors import InputError
from masklet.formats.calibration import Calibration
from masklet.inference.concepts import Box, Boxes, Concept, Labels, Phrases, Points, check_box, read_concepts
from masklet.inference.image.clicks import ClickResult, click_prompt
from masklet.inference.image.image_result import ImageResult
from masklet.inference.predictor import Predictor
from masklet.models.click import ClickFeatures
from masklet.models.detector import ImageFeatures
from masklet.types import TokenSet

THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class _Question:
    """The last concept and its settings: what a further example is added to."""

    concept: Concept
    threshold: float
    calibration: Calibration | None


@dataclass(frozen=True, kw_only=True, eq=False)
class KeptConcept:
    """A phrase and examples of one image as tokens of a model, for other images."""

    phrase: str
    tokens: TokenSet
    identity: str


class ImageSession(AbstractContextManager["ImageSession"]):
    """One image, encoded once. Ask for concepts, refine the last one with examples, or click on objects."""

    def __init__(
        self,
        predictor: Predictor,
        pixels: UInt8[np.ndarray, "height width 3"],
        path: Path | None = None,
        features: ImageFeatures | None = None,
        click_features: ClickFeatures | None = None,
    ) -> None:
        self.predictor = predictor
        self.pixels = pixels
        self.path = path
        self._features: ImageFeatures | None = predictor.encode(pixels) if features is None else features
        self._click_features = click_features
        self._last: _Question | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Frees the features."""
        self._features = self._click_features = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def num_bytes(self) -> int:
        """Bytes of what was computed of the image, for phrases and for clicks."""
        sizes: list[int] = []
        for each in (self._features, self._click_features):
            if each is not None:
                each.map(lambda tensor: sizes.append(tensor.nbytes) or tensor)
        return sum(sizes)

    @property
    def features(self) -> ImageFeatures:
        """What was computed of the image. Raises: InputError after `close`."""
        if self._features is None:
            raise InputError("the session is closed")
        return self._features

    @property
    def click_features(self) -> ClickFeatures | None:
        """What clicks need, once there was one."""
        return self._click_features

    def find(
        self,
        phrases: Phrases = None,
        *,
        boxes: Boxes | None = None,
        not_boxes: Boxes | None = None,
        threshold: float | None = None,
        calibration: Calibration | None = None,
        assume_present: bool = False,
    ) -> ImageResult:
        """Every instance of the concepts, as `Model.segment`. Starts a new round of refinement.

        With `assume_present` the presence of the concepts is not asked for, as when counting them.
        """
        threshold = THRESHOLD if threshold is None else threshold
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold {threshold} is not in [0, 1]")
        if calibration is not None:
            calibration.check_model(self.predictor.identity)
        concepts = read_concepts(phrases, boxes, not_boxes, self.size, self.predictor.tokenizer)
        questions = [_Question(concept=each, threshold=threshold, calibration=calibration) for each in concepts]
        self._last = questions[0] if len(questions) == 1 else None
        return self._ask(concepts, threshold, calibration, assume_present=assume_present)

    def add_exemplar(self, box: Box, *, positive: bool = True) -> ImageResult:
        """Asks the last concept again with one more example: "this too", or "not this" where `positive` is False."""
        if self._last is None:
            raise InputError("there is no single concept to refine: call find with one phrase or with boxes first")
        example = check_box(box, self.size)
        asked = self._last.concept
        concept = replace(asked, boxes=(*asked.boxes, example), labels=(*asked.labels, int(positive)))
        self._last = replace(self._last, concept=concept)
        return self._ask([concept], self._last.threshold, self._last.calibration)

    def find_each(self, groups: Sequence[Sequence[Concept]], *, thresholds: Sequence[float | int]) -> list[ImageResult]:
        """Groups of concepts that were read, all asked in one pass.

        A result for each group, at its own threshold, also where two groups ask for the same phrase.
        """
        self._last, results, first = None, [], 0
        concepts = [concept for group in groups for concept in group]
        found = self.predictor.detect(self.features, concepts, self.size, min(thresholds))
        for group, threshold in zip(groups, thresholds, strict=True):
            place, phrases = found.prompt_index - first, tuple(concept.phrase for concept in group)
            rows = ((place >= 0) & (place < len(group)) & (found.scores > threshold)).nonzero()[:, 0]
            presence = found.presence[first : first + len(group)]
            part = replace(found.take(rows), prompt_index=place[rows], presence=presence)
            results.append(ImageResult(image=self.pixels, detections=part, queries=phrases, path=self.path))
            first += len(group)
        return results

    def keep(self, phrases: Phrases = None, *, boxes: Boxes, not_boxes: Boxes | None = None) -> KeptConcept:
        """A concept with its example boxes on this image, to be asked of others by `find_like`. Raises: InputError."""
        [concept] = read_concepts(phrases, boxes, not_boxes, self.size, self.predictor.tokenizer)
        tokens = self.predictor.example_tokens(self.features, concept, self.size)
        return KeptConcept(phrase=concept.phrase, tokens=tokens, identity=self.predictor.identity)

    def find_like(self, kept: KeptConcept, *, threshold: float | int | None = None) -> ImageResult:
        """Every instance of a concept whose examples are on another image. Raises: InputError for another model's."""
        if kept.identity != self.predictor.identity:
            raise InputError(f"the examples of {kept.phrase!r} are of another model: keep them anew")
        self._last, concepts = None, [Concept(phrase=kept.phrase)]
        least = THRESHOLD if threshold is None else threshold
        found = self.predictor.detect(self.features, concepts, self.size, least, tokens=kept.tokens)
        return ImageResult(image=self.pixels, detections=found, queries=(kept.phrase,), path=self.path)

    def click(
        self,
        points: Points = (),
        labels: Labels = (),
        *,
        box: Box | None = None,
        mask: Float[Tensor, "height width"] | Float[np.ndarray, "height width"] | None = None,
        multimask: bool | None = None,
    ) -> ClickResult:
        """The mask of one object. Points are x, y in pixels with label 1 (on it) or 0 (off it); `box` is around it.

        `mask` is `ClickResult.logits[i]` of an earlier result, to be refined. `multimask` asks for three alternatives;
        by default only a single point does, because it says too little.

        Raises: InputError when the prompt cannot be used or the model has no click head.
        """
        if "click" not in self.predictor.parts:
            raise InputError("these weights have no click head: use find() with example boxes, or the sam3 model")
        grid, image_size = self.features.grid, self.predictor.image_size
        prompt = click_prompt(points, labels, box, mask, self.size, image_size, (4 * grid[0], 4 * grid[1]))
        is_single_point = prompt.points_xy.shape[1] == 1 and box is None and mask is None
        multimask = is_single_point if multimask is None else multimask
        output = self.predictor.click(self._features_of_clicks(), prompt, multimask=multimask)
        with torch.inference_mode():
            return ClickResult.of(output, self.pixels)

    def _features_of_clicks(self) -> ClickFeatures:
        """Made at the first click, of the trunk's maps, which nothing else needs: a quarter of the session's bytes."""
        if self._click_features is None:
            self._click_features = self.predictor.click_features(self.features)
            self._features = replace(self.features, trunk=None)
        return self._click_features

    def _ask(
        self,
        concepts: Sequence[Concept],
        threshold: float,
        calibration: Calibration | None,
        *,
        assume_present: bool = False,
    ) -> ImageResult:
        detections = self.predictor.detect(
            self.features, concepts, self.size, threshold, calibration, assume_present=assume_present
        )
        phrases = tuple(concept.phrase for concept in concepts)
        return ImageResult(image=self.pixels, detections=detections, queries=phrases, path=self.path)
