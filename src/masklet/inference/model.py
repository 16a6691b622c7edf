"""Using the model on pictures: from what a user has and asks to results, with features kept for further questions.

This is the edge of the model. Pixels become fractions and normalised pictures here, logits become scores, and queries
below the threshold end here; nothing below knows of files, devices or thresholds.
"""

import hashlib
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from masklet.checkpoints.weights import Weights, content_hash, find, load_detector, read
from masklet.errors import InputError
from masklet.formats.calibration import Calibration, Thresholds
from masklet.inference.calibrated import cut_masks, gate_scores
from masklet.inference.devices import choose_device, choose_dtype
from masklet.inference.image.clicks import ClickResult, click_prompt
from masklet.inference.image.image_result import ImageResult
from masklet.media.images import ImageSource, preprocess, read_image
from masklet.models.detector import Detector, Grounding, ImageFeatures
from masklet.nn.precision import cast_compute
from masklet.ops.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from masklet.ops.nms import nms_prompts
from masklet.ops.scores import joint_scores, recentre
from masklet.tokenizer import Tokenizer
from masklet.types import Detections, Exemplars, PromptBatch, TokenSet

if TYPE_CHECKING:
    from masklet.inference.video.rules import Rules
    from masklet.inference.video.video_session import VideoSession
    from masklet.media.frames import VideoSource

Number = float | int
Box = Sequence[Number]  # x0, y0, x1, y1
Phrases = str | Sequence[str] | None

