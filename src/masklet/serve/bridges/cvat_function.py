"""A function file for CVAT's own tools: `cvat-cli task auto-annotate TASK --function-file THIS -p labels=str:coin;cat`.

`create` makes one of three functions by `kind`: detect (labels are phrases), interact (clicks and a box), or track.
It runs where it is called, without a server, and needs the package cvat-sdk.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import cvat_sdk.auto_annotation as cvat  # type: ignore[import-not-found]
import numpy as np
from PIL import Image

import masklet
from masklet.errors import InputError
from masklet.ops.masks import mask_to_box, polygons_to_mask
from masklet.serve.bridges.shapes import cvat_runs, distinct, largest_outline

if TYPE_CHECKING:
    from masklet import ImageSession, Model, VideoSession

TRACKED = ("rectangle", "polygon")


def create(
    labels: str = "", kind: Literal["detect", "interact", "track"] = "detect", model: str = "tiny", device: str = "auto"
) -> "CvatDetector | CvatInteractor | CvatTracker":
    """The function. `labels` are separated by semicolons. Raises: InputError."""
    loaded = masklet.load(model, device=device)
    if kind == "interact":
        return CvatInteractor(loaded)
    if kind == "track":
        return CvatTracker(loaded)
    phrases = distinct(labels.split(";"))
    if kind != "detect" or not phrases:
        raise InputError("give labels, such as -p 'labels=str:coin;cat', or a kind: detect, interact or track")
    return CvatDetector(loaded, phrases)


class CvatDetector:
    """Masks, or polygons, of every instance of each label."""

    def __init__(self, model: "Model", phrases: Sequence[str]) -> None:
        self.model, self.phrases = model, list(phrases)
        self.spec = cvat.DetectionFunctionSpec(
            labels=[cvat.label_spec(phrase, number, type="mask") for number, phrase in enumerate(self.phrases)]
        )

    def detect(self, context: Any, image: Image.Image) -> list[Any]:
        """Shapes of one image, in the form that CVAT asks for."""
        threshold = 0.5 if context.conf_threshold is None else float(context.conf_threshold)
        found, shapes = self.model.segment(image, self.phrases, threshold=threshold), []
        assert not isinstance(found, list)
        for place, phrase in enumerate(found.phrases):
            mask, number = found.mask(place), self.phrases.index(phrase)
            outline = [value for point in largest_outline(mask) for value in point]
            if len(outline) < 6:
                continue
            as_polygon = bool(context.conv_mask_to_poly)
            shapes.append(cvat.polygon(number, outline) if as_polygon else cvat.mask(number, cvat_runs(mask)))
        return shapes


class CvatInteractor:
    """The object at clicks, inside a box, or both."""

    def __init__(self, model: "Model") -> None:
        self.model = model
        self.spec = cvat.InteractionFunctionSpec(min_pos_points=0, min_neg_points=0, min_bounding_boxes=0)

    def preprocess_image(self, context: Any, image: Image.Image) -> "ImageSession":  # noqa: ARG002
        """The encoded image, which CVAT keeps for the next clicks."""
        return self.model.open(image)

    def detect(self, context: Any, pp_image: "ImageSession", prompts: Any) -> list[Any]:  # noqa: ARG002
        """The mask."""
        points = [*prompts.pos_points, *prompts.neg_points]
        labels = [1] * len(prompts.pos_points) + [0] * len(prompts.neg_points)
        corners = prompts.bounding_box
        box = None if corners is None else [value for corner in corners for value in corner]
        mask = pp_image.click(points, labels, box=box).mask(0)
        return [cvat.InteractionResultShape(type="mask", points=cvat_runs(mask))] if mask.any() else []


class CvatTracker:
    """Follows rectangles and polygons from frame to frame."""

    def __init__(self, model: "Model") -> None:
        self.model = model
        self.spec = cvat.TrackingFunctionSpec(supported_shape_types=list(TRACKED))

    def preprocess_image(self, context: Any, image: Image.Image) -> np.ndarray:  # noqa: ARG002
        """The pixels of a frame."""
        return np.array(image.convert("RGB"))

    def init_tracking_state(self, context: Any, pp_image: np.ndarray, shape: Any) -> "VideoSession":  # noqa: ARG002
        """A session that knows the shape on its first frame."""
        session = self.model.open_video(delay=0)
        session.push(pp_image)
        height, width = pp_image.shape[:2]
        if shape.type == "rectangle":
            x0, y0, x1, y1 = shape.points[:4]
            session.click(0, 0, box=(max(0, x0), max(0, y0), min(width, x1), min(height, y1)))
        else:
            session.add_mask(0, 0, polygons_to_mask([shape.points], height, width))
        return session

    def track(self, context: Any, pp_image: np.ndarray, state: "VideoSession") -> Any:
        """The shape on the next frame; None where it is not seen."""
        result = state.push(pp_image)
        if result is None or not len(result):
            return None
        mask = result.mask(0)
        if context.original_shape_type == "rectangle":
            points = [float(value) for value in mask_to_box(mask) or ()]
        else:
            points = [value for point in largest_outline(mask) for value in point]
        return cvat.TrackableShape(type=context.original_shape_type, points=points) if len(points) >= 4 else None
