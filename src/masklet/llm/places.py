"""How a model writes places. Families differ in scale and order, so it is found out, never assumed.

A synthetic image is shown and a box asked for; of all readings the one that hits counts. Two images of different aspect
tell every pair of readings apart.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from masklet.llm.tolerant import values_in

Scale = Literal["pixels", "thousand", "hundred", "unit"]
SCALES: tuple[Scale, ...] = ("pixels", "thousand", "hundred", "unit")
KEYS = ("bbox_2d", "box_2d", "bbox", "box")
BEYOND = 0.02  # of the scale, that is clamped; beyond that a box is dropped
GROUNDS = 0.5  # IoU below which a model is taken not to know where things are
MOST_BOXES = 1000
REPEATS = 5  # identical boxes that tell a loop

Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How a model writes a box: its scale, and whether y comes first."""

    scale: Scale
    is_y_first: bool = False

    def box(self, numbers: Sequence[float | int], size: tuple[int, int]) -> Box | None:
        """xyxy as shares of the image (0 to 1), or None when it lies outside; `size` is height and width as sent."""
        height, width = size
        if self.is_y_first:
            numbers = [numbers[1], numbers[0], numbers[3], numbers[2]]
        units = {"pixels": (width, height), "thousand": (1000, 1000), "hundred": (100, 100), "unit": (1, 1)}
        across, down = units[self.scale]
        shares = [number / (down if place % 2 else across) for place, number in enumerate(numbers)]
        if not all(-BEYOND <= share <= 1 + BEYOND for share in shares):
            return None
        x0, y0, x1, y1 = (min(1.0, max(0.0, share)) for share in shares)
        box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        return box if box[2] > box[0] and box[3] > box[1] else None


def boxes_in(text: str) -> list[tuple[float, float, float, float]]:
    """Four numbers for each box that a reply holds, as written; loops of one box count once."""
    found: list[tuple[float, float, float, float]] = []
    for value in values_in(text):
        for numbers in _boxes(value):
            if found.count(numbers) < REPEATS and len(found) < MOST_BOXES:
                found.append(numbers)
    return list(dict.fromkeys(found))


def _boxes(value: Any, depth: int = 0) -> Iterator[tuple[float, float, float, float]]:
    if depth > 6:
        return
    if isinstance(value, list) and len(value) == 4 and (numbers := _numbers(value)) is not None:
        yield numbers
        return
    if isinstance(value, Mapping):
        named = [value[key] for key in KEYS if key in value]
        value = named or [each for each in value.values() if isinstance(each, (list, Mapping))]
    if isinstance(value, list):
        for each in value[:MOST_BOXES]:
            yield from _boxes(each, depth + 1)


def _numbers(value: list[Any]) -> tuple[float, float, float, float] | None:
    try:
        a, b, c, d = (float(each) for each in value)
    except (TypeError, ValueError):
        return None
    return a, b, c, d


def iou(one: Box, other: Box) -> float:
    """Intersection over union of two boxes."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    shared = width * height
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / max(sum(areas) - shared, 1e-9)


def best_convention(answers: Sequence[tuple[str, tuple[int, int], Box]]) -> tuple[Convention | None, float]:
    """The reading under which replies hit the boxes that were meant, and its mean IoU; None when none does.

    An answer is the reply, the size (height, width) of the image sent, and the box meant, in shares of the image.
    """
    best: tuple[Convention | None, float] = (None, 0.0)
    for scale in SCALES:
        for is_y_first in (False, True):
            convention = Convention(scale=scale, is_y_first=is_y_first)
            hits = [
                max(
                    (iou(box, meant) for each in boxes_in(text) if (box := convention.box(each, size)) is not None),
                    default=0.0,
                )
                for text, size, meant in answers
            ]
            mean = sum(hits) / max(len(hits), 1)
            if mean > best[1]:
                best = (convention, mean)
    return best if best[1] >= GROUNDS else (None, best[1])
