"""What crosses a folder: prompts, features and outputs as frozen dataclasses with their shapes in the fields.

Axes: `image` (of the batch), `phrase` (a distinct text), `prompt` (one phrase and its exemplars on one
image; prompts may share images and phrases), `query` (a slot of the decoder), `layer` (of the decoder), `token`,
`box`, `point`. Boxes are cxcywh in [0, 1] of the image inside the model and xyxy pixels at the edge; masks are logits
until the edge.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from typing_extensions import dataclass_transform

T = TypeVar("T")
B = TypeVar("B", bound="Bundle")

VISUAL = "visual"  # the phrase of a prompt without words: what the published model reads as "like the exemplars"


@dataclass_transform(frozen_default=True, kw_only_default=True)
def bundle(cls: type[T]) -> type[T]:
    """Frozen, keyword-only dataclass that `torch.compile` and `torch.export` see through as a pytree."""
    cls = dataclass(frozen=True, kw_only=True)(cls)
    torch.export.register_dataclass(cls)
    return cls


class Bundle:
    """Base of bundles: maps or moves all their tensors at once."""

    def map(self: B, function: Callable[[Tensor], Tensor]) -> B:
        """The same bundle with `function` applied to each tensor, nested bundles included."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        changes = {name: _map(getattr(self, name), function) for name in names}
        return replace(self, **changes)  # type: ignore[type-var]

    def to(self: B, device: torch.device | str) -> B:
        """The same bundle on `device`."""
        return self.map(lambda tensor: tensor.to(device))


def _map(value: object, function: Callable[[Tensor], Tensor]) -> object:
    if isinstance(value, Bundle):
        return value.map(function)
    if isinstance(value, tuple):
        return tuple(_map(item, function) for item in value)
    return function(value) if isinstance(value, Tensor) else value


@bundle
class Exemplars(Bundle):
    """Boxes and points shown as examples, padded to the longest prompt; label 1 is "like this", 0 "not like this"."""

    boxes_cxcywh: Float[Tensor, "prompt box 4"]
    box_labels: Int[Tensor, "prompt box"]
    box_valid: Bool[Tensor, "prompt box"]
    points_xy: Float[Tensor, "prompt point 2"]
    point_labels: Int[Tensor, "prompt point"]
    point_valid: Bool[Tensor, "prompt point"]


@bundle
class PromptBatch(Bundle):
    """Any number of prompts over any number of images; each phrase stands once, however many prompts use it.

    A prompt of exemplars alone uses the phrase `VISUAL`.
    """

    token_ids: Int[Tensor, "phrase token"]
    token_valid: Bool[Tensor, "phrase token"]
    phrase_index: Int[Tensor, " prompt"]
    image_index: Int[Tensor, " prompt"]
    exemplars: Exemplars


@bundle
class TokenSet(Bundle):
    """Tokens padded to a common length; `valid` is True where a token is real.

    `meaning` is what their phrase means, for models that compare it with the map of a classifier.
    """

    tokens: Float[Tensor, "batch token dim"]
    valid: Bool[Tensor, "batch token"]
    meaning: Float[Tensor, "batch meaning"] | None = None


@bundle
class FeaturePyramid(Bundle):
    """Maps at four, two and one times the patch grid."""

    fine: Float[Tensor, "image dim fine_height fine_width"]
    medium: Float[Tensor, "image dim medium_height medium_width"]
    coarse: Float[Tensor, "image dim height width"]