THRESHOLD = 0.5
WORDLESS = "visual"  # what the published model reads as "like the examples shown"
_PHRASES_KEPT = 256


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A phrase, example boxes in pixels, or both. Label 1 is "like this", 0 is "not like this"."""

    phrase: str
    boxes: tuple[Box, ...] = ()
    labels: tuple[int, ...] = ()


@dataclass(kw_only=True, eq=False)
class Model:
    """A detector on a device, ready for pictures. Made by `load`."""

    detector: Detector
    device: torch.device
    dtype: torch.dtype
    image_size: int
    parts: frozenset[str]
    tokenizer: Tokenizer
    even_score: float = 0.5
    max_overlap: float = 1.0
    digest: str = ""
    _phrases: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @cached_property
    def identity(self) -> str:
        """What answers depend on: a hash of the weights, the image size and the number type, as `1a2b-1008-float32`."""
        digest = self.digest or content_hash(self.detector.state_dict())
        weights = hashlib.sha256(f"{digest} {self.even_score} {self.max_overlap}".encode()).hexdigest()[:16]
        return f"{weights}-{self.image_size}-{str(self.dtype).removeprefix('torch.')}"

    def segment(
        self,
        image: ImageSource | Sequence[ImageSource],
        phrases: Phrases = None,
        *,
        boxes: Sequence[Box] | None = None,
        not_boxes: Sequence[Box] | None = None,
        threshold: float | None = None,
        calibration: Calibration | None = None,
    ) -> ImageResult | list[ImageResult]:
        """Every instance of one or several concepts; a list of pictures gives a list of results.

        `image` is a path, the bytes of a file, a PIL image, an array or a tensor (see `media.read_image`). `boxes` and
        `not_boxes` are example boxes, xyxy in pixels of the picture; they go with one phrase or with none. Detections
        score above `threshold`, in [0, 1] and by default 0.5. With a `calibration` (see `formats.calibration`) a phrase
        whose presence is too low is absent, masks are cut where the phrase wants it, and scores are recentred so that
        the phrase's own threshold is one half.

        Raises: InputError on a picture, phrase, box, threshold or calibration that cannot be used.
        """
        if isinstance(image, Sequence) and not isinstance(image, (str, bytes)):
            return [self._segment_one(one, phrases, boxes, not_boxes, threshold, calibration) for one in image]
        return self._segment_one(image, phrases, boxes, not_boxes, threshold, calibration)

    def open(self, image: ImageSource) -> "ImageSession":
        """A session on one picture: it is read and encoded once, then asked as often as wanted."""
        pixels = read_image(image)
        return ImageSession(self, pixels, Path(image) if isinstance(image, (str, PathLike)) else None)

    def open_video(
        self,
        source: "VideoSource | None" = None,
        *,
        rules: "str | Rules" = "sam3",
        delay: int | None = None,
        history_frames: int | None = 1000,
        memory_frames: int = 8,
        calibration: Calibration | None = None,
    ) -> "VideoSession":
        """A session that follows concepts and objects through a video.

        `source` is the path of a video, a folder or list of pictures, the number of a camera or an iterable of frames;
        without one, frames are pushed. `rules` are the constants of the pipeline, or the name of a set of them: sam3,
        sam3.1 or no-heuristics. `delay` is how many frames results wait (by default as the rules say; 0 shows masklets
        at once, also those that the rules soon end). Memory is bounded: results of the last `history_frames` frames are
        kept for corrections, and of every object the memories it needs and those of the last `memory_frames` frames.
        With a `calibration` detections are recentred as by `segment` before the rules see them.

        Raises: InputError on a source, rules or a calibration that cannot be used, or when the weights have no tracker.
        """
        from masklet.inference.video.opening import open_session

        return open_session(
            self,
            source,
            rules,
            delay=delay,
            history_frames=history_frames,
            memory_frames=memory_frames,
            calibration=calibration,
        )

    def resume_video(self, path: str | PathLike, source: "VideoSource | None" = None) -> "VideoSession":
        """A session that `VideoSession.save` wrote, on the same video. Raises: InputError when they do not fit."""
        from masklet.inference.video.opening import resume_session

        return resume_session(self, Path(path), source)

    def _segment_one(
        self,
        image: ImageSource,
        phrases: Phrases,
        boxes: Sequence[Box] | None,
        not_boxes: Sequence[Box] | None,
        threshold: float | None,
        calibration: Calibration | None,
    ) -> ImageResult:
        with self.open(image) as session:
            return session.find(phrases, boxes=boxes, not_boxes=not_boxes, threshold=threshold, calibration=calibration)

    @torch.inference_mode()
    def encode(self, pixels: UInt8[np.ndarray, "height width 3"]) -> ImageFeatures:
        """Features of one picture."""
        return self.detector.encode_images(preprocess(pixels, self.image_size)[None].to(self.device))

    @torch.inference_mode()
    def ask(
        self,
        features: ImageFeatures,
        concepts: Sequence[Concept],
        size: tuple[int, int],
        threshold: float,
        calibration: Calibration | None = None,
        *,
        assume_present: bool = False,
    ) -> Detections:
        """Detections of all concepts on one picture of `size` (height, width), best first.

        Concepts that are assumed to be there keep their scores however unsure their presence is.
        """
        words, prompts = self.prompts(concepts, size)
        grounding = self.detector.ground(features, words, prompts)
        limits = None if calibration is None else [calibration.thresholds(concept.phrase) for concept in concepts]
        if assume_present:
            sure = torch.full_like(grounding.presence_logits, math.inf)
            grounding = replace(grounding, presence_logits=sure)
        return self._keep(features, grounding, size, threshold, limits)

    def _keep(
        self,
        features: ImageFeatures,
        grounding: Grounding,
        size: tuple[int, int],
        threshold: float,
        limits: Sequence[Thresholds] | None,
    ) -> Detections:
        """Scores first; masks only for what is kept, and no mask head at all for prompts that keep nothing."""
        presence = grounding.presence_logits[-1].float()
        scores = joint_scores(grounding.pred_logits[-1].float(), presence)
        scores = recentre(scores, self.even_score)
        if limits is not None:
            scores = gate_scores(scores, presence.sigmoid(), limits)
        prompt_index, query_index = (scores > threshold).nonzero(as_tuple=True)
        order = scores[prompt_index, query_index].argsort(descending=True)
        prompt_index, query_index = prompt_index[order], query_index[order]
        height, width = size
        scale = torch.tensor([width, height, width, height], device=self.device)
        boxes = cxcywh_to_xyxy(grounding.pred_boxes[-1][prompt_index, query_index].float()) * scale
        masks = self.masks(features, grounding, prompt_index, query_index)
        if limits is not None:
            masks = cut_masks(masks, [limits[prompt].mask for prompt in prompt_index.tolist()])
        detections = Detections(
            boxes_xyxy=boxes,
            scores=scores[prompt_index, query_index],
            mask_logits=masks,
            prompt_index=prompt_index,
            presence=presence.sigmoid(),
        )
        if self.max_overlap == 1:
            return detections
        return detections.take(nms_prompts(masks, detections.scores, prompt_index, self.max_overlap))

    def masks(
        self, features: ImageFeatures, grounding: Grounding, prompt_index: Tensor, query_index: Tensor
    ) -> Float[Tensor, "detection height width"]:
        """Mask logits, one prompt at a time: the pixel maps of all prompts at once would be the peak of memory."""
        height, width = features.pyramid.fine.shape[-2:]
        masks = torch.empty(len(prompt_index), height, width, device=self.device)
        for prompt in prompt_index.unique().tolist():
            rows = (prompt_index == prompt).nonzero().squeeze(1)
            output = self.detector.segment(features, grounding, torch.tensor([prompt], device=self.device))
            masks[rows] = output.mask_logits(torch.zeros_like(rows), query_index[rows]).float()
        return masks

    def prompts(self, concepts: Sequence[Concept], size: tuple[int, int]) -> tuple[TokenSet, PromptBatch]:
        """The phrases' tokens, from memory where they were asked before, and the prompts that point at them."""
        distinct = list(dict.fromkeys(concept.phrase for concept in concepts))
        words = self._encode_phrases(distinct)
        exemplars = _exemplars(concepts, size).to(self.device)
        prompts = PromptBatch(
            token_ids=torch.zeros(words.valid.shape, dtype=torch.long, device=self.device),
            token_valid=words.valid,
            phrase_index=torch.tensor([distinct.index(concept.phrase) for concept in concepts], device=self.device),
            image_index=torch.zeros(len(concepts), dtype=torch.long, device=self.device),
            exemplars=exemplars,
        )
        return words, prompts

    def _encode_phrases(self, phrases: list[str]) -> TokenSet:
        """Each phrase is encoded once and remembered; the memory is bounded."""
        token_ids, valid = self.tokenizer.encode(phrases)
        fresh = [row for row, phrase in enumerate(phrases) if phrase not in self._phrases]
        if fresh:
            encoded = self.detector.text(token_ids[fresh].to(self.device))
            self._phrases.update((phrases[row], tokens) for row, tokens in zip(fresh, encoded, strict=True))
        length = token_ids.shape[1]
        tokens = [_fit(self._phrases[phrase], length) for phrase in phrases]
        while len(self._phrases) > _PHRASES_KEPT:
            self._phrases.pop(next(iter(self._phrases)))
        return TokenSet(tokens=torch.stack(tokens), valid=valid.to(self.device))

    def check_phrase(self, phrase: str) -> str:
        """The phrase, if it says something and fits. Raises: InputError."""
        if not phrase.strip():
            raise InputError("the phrase is empty: say what to look for, such as 'coin'")
        length = len(self.tokenizer.ids(phrase))
        if length > self.tokenizer.context:
            raise InputError(
                f"the phrase is too long ({length} tokens, at most {self.tokenizer.context}): '{phrase[:40]}...'"
            )
        return phrase


