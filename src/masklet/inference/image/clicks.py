"""Clicks: pixels of the user to the click head's prompt, and its output to masks at the size of the image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from PIL import Image
from torch import Tensor

from masklet.cached import cached
from masklet.errors import InputError
from masklet.inference.concepts import check_box, read_labels, read_rows
from masklet.inference.image.image_result import ImageResult
from masklet.inference.result import CLICKED, Result, Row, choose
from masklet.models.click import LOGIT_LIMIT
from masklet.ops.components import fill_holes
from masklet.ops.masks import mask_to_box
from masklet.types import ClickOutput, ClickPrompt, Detections

MAX_HOLE_AREA = 256  # in cells of the low-resolution mask
_TOP_LEFT, _BOTTOM_RIGHT = 2, 3


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ClickResult(Result):
    """Masks of one clicked object, the best first, with the IoU that the model expects of each.

    `logits` are low-resolution; give one back to `click(mask=...)` to refine it. As with other results the scores are
    in [0, 1]: they are the expected IoU.
    """

    image: UInt8[np.ndarray, "height width 3"]
    logits: Float[Tensor, "mask low_height low_width"]
    filled: Float[Tensor, "mask low_height low_width"]
    iou_scores: Float32[np.ndarray, " mask"]

    @classmethod
    def of(cls, output: ClickOutput, image: UInt8[np.ndarray, "height width 3"]) -> "ClickResult":
        """The result of a single object."""
        order = output.iou_scores[0].argsort(descending=True)
        logits = output.mask_logits[0, order].float()
        return cls(
            image=image,
            logits=logits.clamp(-LOGIT_LIMIT, LOGIT_LIMIT),
            filled=fill_holes(logits, MAX_HOLE_AREA),
            iou_scores=output.iou_scores[0, order].float().cpu().numpy(),
        )

    def __len__(self) -> int:
        return len(self.iou_scores)

    def __repr__(self) -> str:
        return f"ClickResult({self.summary()})"

    def __getitem__(self, index: int | slice | Sequence[int] | np.ndarray) -> "ClickResult":
        """The masks chosen by place, slice, list of places or array of bools; one place selects one."""
        chosen = choose(len(self), index)
        rows = torch.from_numpy(chosen).to(self.logits.device)
        return replace(self, logits=self.logits[rows], filled=self.filled[rows], iou_scores=self.iou_scores[chosen])

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def scores(self) -> Float32[np.ndarray, " mask"]:
        """The IoU that the model expects of each mask."""
        return self.iou_scores

    @property
    def phrases(self) -> tuple[str, ...]:
        """ "object" for each mask."""
        return (CLICKED,) * len(self)

    @property
    def boxes(self) -> Float32[np.ndarray, "mask 4"]:
        """Tightest boxes around the masks, xyxy in pixels; zeros around an empty one."""
        return self.as_image_result.boxes

    @property
    def areas(self) -> Int64[np.ndarray, " mask"]:
        """Pixels of each mask."""
        return self.as_image_result.areas

    @property
    def masks(self) -> Bool[np.ndarray, "mask height width"]:
        """Masks at the size of the image, holes of up to `MAX_HOLE_AREA` cells filled."""
        return self.as_image_result.masks

    def mask(self, index: int) -> Bool[np.ndarray, "height width"]:
        """One mask at the size of the image."""
        return self._without_boxes.mask(index)

    @cached
    def as_image_result(self) -> ImageResult:
        """The masks as instances of the phrase "object", which drawing and exports take."""
        result = self._without_boxes
        boxes = [mask_to_box(result.mask(index)) or (0, 0, 0, 0) for index in range(len(self))]
        detections = replace(result.detections, boxes_xyxy=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4))
        return replace(result, detections=detections)

    @cached
    def _without_boxes(self) -> ImageResult:
        detections = _detections(self.filled.cpu(), self.iou_scores)
        return ImageResult(image=self.image, detections=detections, queries=(CLICKED,))

    def counts(self) -> dict[str, int]:
        """How many masks there are."""
        return {CLICKED: len(self)}

    def summary(self) -> str:
        """One line for people: "3 masks, expected IoU 0.91, 0.85, 0.40"."""
        return f"{len(self)} masks, expected IoU {', '.join(f'{score:.2f}' for score in self.iou_scores) or '-'}"

    def plot(self, index: int = 0) -> Image.Image:
        """The image with one of the masks, by default the best."""
        return self.as_image_result[index : index + 1].plot()

    def to_json(self) -> dict[str, Any]:
        """Score, box and run-length mask of each mask."""
        return self.as_image_result.to_json()

    def to_rows(self) -> list[Row]:
        """A dict for each mask, as of `ImageResult`."""
        return self.as_image_result.to_rows()

    def to_supervision(self) -> Any:
        """The same as `supervision.Detections`; needs the package `supervision`."""
        return self.as_image_result.to_supervision()


def _detections(logits: Float[Tensor, "mask low_height low_width"], scores: np.ndarray) -> Detections:
    count = len(scores)
    return Detections(
        boxes_xyxy=torch.zeros(count, 4),
        scores=torch.from_numpy(scores),
        mask_logits=logits,
        prompt_index=torch.zeros(count, dtype=torch.long),
        presence=torch.ones(1),
    )


def click_prompt(
    points: object,
    labels: object,
    box: object,
    mask: Float[Tensor, "low_height low_width"] | Float[np.ndarray, "low_height low_width"] | None,
    size: tuple[int, int],
    image_size: int,
    mask_size: tuple[int, int],
) -> ClickPrompt:
    """The prompt of one object on an image of `size` (height, width) that the model sees at `image_size` squared.

    Coordinates are moved by half a pixel of the model's image, from corners to centres, as in training.

    Raises: InputError when there is nothing to go by, or points, labels or mask do not fit.
    """
    places, signs = read_rows(points, 2, "point"), read_labels(labels)
    if not places and box is None and mask is None:
        raise InputError("nothing to go by: give a point, a box or a mask")
    if len(places) != len(signs):
        raise InputError(f"{len(places)} points have {len(signs)} labels: each point needs one")
    height, width = size
    if not all(math.isfinite(sum(point)) for point in places):
        raise InputError("a point is two finite numbers x, y")
    if not all(0 <= x <= width and 0 <= y <= height for x, y in places):
        raise InputError(f"a point is outside the {width} x {height} image")
    if mask is not None and tuple(mask.shape) != mask_size:
        raise InputError(f"the mask is {tuple(mask.shape)}, not {mask_size}: give back ClickResult.logits[i]")
    around = () if box is None else check_box(box, size)
    corners = [around[:2], around[2:]] if around else []
    pixels = torch.tensor([*corners, *places], dtype=torch.float32).reshape(1, -1, 2)
    corner_labels = [] if box is None else [_TOP_LEFT, _BOTTOM_RIGHT]
    return ClickPrompt(
        points_xy=pixels / torch.tensor([width, height]) + 0.5 / image_size,
        point_labels=torch.tensor([*corner_labels, *signs], dtype=torch.long).reshape(1, -1),
        mask_logits=None if mask is None else torch.as_tensor(mask)[None].float(),
    )
