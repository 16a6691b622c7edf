"""A simulated user who sees the answer, knows the truth, and clicks where the answer is most wrong; on images.

The first click is on the object's centre, each next one in the middle of the largest error: on the object where it was
missed, off it where something else was taken for it. What was answered is handed back with the clicks so far.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from masklet.data.schema import Example
from masklet.eval.predict.labelled import LabelledImages
from masklet.eval.videos.vos import region_similarity
from masklet.ops.masks import mask_to_box

OBJECTS_PER_IMAGE = 5
TARGETS = (0.85, 0.9)  # IoU that a user may want
SIZES = {"small": 32**2, "medium": 96**2, "large": np.inf}  # COCO's, upper ends in pixels


@dataclass(frozen=True)
class Click:
    """The centre of a pixel; label 1 is on the object, 0 off it."""

    x: float
    y: float
    label: int


def next_click(truth: Bool[np.ndarray, "height width"], predicted: Bool[np.ndarray, "height width"]) -> Click | None:
    """A click on the pixel deepest inside what was missed or what is surplus; None where nothing is wrong.

    Depth is the distance to the nearest pixel that is no such error, beyond the border of the image included.

    Source: SAM and SAM 2 papers, simulation of interactive use.
    """
    missed, surplus = _deepest(truth & ~predicted), _deepest(predicted & ~truth)
    depth, x, y = max(missed, surplus, key=lambda each: each[0])
    return Click(x, y, int(missed[0] >= surplus[0])) if depth > 0 else None


def _deepest(region: Bool[np.ndarray, "height width"]) -> tuple[float, float, float]:
    """Depth and place of the pixel farthest from the outside of a region; depth 0 where it is empty."""
    from scipy import ndimage

    box = mask_to_box(region)
    if box is None:
        return 0.0, 0.0, 0.0
    left, top, right, bottom = box
    depth = np.asarray(ndimage.distance_transform_edt(np.pad(region[top:bottom, left:right], 1)))[1:-1, 1:-1]
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return float(depth[row, column]), left + float(column) + 0.5, top + float(row) + 0.5


@runtime_checkable
class ClickAnswer(Protocol):
    """Masks of one object, the best first."""

    @property
    def masks(self) -> Bool[np.ndarray, "mask height width"]:
        """At the size of the image."""
        ...

    @property
    def logits(self) -> Any:
        """The same, to be handed back one by one."""
        ...


@runtime_checkable
class ClickSession(Protocol):
    """One image, encoded. See `masklet.ImageSession`."""

    def click(self, points: Sequence[tuple[float, float]], labels: Sequence[int], *, mask: Any) -> ClickAnswer:
        """The object that the points (x, y in pixels) say, starting from the mask of an earlier answer."""
        ...

    def close(self) -> None:
        """Lets the image go."""
        ...


@runtime_checkable
class Clicker(Protocol):
    """What is clicked on; `masklet.Model` is one."""

    def open(self, image: Path) -> ClickSession:
        """Encodes an image."""
        ...


@dataclass(frozen=True, kw_only=True)
class ClickedObject:
    """IoU of one object after each click."""

    image: str
    area: int
    iou: Float[np.ndarray, " click"]


def click_images(
    labelled: LabelledImages,
    clicker: Clicker,
    *,
    num_clicks: int = 10,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> Iterator[ClickedObject]:
    """Clicks on up to `OBJECTS_PER_IMAGE` objects of each image, drawn by chance of those that have masks.

    `advance` is called after each image. Raises: InputError naming the image that cannot be read.
    """
    for index in range(len(labelled)):
        example = labelled.example(index)
        chosen = draw_objects(example, np.random.default_rng([seed, index]))
        if chosen:
            session = clicker.open(labelled.path(index))
            try:
                for row in chosen:
                    truth = example.masks[row]
                    iou = click_object(session, truth, num_clicks)
                    yield ClickedObject(image=labelled.name(index), area=int(truth.sum()), iou=iou)
            finally:
                session.close()
        advance()


def draw_objects(example: Example, rng: np.random.Generator) -> list[int]:
    """Objects to click on, none of them labelled by a box alone."""
    every = np.flatnonzero(example.mask_valid)
    return sorted(rng.permutation(every)[:OBJECTS_PER_IMAGE].tolist())


def click_object(
    session: ClickSession, truth: Bool[np.ndarray, "height width"], num_clicks: int
) -> Float[np.ndarray, " click"]:
    """IoU of one object after each click. After a perfect answer nobody clicks."""
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
        answer = session.click(points, labels, mask=mask)
        predicted, mask = answer.masks[0], answer.logits[0]
        scores.append(region_similarity(truth, predicted))
    return np.array(scores)


def image_figures(objects: Sequence[ClickedObject], num_clicks: int) -> dict[str, Any]:
    """Mean IoU after each click, of all objects and by their size, and how soon objects reach each of `TARGETS`.

    `reached` is the share of objects that reached the target within so many clicks, `clicks` the mean number it took
    them, where one that never did counts `num_clicks` (NoC).
    """
    iou = np.array([each.iou for each in objects], np.float64).reshape(-1, num_clicks)
    areas = np.array([each.area for each in objects], np.int64)
    ends = list(SIZES.values())
    by_size = dict(zip(SIZES, [np.searchsorted(ends[:-1], areas, side="right") == k for k in range(3)], strict=True))
    return {
        "objects": len(objects),
        "mean_IoU": _mean(iou),
        "by_size": {name: {"objects": int(of.sum()), "mean_IoU": _mean(iou[of])} for name, of in by_size.items()},
        "targets": {f"{target:g}": _reached(iou, target) for target in TARGETS},
    }


def _mean(iou: Float[np.ndarray, "object click"]) -> list[float | None]:
    """Over objects; None where there are none."""
    return iou.mean(axis=0).tolist() if len(iou) else [None] * iou.shape[1]


def _reached(iou: Float[np.ndarray, "object click"], target: float) -> dict[str, Any]:
    there = np.maximum.accumulate(iou, axis=1) >= target
    clicks = np.where(there.any(axis=1), there.argmax(axis=1) + 1, iou.shape[1])
    return {"reached": _mean(there.astype(np.float64)), "clicks": float(clicks.mean()) if len(iou) else None}
