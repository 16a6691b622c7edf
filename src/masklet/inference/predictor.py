"""A detector on a device: encodes images, answers prompts about them, and makes masks of what is kept.

This is the edge of the model: pixels become normalised tensors here, logits become scores, and queries below the
threshold end here. Nothing below knows of files, devices or thresholds; image and video sessions are built on this.
"""

import hashlib
import math
import threading
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from masklet.cached import cached
from masklet.checkpoints.containers import content_hash
from masklet.formats.calibration import Calibration
from masklet.inference.concepts import Concept, pack_exemplars
from masklet.inference.thresholds import cut_masks, limits_of, recentre_scores
from masklet.media.images import preprocess
from masklet.models.click import ClickFeatures
from masklet.models.detector import Detector, Grounding, ImageFeatures
from masklet.ops.boxes import cxcywh_to_xyxy
from masklet.ops.nms import nms_prompts
from masklet.ops.scores import joint_scores
from masklet.tokenizer import Tokenizer
from masklet.types import ClickOutput, ClickPrompt, Detections, DetectionSettings, FeaturePyramid, PromptBatch, TokenSet

_PHRASES_KEPT = 256


@dataclass(kw_only=True, eq=False)
class Predictor:
    """A detector on a device, ready for images. `parts` are the optional parts that its weights have."""

    detector: Detector
    device: torch.device
    dtype: torch.dtype
    image_size: int
    parts: frozenset[str]
    tokenizer: Tokenizer
    settings: DetectionSettings = field(default_factory=DetectionSettings)
    digest: str = ""
    _phrases: dict[str, Tensor] = field(default_factory=dict, repr=False)
    # Before Python 3.13 threading.Lock is a function: not every checker of types takes it for one.
    _phrases_lock: AbstractContextManager[bool] = field(default_factory=threading.Lock, repr=False)

    @cached
    def identity(self) -> str:
        """What results depend on: a hash of the weights, the image size and the number type, as `1a2b-1008-float32`."""
        digest = self.digest or content_hash(self.detector.state_dict())
        content = f"{digest} {self.settings.even_score} {self.settings.max_overlap}"
        weights = hashlib.sha256(content.encode()).hexdigest()[:16]
        return f"{weights}-{self.image_size}-{str(self.dtype).removeprefix('torch.')}"

    @torch.inference_mode()
    def encode(self, pixels: UInt8[np.ndarray, "height width 3"]) -> ImageFeatures:
        """Features of one image."""
        return self.detector.encode_images(preprocess(pixels, self.image_size)[None].to(self.device))

    @torch.inference_mode()
    def neck_maps(self, pixels: UInt8[np.ndarray, "height width 3"]) -> FeaturePyramid:
        """Maps of one image at all three levels, which are no part of what prompts need."""
        image = preprocess(pixels, self.image_size)[None].to(self.device)
        return self.detector.vision.concept_neck(self.detector.vision.trunk(image))

    @torch.inference_mode()
    def encode_all(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[ImageFeatures]:
        """Features of images of any sizes, computed in one pass; as of each alone, but for the last bits."""
        if len(images) < 2:
            return [self.encode(pixels) for pixels in images]
        pixels = torch.stack([preprocess(each, self.image_size) for each in images])
        features = self.detector.encode_images(pixels.to(self.device))
        return [features.of_image(index) for index in range(len(images))]

    @torch.inference_mode()
    def detect(
        self,
        features: ImageFeatures,
        concepts: Sequence[Concept],
        size: tuple[int, int],
        threshold: float,
        calibration: Calibration | None = None,
        *,
        assume_present: bool = False,
        tokens: TokenSet | None = None,
    ) -> Detections:
        """Detections of all concepts on one image of `size` (height, width), best first.

        With `assume_present` scores stay as they are however low the presence of a concept is. `tokens` are the
        concepts as `example_tokens` made them on another image.
        """
        # Score every query of every concept
        if tokens is None:
            words, prompts = self.prompts(concepts, size)
            grounding = self.detector.ground(features, words, prompts)
        else:
            here = torch.zeros(len(concepts), dtype=torch.long, device=self.device)
            grounding = self.detector.ground_tokens(features, tokens, here)
        if assume_present:
            certain = torch.full_like(grounding.presence_logits, math.inf)
            grounding = replace(grounding, presence_logits=certain)
        presence_logits = grounding.presence_logits[-1].float()
        presence = presence_logits.sigmoid()
        limits = limits_of([concept.phrase for concept in concepts], calibration)
        scores = joint_scores(grounding.pred_logits[-1].float(), presence_logits)
        scores = recentre_scores(scores, presence, self.settings.even_score, limits)
        # Keep what scores enough, best first; a prompt that keeps nothing costs no mask
        prompt_index, query_index = (scores > threshold).nonzero(as_tuple=True)
        order = scores[prompt_index, query_index].argsort(descending=True)
        prompt_index, query_index = prompt_index[order], query_index[order]
        # Boxes in pixels, masks as logits
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
            presence=presence,
        )
        if self.settings.max_overlap == 1:
            return detections
        return detections.take(nms_prompts(masks, detections.scores, prompt_index, self.settings.max_overlap))

    @torch.inference_mode()
    def example_tokens(self, features: ImageFeatures, concept: Concept, size: tuple[int, int]) -> TokenSet:
        """What a concept with example boxes, in pixels of this image, is on any other."""
        words, prompts = self.prompts([concept], size)
        return self.detector.join(features, words, prompts)

    @torch.inference_mode()
    def click_features(self, features: ImageFeatures) -> ClickFeatures:
        """What clicks need of an image, made of the trunk's maps, which nothing else needs."""
        assert features.trunk is not None
        return self.detector.click.project_image(self.detector.vision.click_neck(features.trunk))

    @torch.inference_mode()
    def click(self, features: ClickFeatures, prompt: ClickPrompt, *, multimask: bool) -> ClickOutput:
        """Masks of clicked objects, low-resolution logits; points of the prompt are fractions of the image."""
        return self.detector.click(features, prompt.to(self.device), multimask=multimask)

    def masks(
        self, features: ImageFeatures, grounding: Grounding, prompt_index: Tensor, query_index: Tensor
    ) -> Float[Tensor, "detection height width"]:
        """Mask logits, one prompt at a time: the pixel maps of all prompts at once would be the peak of memory."""
        height, width = features.pixel_terms.fine.shape[-2:]
        masks = torch.empty(len(prompt_index), height, width, device=self.device)
        for prompt in prompt_index.unique().tolist():
            rows = (prompt_index == prompt).nonzero().squeeze(1)
            output = self.detector.segment(features, grounding, torch.tensor([prompt], device=self.device))
            masks[rows] = output.mask_logits(torch.zeros_like(rows), query_index[rows]).float()
        return masks

    def prompts(self, concepts: Sequence[Concept], size: tuple[int, int]) -> tuple[TokenSet, PromptBatch]:
        """The phrases' tokens, from the cache where they were asked before, and the prompts that point at them."""
        distinct = list(dict.fromkeys(concept.phrase for concept in concepts))
        words = self._encode_phrases(distinct)
        prompts = PromptBatch(
            token_ids=torch.zeros(words.valid.shape, dtype=torch.long, device=self.device),
            token_valid=words.valid,
            phrase_index=torch.tensor([distinct.index(concept.phrase) for concept in concepts], device=self.device),
            image_index=torch.zeros(len(concepts), dtype=torch.long, device=self.device),
            exemplars=pack_exemplars(concepts, size).to(self.device),
        )
        return words, prompts

    def forget_phrases(self) -> None:
        """Empties the cache of phrases, so that the next ones are encoded anew."""
        with self._phrases_lock:
            self._phrases.clear()

    def _encode_phrases(self, phrases: list[str]) -> TokenSet:
        """Each phrase is encoded once and cached; the cache is bounded. Tokens are padded to the longest phrase."""
        token_ids, valid = self.tokenizer.encode(phrases)
        length = token_ids.shape[1]
        with self._phrases_lock:  # a model may be shared by threads
            fresh = [row for row, phrase in enumerate(phrases) if phrase not in self._phrases]
            if fresh:
                encoded = self.detector.text(token_ids[fresh].to(self.device))
                self._phrases.update((phrases[row], tokens) for row, tokens in zip(fresh, encoded, strict=True))
            tokens = [_fit(self._phrases[phrase], length) for phrase in phrases]
            while len(self._phrases) > _PHRASES_KEPT:
                self._phrases.pop(next(iter(self._phrases)))
        return self.detector.text.split(torch.stack(tokens), valid.to(self.device))


def _fit(tokens: Float[Tensor, "token dim"], length: int) -> Float[Tensor, "{length} dim"]:
    """Tokens cut or padded to a length; what is added is never valid."""
    if len(tokens) >= length:
        return tokens[:length]
    return torch.cat([tokens, tokens.new_zeros(length - len(tokens), tokens.shape[1])])
