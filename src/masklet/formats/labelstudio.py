"""Tasks for Label Studio's JSON import, made for `<PolygonLabels name="label" toName="image">`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True, kw_only=True)
class LabelStudioRegion:
    """An outlined object; its points are fractions of the image."""

    id: str
    phrase: str
    points: Float[np.ndarray, "point 2"]
    score: float


def to_task(
    image_url: str, size: tuple[int, int], regions: Sequence[LabelStudioRegion], score: float
) -> dict[str, Any]:
    """A task with one prediction; `size` is height and width, `image_url` where the server finds the image."""
    results = [
        {
            "id": region.id,
            "type": "polygonlabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": size[1],
            "original_height": size[0],
            "image_rotation": 0,
            "score": region.score,
            "value": {
                "points": (region.points * 100).round(4).tolist(),
                "closed": True,
                "polygonlabels": [region.phrase],
            },
        }
        for region in regions
    ]
    prediction = {"model_version": "masklet", "score": score, "result": results}
    return {"data": {"image": image_url}, "predictions": [prediction]}