@bundle
class DetectorOutput(Bundle):
    """Predictions for each prompt. The last entry of the layer axis is for use, the others are for training.

    `pred_boxes` are cxcywh in [0, 1]; `pred_logits` do not include presence (`ops.scores.joint_scores` joins the two).
    Masks are kept factored, because a full set of them is the largest tensor of the model: `mask_logits` multiplies out
    those that are wanted. In training with doubled queries the copies come last on the query axis.
    """

    pred_logits: Float[Tensor, "layer prompt query"]
    pred_boxes: Float[Tensor, "layer prompt query 4"]
    presence_logits: Float[Tensor, "layer prompt"]
    mask_embeddings: Float[Tensor, "prompt query dim"]
    mask_biases: Float[Tensor, "prompt query"]
    pixel_embeddings: Float[Tensor, "prompt dim height width"]
    semantic_logits: Float[Tensor, "prompt height width"]

    def mask_logits(
        self, prompt_index: Int[Tensor, " kept"], query_index: Int[Tensor, " kept"]
    ) -> Float[Tensor, "kept height width"]:
        """Masks of the named queries at the resolution of the fine level. Empty input gives an empty output."""
        embeddings = self.mask_embeddings[prompt_index, query_index]
        biases = self.mask_biases[prompt_index, query_index]
        if self.pixel_embeddings.shape[0] == 1:  # one prompt: a single product, no copies of the pixel map
            masks = torch.einsum("kc,chw->khw", embeddings, self.pixel_embeddings[0])
        else:
            masks = torch.einsum("kc,kchw->khw", embeddings, self.pixel_embeddings[prompt_index])
        return masks + biases[:, None, None]

    def split_queries(self, count: int) -> tuple["DetectorOutput", "DetectorOutput"]:
        """The output of the first `count` queries of each prompt, and that of the others."""
        first, others = (
            replace(
                self,
                pred_logits=self.pred_logits[:, :, rows],
                pred_boxes=self.pred_boxes[:, :, rows],
                mask_embeddings=self.mask_embeddings[:, rows],
                mask_biases=self.mask_biases[:, rows],
            )
            for rows in (slice(count), slice(count, None))
        )
        return first, others

    @property
    def pred_masks(self) -> Float[Tensor, "prompt query height width"]:
        """Mask logits of every query of the last layer: 66 MB a prompt at full size, so meant for tests."""
        products = torch.einsum("pqc,pchw->pqhw", self.mask_embeddings, self.pixel_embeddings)
        return products + self.mask_biases[..., None, None]


@bundle
class ClickPrompt(Bundle):
    """Points, boxes and a previous mask for one object each; coordinates are fractions of the image.

    Point labels: 1 on the object, 0 off it, 2 and 3 the top-left and bottom-right corner of a box, -1 padding.
    """

    points_xy: Float[Tensor, "object point 2"]
    point_labels: Int[Tensor, "object point"]
    mask_logits: Float[Tensor, "object height width"] | None = None


@bundle
class ClickOutput(Bundle):
    """Masks for each click prompt with their predicted IoU; one mask or three, best not first."""

    mask_logits: Float[Tensor, "object mask height width"]
    iou_scores: Float[Tensor, "object mask"]
    object_logits: Float[Tensor, " object"]
    mask_tokens: Float[Tensor, "object mask dim"]


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Queries kept after scoring, best first, for the prompts of one image.

    `boxes_xyxy` are pixels of the original image, not clipped; `prompt_index` says whose detection each row is;
    `presence` is the probability that a prompt's concept is in the image at all.
    """

    boxes_xyxy: Float[Tensor, "detection 4"]
    scores: Float[Tensor, " detection"]
    mask_logits: Float[Tensor, "detection height width"]
    prompt_index: Int[Tensor, " detection"]
    presence: Float[Tensor, " prompt"]

    def take(self, rows: Int[Tensor, " taken"]) -> "Detections":
        """The detections in these rows; all prompts stay."""
        return replace(
            self,
            boxes_xyxy=self.boxes_xyxy[rows],
            scores=self.scores[rows],
            mask_logits=self.mask_logits[rows],
            prompt_index=self.prompt_index[rows],
        )


@dataclass(frozen=True, kw_only=True)
class DetectionSettings:
    """What turns the raw detections of one set of weights into detections to show. As published nothing is changed.

    `even_score` is the score at which a detection is as likely right as wrong (`ops.scores.recentre`). Of detections of
    one phrase in an image whose masks' IoU exceeds `max_overlap`, only the one of the highest score counts, and where
    that is below 1, one outline around several others does not: for a model that trained too briefly to detect each
    object once, and alone.
    """

    even_score: float = 0.5
    max_overlap: float = 1.0