class ImageSession(AbstractContextManager):
    """One picture, encoded once. Ask for concepts, refine the last one with examples, or click on objects."""

    def __init__(self, model: Model, pixels: UInt8[np.ndarray, "height width 3"], path: Path | None) -> None:
        self.model = model
        self.pixels = pixels
        self.path = path
        self._features: ImageFeatures | None = model.encode(pixels)
        self._click_features = None
        self._last: tuple[Concept, float, Calibration | None] | None = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Lets the features go."""
        self._features = self._click_features = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def find(
        self,
        phrases: Phrases = None,
        *,
        boxes: Sequence[Box] | None = None,
        not_boxes: Sequence[Box] | None = None,
        threshold: float | None = None,
        calibration: Calibration | None = None,
        assume_present: bool = False,
    ) -> ImageResult:
        """Every instance of the concepts, as `Model.segment`. Starts a new round of refinement.

        With `assume_present` it is taken for granted that the concepts are in the picture, as when counting them.
        """
        threshold = THRESHOLD if threshold is None else threshold
        if not 0 <= threshold <= 1:
            raise InputError(f"threshold {threshold} is not in [0, 1]")
        if calibration is not None:
            calibration.check_model(self.model.identity)
        concepts = self._concepts(phrases, tuple(boxes or ()), tuple(not_boxes or ()))
        self._last = (concepts[0], threshold, calibration) if len(concepts) == 1 else None
        return self._ask(concepts, threshold, calibration, assume_present=assume_present)

    def add_exemplar(self, box: Box, *, positive: bool = True) -> ImageResult:
        """Asks the last concept again with one more example box: "this one too", or "not this"."""
        if self._last is None:
            raise InputError("there is no single concept to refine: call find with one phrase or with boxes first")
        concept, threshold, calibration = self._last
        check_box(box, self.size)
        concept = replace(concept, boxes=(*concept.boxes, box), labels=(*concept.labels, int(positive)))
        self._last = (concept, threshold, calibration)
        return self._ask([concept], threshold, calibration)

    def click(
        self,
        points: Sequence[Sequence[Number]] = (),
        labels: Sequence[int] = (),
        *,
        box: Box | None = None,
        mask: Float[Tensor, "height width"] | None = None,
        multimask: bool | None = None,
    ) -> ClickResult:
        """The mask of one object. Points are x, y in pixels with label 1 (on it) or 0 (off it); `box` is around it.

        `mask` is `ClickResult.logits[i]` of an earlier answer, to be refined. `multimask` asks for three alternatives;
        by default only a single point does, because it says too little.

        Raises: InputError when the prompt cannot be used or the model has no click head.
        """
        if "click" not in self.model.parts:
            raise InputError("these weights have no click head: use find() with example boxes, or the sam3 model")
        if box is not None:
            check_box(box, self.size)
        grid = self.features.grid
        prompt = click_prompt(points, labels, box, mask, self.size, self.model.image_size, (4 * grid[0], 4 * grid[1]))
        alone = len(points) == 1 and box is None and mask is None
        with torch.inference_mode():
            if self._click_features is None:
                pyramid = self.model.detector.vision.click_neck(self.features.trunk)
                self._click_features = self.model.detector.click.project_image(pyramid)
            output = self.model.detector.click(
                self._click_features,
                prompt.to(self.model.device),
                multimask=alone if multimask is None else multimask,
            )
        return ClickResult.of(output, self.pixels)

    @property
    def features(self) -> ImageFeatures:
        """What was computed of the picture. Raises: InputError after `close`."""
        if self._features is None:
            raise InputError("the session is closed")
        return self._features

    def _ask(
        self,
        concepts: Sequence[Concept],
        threshold: float,
        calibration: Calibration | None,
        *,
        assume_present: bool = False,
    ) -> ImageResult:
        detections = self.model.ask(
            self.features, concepts, self.size, threshold, calibration, assume_present=assume_present
        )
        return ImageResult(
            image=self.pixels,
            detections=detections,
            queries=tuple(concept.phrase for concept in concepts),
            path=self.path,
        )

    def _concepts(self, phrases: Phrases, boxes: tuple[Box, ...], not_boxes: tuple[Box, ...]) -> list[Concept]:
        for box in (*boxes, *not_boxes):
            check_box(box, self.size)
        labels = (1,) * len(boxes) + (0,) * len(not_boxes)
        if phrases is None or (not isinstance(phrases, str) and not phrases):
            if not boxes:
                raise InputError("nothing to look for: give a phrase, or at least one example box")
            return [Concept(phrase=WORDLESS, boxes=boxes + not_boxes, labels=labels)]
        words = [phrases] if isinstance(phrases, str) else list(dict.fromkeys(phrases))
        if labels and len(words) > 1:
            raise InputError("example boxes belong to one concept: give one phrase with them, or none")
        return [
            Concept(phrase=self.model.check_phrase(phrase), boxes=boxes + not_boxes, labels=labels) for phrase in words
        ]


def check_box(box: Box, size: tuple[int, int]) -> None:
    """Raises InputError unless the box has an area and lies inside a picture of `size` (height, width)."""
    height, width = size
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        raise InputError(f"box {tuple(box)} is not four finite numbers x0, y0, x1, y1")
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"box {tuple(box)} is inverted or empty: x0 < x1 and y0 < y1 are needed")
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise InputError(f"box {tuple(box)} is not inside the {width} x {height} picture")


def _exemplars(concepts: Sequence[Concept], size: tuple[int, int]) -> Exemplars:
    """Example boxes of all concepts as fractions, padded to the longest."""
    height, width = size
    longest = max(len(concept.boxes) for concept in concepts)
    count = len(concepts)
    boxes = torch.full((count, longest, 4), 0.5)
    labels = torch.zeros(count, longest, dtype=torch.long)
    valid = torch.zeros(count, longest, dtype=torch.bool)
    for row, concept in enumerate(concepts):
        if concept.boxes:
            pixels = torch.tensor(concept.boxes, dtype=torch.float32)
            boxes[row, : len(pixels)] = xyxy_to_cxcywh(pixels / torch.tensor([width, height, width, height]))
            labels[row, : len(pixels)] = torch.tensor(concept.labels)
            valid[row, : len(pixels)] = True
    return Exemplars(
        boxes_cxcywh=boxes,
        box_labels=labels,
        box_valid=valid,
        points_xy=torch.zeros(count, 0, 2),
        point_labels=torch.zeros(count, 0, dtype=torch.long),
        point_valid=torch.zeros(count, 0, dtype=torch.bool),
    )


def _fit(tokens: Float[Tensor, "token dim"], length: int) -> Float[Tensor, "{length} dim"]:
    """Tokens cut or padded to a length; what is added is never valid."""
    if len(tokens) >= length:
        return tokens[:length]
    return torch.cat([tokens, tokens.new_zeros(length - len(tokens), tokens.shape[1])])


def load(
    name_or_path: str | PathLike = "tiny", *, device: str = "auto", dtype: str = "auto", image_size: int | None = None
) -> Model:
    """A model by name (`tiny`, `sam3`) or from a weight file in any known format.

    `device` is auto, cpu, cuda or mps; `dtype` is auto, float32, bfloat16 or float16, where auto takes bfloat16 if the
    device multiplies it fast. `image_size` is the side in pixels that pictures are brought to, by default the model's.

    Raises: InputError on unknown names, files that are not whole, or a device that is not there.
    """
    target = choose_device(device)
    weights = read(find(name_or_path))
    return make_model(weights, target, choose_dtype(dtype, target), image_size)


def make_model(weights: Weights, device: torch.device, dtype: torch.dtype, image_size: int | None = None) -> Model:
    """A model from weights already read."""
    detector = load_detector(weights)
    size = image_size or weights.config.image_size
    try:
        detector.vision.trunk.grid(size, size)
    except ValueError as error:
        raise InputError(str(error)) from error
    if dtype != torch.float32:
        cast_compute(detector, dtype)
    text = weights.config.text
    return Model(
        detector=detector.to(device),
        device=device,
        dtype=dtype,
        image_size=size,
        parts=weights.parts,
        tokenizer=Tokenizer(text.vocab_size, text.context),
        even_score=weights.even_score,
        max_overlap=weights.max_overlap,
        digest=weights.digest,
    )
