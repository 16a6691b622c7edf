"""Masks as other programs write them."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from PIL import Image

from masklet.ops.masks import mask_to_box, mask_to_polygons

Mask = Bool[np.ndarray, "height width"]


def largest_outline(mask: Mask, tolerance: float = 0.75) -> list[list[float]]:
    """Points x, y around the largest part of a mask; none of an empty one."""
    parts = mask_to_polygons(mask, tolerance)
    return parts[0].round(2).tolist() if parts else []


def outlines(mask: Mask, tolerance: float = 0.75) -> list[list[list[float]]]:
    """Points x, y around every part of a mask that has three corners or more."""
    return [each.round(2).tolist() for each in mask_to_polygons(mask, tolerance) if len(each) >= 3]


def cvat_bitmap(mask: Mask) -> list[int]:
    """CVAT's detectors: 0 and 1 inside the box row by row, then its corners, the last pixel included."""
    x0, y0, x1, y1 = mask_to_box(mask) or (0, 0, 1, 1)
    inside = mask[y0:y1, x0:x1].astype(int).ravel().tolist()
    return [*inside, x0, y0, x1 - 1, y1 - 1]


def cvat_runs(mask: Mask) -> list[int]:
    """CVAT's masks: run lengths row by row inside the box, of zeros first, then its corners, the last included."""
    x0, y0, x1, y1 = mask_to_box(mask) or (0, 0, 1, 1)
    flat = mask[y0:y1, x0:x1].ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff([0, *edges.tolist(), flat.size]).tolist()
    return [*([0] if flat[0] else []), *runs, x0, y0, x1 - 1, y1 - 1]


def data_url(mask: Mask) -> str:
    """A PNG of black, and opaque where the mask is."""
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    pixels[mask] = (255, 255, 255, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def distinct(phrases: Sequence[str]) -> list[str]:
    """Phrases that say something, each once."""
    return list(dict.fromkeys(each.strip() for each in phrases if each.strip()))
