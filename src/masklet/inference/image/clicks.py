"""Clicks: pixels of the user to the click head's prompt, and its output to masks at the size of the image."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image
from torch import Tensor

from masklet.errors import InputError
from masklet.inference.concepts import check_box, read_labels, read_rows
from masklet.inference.image.image_result import ImageResult
from masklet.models.click import LOGIT_LIMIT
from masklet.ops.components import fill_holes
from masklet.ops.enlarge import resize_mask_logits
from masklet.protocols import cached
from masklet.types import ClickOutput, ClickPrompt, Detections

MAX_HOLE_AREA = 256  # in cells of the low-resolution mask
_TOP_LEFT, _BOTTOM_RIGHT = 2, 3


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class ClickResult:
    """Masks of one clicked object, the best first, with the IoU that the model expects of each.

    `logits` are low-resolution; give one back to `click(mask=...)` to refine it.
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
        return f"ClickResult({len(self)} masks, expected IoU {', '.join(f'{score:.2f}' for score in self.iou_scores)})"

    @cached
    def masks(self) -> Bool[np.ndarray, "mask height width"]:
        """Masks at the size of the image, holes of up to `MAX_HOLE_AREA` cells filled."""
        return resize_mask_logits(self.filled, *self.image.shape[:2]).cpu().numpy()

    def plot(self, index: int = 0) -> Image.Image:
        """The image with one of the masks."""
        rows, columns = np.nonzero(self.masks[index])
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if len(rows) else (0, 0, 0, 0)
        detections = Detections(
            boxes_xyxy=torch.tensor([box], dtype=torch.float32),
            scores=torch.from_numpy(self.iou_scores[index : index + 1]),
            mask_logits=self.filled[index : index + 1].cpu(),
            prompt_index=torch.zeros(1, dtype=torch.long),
            presence=torch.ones(1),
        )
        return ImageResult(image=self.image, detections=detections, queries=("object",)).plot()


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
