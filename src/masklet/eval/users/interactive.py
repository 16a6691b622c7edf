"""A simulated user who clicks on objects of images where the predicted mask is most wrong.

The first click is on the centre of the object, each next one in the middle of the largest error: positive where the
object was missed, negative outside it. The predicted mask is handed back with the clicks so far.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from masklet.data.schema import Example
from masklet.eval.predict.labelled import LabelledImages
from masklet.eval.videos.vos import region_similarity
from masklet.ops.masks import deepest_point
from masklet.protocols import ImageSegmenter, Segmenter

OBJECTS_PER_IMAGE = 5
TARGETS = (0.85, 0.9)  # IoU that counts as done
SIZES = {"small": 32**2, "medium": 96**2, "large": np.inf}  # COCO's, upper ends in pixels


@dataclass(frozen=True)
class Click:
    """The centre of a pixel; label 1 is on the object, 0 off it."""

    x: float
    y: float
    label: int


def next_click(truth: Bool[np.ndarray, "height width"], predicted: Bool[np.ndarray, "height width"]) -> Click | None:
    """A click on the deepest pixel of a missed or a surplus region; None where there is no error.

    Depth is the distance to the nearest pixel outside the region; pixels beyond the border of the image are outside.

    Source: SAM and SAM 2 papers, simulation of interactive use.
    """
    missed, surplus = deepest_point(truth & ~predicted), deepest_point(predicted & ~truth)
    depth, x, y = max(missed, surplus, key=lambda each: each[0])
    return Click(x, y, int(missed[0] >= surplus[0])) if depth > 0 else None


@dataclass(frozen=True, kw_only=True)
class ClickedObject:
    """IoU of one object after each click."""

    image: str
    area: int
    iou: Float[np.ndarray, " click"]


def click_images(
    labelled: LabelledImages,
    clicker: Segmenter,
    *,
    num_clicks: int = 10,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> Iterator[ClickedObject]:
    """Clicks on up to `OBJECTS_PER_IMAGE` random objects with masks of each image.

    `advance` is called after each image. Raises: InputError naming the image that cannot be read.
    """
    for index in range(len(labelled)):
        example = labelled.example(index)
        chosen = draw_objects(example, np.random.default_rng([seed, index]))
        if chosen:
            with closing(clicker.open(labelled.path(index))) as session:
                for row in chosen:
                    truth = example.masks[row]
                    iou = click_object(session, truth, num_clicks)
                    yield ClickedObject(image=labelled.name(index), area=int(truth.sum()), iou=iou)
        advance()


def draw_objects(example: Example, rng: np.random.Generator) -> list[int]:
    """Random objects to click on, all of them labelled by masks."""
    every = np.flatnonzero(example.mask_valid)
    return sorted(rng.permutation(every)[:OBJECTS_PER_IMAGE].tolist())


def click_object(
    session: ImageSegmenter, truth: Bool[np.ndarray, "height width"], num_clicks: int
) -> Float[np.ndarray, " click"]:
    """IoU of one object after each click; a perfect mask is not clicked on."""
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    predicted, mask, scores = np.zeros_like(truth), None, []
    while len(scores) < num_clicks:
        click = next_click(truth, predicted)
        if click is None:
            scores += [1.0] * (num_clicks - len(scores))
            break
        points.append((click.x, click.y))
        labels.append(click.label)
        result = session.click(points, labels, mask=mask)
        predicted, mask = result.masks[0], result.logits[0]
        scores.append(region_similarity(truth, predicted))
    return np.array(scores)


def image_figures(objects: Sequence[ClickedObject], num_clicks: int) -> dict[str, Any]:
    """Mean IoU after each click, of all objects and by size, and the clicks to reach each of `TARGETS`.

    `reached` is the share of objects that reached the target within so many clicks, `clicks` their mean number (NoC),
    where an object that never did counts `num_clicks`.
    """
    iou = np.array([each.iou for each in objects], np.float64).reshape(-1, num_clicks)
    areas = np.array([each.area for each in objects], np.int64)
    ends = list(SIZES.values())
    by_size = dict(zip(SIZES, [np.searchsorted(ends[:-1], areas, side="right") == k for k in range(3)], strict=True))
    targets = {}
    for target in TARGETS:
        there = np.maximum.accumulate(iou, axis=1) >= target
        clicks = np.where(there.any(axis=1), there.argmax(axis=1) + 1, num_clicks)
        mean_clicks = float(clicks.mean()) if len(iou) else None
        targets[f"{target:g}"] = {"reached": _mean(there.astype(np.float64)), "clicks": mean_clicks}
    return {
        "objects": len(objects),
        "mean_IoU": _mean(iou),
        "by_size": {name: {"objects": int(of.sum()), "mean_IoU": _mean(iou[of])} for name, of in by_size.items()},
        "targets": targets,
    }


def _mean(iou: Float[np.ndarray, "object click"]) -> list[float | None]:
    return iou.mean(axis=0).tolist() if len(iou) else [None] * iou.shape[1]
