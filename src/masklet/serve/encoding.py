"""Results as answers: instances with their masks in the form that was asked for."""

import base64
import io

import numpy as np
from jaxtyping import Bool
from PIL import Image

from masklet.ops.masks import mask_to_box, mask_to_polygons, rle_encode
from masklet.protocols import Instances
from masklet.serve.schemas import InstanceView, MaskForm, MaskView, RleMask

TOLERANCE = 0.75  # pixels that a polygon may stray


def rle_of(mask: Bool[np.ndarray, "height width"]) -> RleMask:
    """A mask as COCO run lengths."""
    return RleMask(size=(mask.shape[0], mask.shape[1]), counts=rle_encode(mask))


def mask_view(mask: Bool[np.ndarray, "height width"], form: MaskForm) -> MaskView:
    """A mask in one of the forms."""
    if form == "rle":
        return MaskView(rle=rle_of(mask))
    if form == "polygon":
        parts = [each.round(2).ravel().tolist() for each in mask_to_polygons(mask, TOLERANCE)]
        return MaskView(polygon=parts)
    return MaskView(png=base64.b64encode(png_bytes(mask)).decode())


def png_bytes(mask: Bool[np.ndarray, "height width"]) -> bytes:
    """A mask as a PNG of one bit a pixel."""
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return file.getvalue()


def jpeg_bytes(pixels: np.ndarray, quality: int = 88) -> bytes:
    """An image as a JPEG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def box_of(mask: Bool[np.ndarray, "height width"]) -> tuple[float, float, float, float]:
    """The box of a mask; of an empty one zeros."""
    x0, y0, x1, y1 = mask_to_box(mask) or (0, 0, 0, 0)
    return float(x0), float(y0), float(x1), float(y1)


def instance_views(result: Instances, form: MaskForm) -> list[InstanceView]:
    """The instances of a result, best first; those without a pixel at full size are left out."""
    views = []
    for place, phrase in enumerate(result.phrases):
        mask = result.mask(place)
        area = int(mask.sum())
        if area:
            x0, y0, x1, y1 = (round(float(value), 2) for value in result.boxes[place])
            views.append(
                InstanceView(
                    id=len(views) + 1,
                    phrase=phrase,
                    score=round(float(result.scores[place]), 5),
                    box=(x0, y0, x1, y1),
                    area=area,
                    mask=mask_view(mask, form),
                )
            )
    return views
