"""J&F of a masklet: overlap of regions (J) and agreement of outlines (F), frame by frame.

Source: Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation (DAVIS). Means run
over the frames passed in; DAVIS leaves out the first and the last one, which is up to the caller.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from masklet.ops.masks import mask_to_box

BOUNDARY_TOLERANCE = 0.008  # of the image's diagonal


@dataclass(frozen=True, kw_only=True)
class MaskletScore:
    """J and F of each frame of one object, in [0, 1]."""

    region: Float[np.ndarray, " frame"]
    boundary: Float[np.ndarray, " frame"]

    @property
    def j_and_f(self) -> float:
        """The mean of mean J and mean F."""
        return float(self.region.mean() + self.boundary.mean()) / 2


def score_masklet(
    truth: Bool[np.ndarray, "frame height width"], predicted: Bool[np.ndarray, "frame height width"]
) -> MaskletScore:
    """J and F of every frame; a frame with the object neither labelled nor predicted scores 1."""
    radius = boundary_radius(*truth.shape[1:])
    pairs = list(zip(truth, predicted, strict=True))
    return MaskletScore(
        region=np.array([region_similarity(*pair) for pair in pairs], np.float64),
        boundary=np.array([boundary_similarity(*pair, radius) for pair in pairs], np.float64),
    )


def mean_scores(scores: Sequence[MaskletScore]) -> dict[str, float]:
    """J, F and J&F averaged over objects, each of which counts once however long it is."""
    region = float(np.mean([score.region.mean() for score in scores]))
    boundary = float(np.mean([score.boundary.mean() for score in scores]))
    return {"J": region, "F": boundary, "J&F": (region + boundary) / 2}


def region_similarity(truth: Bool[np.ndarray, "height width"], predicted: Bool[np.ndarray, "height width"]) -> float:
    """Intersection over union; 1 when both are empty."""
    union = int((truth | predicted).sum())
    return float((truth & predicted).sum() / union) if union else 1.0


def boundary_radius(height: int, width: int) -> int:
    """The distance in pixels up to which outlines agree."""
    return int(np.ceil(BOUNDARY_TOLERANCE * np.hypot(height, width)))


def boundary_similarity(
    truth: Bool[np.ndarray, "height width"], predicted: Bool[np.ndarray, "height width"], radius: int
) -> float:
    """F1 of outline pixels, each of which is right when the other outline passes within `radius` pixels.

    An outline that is empty on one side only is fully precise and recalls nothing, or the reverse: 0 either way.
    """
    outline, found = _outline(truth), _outline(predicted)
    box = mask_to_box(outline | found)
    if box is None or not outline.any() or not found.any():
        return float(outline.any() == found.any())
    left, top, right, bottom = box
    window = slice(max(0, top - radius), bottom + radius), slice(max(0, left - radius), right + radius)
    outline, found = outline[window], found[window]
    precision = float(_near(outline, radius)[found].mean())
    recall = float(_near(found, radius)[outline].mean())
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _outline(mask: np.ndarray) -> np.ndarray:
    """Pixels that differ from the one to the right, below, or right below; none is beyond the image's edge."""
    below, right = np.zeros_like(mask), np.zeros_like(mask)
    below[:-1] = mask[1:] ^ mask[:-1]
    right[:, :-1] = mask[:, 1:] ^ mask[:, :-1]
    across = np.zeros_like(mask)
    across[:-1, :-1] = mask[1:, 1:] ^ mask[:-1, :-1]
    return below | right | across


def _near(pixels: np.ndarray, radius: int) -> np.ndarray:
    from scipy import ndimage

    return np.asarray(ndimage.distance_transform_edt(~pixels)) <= radius
