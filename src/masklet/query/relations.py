"""How two instances lie to each other: probabilities from masks and boxes alone, each a pure function.

What depends on depth cannot be seen in one image: `in front of`, `behind` and the contact of `on` are guesses from
size, contact and height, and say so in explanations.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

SOFTNESS = 0.08  # of the longer side: distances that count half
CONTACT = 3  # pixels of a mask drawn at `SIDE` that may lie between things that touch
SIDE = 128
STEEP = 24  # of comparisons: a tenth more has probability 0.91
GUESSED = frozenset({"on", "in front of", "behind", "holding", "held by", "supporting", "wearing"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Extent:
    """An instance as relations see it: its box xyxy in [0, 1] of the longer side of the image, and a small mask."""

    box: Float32[np.ndarray, "4"]
    mask: Bool[np.ndarray, "rows columns"]
    area: float

    @property
    def centre(self) -> Float32[np.ndarray, "2"]:
        """Of the box."""
        return (self.box[:2] + self.box[2:]) / 2

    @property
    def width(self) -> float:
        """Of the box."""
        return float(self.box[2] - self.box[0])

    @property
    def height(self) -> float:
        """Of the box."""
        return float(self.box[3] - self.box[1])


def extent_of(mask: Bool[np.ndarray, "height width"], box: Float32[np.ndarray, "4"]) -> Extent:
    """The shape of a mask and its box in pixels."""
    height, width = mask.shape
    longest = max(height, width)
    step = max(1, longest // SIDE)
    small = mask[: height // step * step, : width // step * step]
    small = np.asarray(small.reshape(height // step, step, width // step, step).any(axis=(1, 3)))
    return Extent(box=(np.asarray(box) / longest).astype(np.float32), mask=small, area=float(mask.sum()) / longest**2)


def _more(difference: float) -> float:
    """From far less (0) over equal (a half) to far more (1)."""
    return float(1 / (1 + np.exp(-difference / (SOFTNESS / 2))))


def _overlap(low: float, high: float, other_low: float, other_high: float) -> float:
    """Shared length of two spans, as a share of the shorter."""
    shared = min(high, other_high) - max(low, other_low)
    return max(0.0, shared / max(1e-6, min(high - low, other_high - other_low)))


def left_of(a: Extent, b: Extent) -> float:
    """Centre and both sides further left."""
    apart = min(b.centre[0] - a.centre[0], b.box[0] - a.box[0] + SOFTNESS, b.box[2] - a.box[2] + SOFTNESS)
    return _more(float(apart))


def above(a: Extent, b: Extent) -> float:
    """Higher in the image, and not beside."""
    higher = _more(float(b.centre[1] - a.centre[1]))
    beside = _overlap(float(a.box[0]), float(a.box[2]), float(b.box[0]), float(b.box[2]))
    return higher * min(1.0, 0.3 + beside)


def gap(a: Extent, b: Extent) -> float:
    """Distance of the boxes, 0 where they overlap."""
    apart = np.maximum(0, np.maximum(a.box[:2] - b.box[2:], b.box[:2] - a.box[2:]))
    return float(np.hypot(*apart))


def inside(a: Extent, b: Extent) -> float:
    """How much of `a` lies within the outline of `b`, holes filled by its box's middle."""
    shared = float((a.mask & b.mask).sum()) / max(1, int(a.mask.sum()))
    boxes = _overlap(float(a.box[0]), float(a.box[2]), float(b.box[0]), float(b.box[2]))
    boxes *= _overlap(float(a.box[1]), float(a.box[3]), float(b.box[1]), float(b.box[3]))
    smaller = _more(float(np.sqrt(b.area) - np.sqrt(a.area)))
    return max(shared, 0.8 * boxes) * smaller


def touching(a: Extent, b: Extent) -> float:
    """Masks within a few pixels of each other."""
    if gap(a, b) > 3 * CONTACT / SIDE:
        return 0.0
    grown = a.mask
    for _ in range(CONTACT):
        padded = np.pad(grown, 1)
        grown = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:] | padded[1:-1, 1:-1]
    contact = int((grown & b.mask).sum())
    return float(min(1.0, contact / (0.05 * max(8.0, np.sqrt(min(a.mask.sum(), b.mask.sum()) + 1) * 4))))


def on(a: Extent, b: Extent) -> float:
    """In contact, with its foot within or at the top of the other."""
    foot = float(a.box[3])
    rests = _more(foot - float(b.box[1]) + SOFTNESS / 2) * _more(float(b.box[3]) - foot + SOFTNESS / 2)
    higher = _more(float(b.centre[1] - a.centre[1]) + SOFTNESS / 2)
    return max(touching(a, b), inside(a, b)) * rests * higher


def next_to(a: Extent, b: Extent) -> float:
    """Near, at about the same height, and not one within the other."""
    reach = 0.5 * float(np.sqrt(max(a.area, b.area))) + SOFTNESS
    near = float(np.exp(-((gap(a, b) / reach) ** 2)))
    level = _overlap(float(a.box[1]), float(a.box[3]), float(b.box[1]), float(b.box[3]))
    return near * min(1.0, 0.2 + level) * (1 - inside(a, b)) * (1 - inside(b, a))


def near(a: Extent, b: Extent) -> float:
    """Within about the size of the larger."""
    reach = float(np.sqrt(max(a.area, b.area))) + SOFTNESS
    return float(np.exp(-((gap(a, b) / reach) ** 2)))


def holding(a: Extent, b: Extent) -> float:
    """In contact with something smaller."""
    smaller = _more(float(np.sqrt(a.area) - np.sqrt(b.area)))
    return max(touching(a, b), inside(b, a)) * smaller


def wearing(a: Extent, b: Extent) -> float:
    """Something smaller within its own box."""
    return max(inside(b, a), 0.7 * holding(a, b) * min(1.0, 2 * inside(b, a) + 0.2))


def in_front_of(a: Extent, b: Extent) -> float:
    """Lower in the image and overlapping or near: nearer to the camera on level ground."""
    return _more(float(a.box[3] - b.box[3])) * max(near(a, b), touching(a, b))


def overlapping(a: Extent, b: Extent) -> float:
    """Boxes that share area."""
    across = _overlap(float(a.box[0]), float(a.box[2]), float(b.box[0]), float(b.box[2]))
    return min(1.0, 2 * across * _overlap(float(a.box[1]), float(a.box[3]), float(b.box[1]), float(b.box[3])))


def between(a: Extent, b: Extent, c: Extent) -> float:
    """On the way from the centre of one to that of the other, and nearer to it than to the outside."""
    way = c.centre - b.centre
    length = float(np.hypot(*way))
    if length < 1e-6:
        return 0.0
    along = float((a.centre - b.centre) @ way) / length**2
    aside = float(abs(way[0] * (a.centre - b.centre)[1] - way[1] * (a.centre - b.centre)[0])) / length
    within = _more(length * min(along, 1 - along))
    return within * float(np.exp(-((aside / (0.35 * length + SOFTNESS)) ** 2)))


def at_end(a: Extent, b: Extent, *, is_top: bool) -> float:
    """Within or in contact with the other, and in its upper or lower part."""
    share = (float(a.centre[1]) - float(b.box[1])) / max(b.height, 1e-6)
    towards = 0.5 - share if is_top else share - 0.5
    return max(touching(a, b), inside(a, b)) * _more(towards * b.height + SOFTNESS / 4)


def more_of(measure: Callable[[Extent], float]) -> "Relation":
    """Clearly more of a size than the other: a tenth more is likely, a tenth less is not."""

    def compared(a: Extent, b: Extent) -> float:
        return float(1 / (1 + (measure(b) / max(measure(a), 1e-9)) ** STEEP))

    return compared


def lies_at(side: str, a: Extent, size: tuple[int, ...]) -> float:
    """The probability to lie in a half, a quarter or the middle third of an image of (height, width)."""
    height, width = (float(each) / max(size[:2]) for each in size[:2])
    x, y = map(float, a.centre)
    inner = {
        "left": width / 2 - x,
        "right": x - width / 2,
        "top": height / 2 - y,
        "bottom": y - height / 2,
        "middle": min(width / 6 - abs(x - width / 2), height / 6 - abs(y - height / 2)),
    }
    return float(np.prod([_more(4 * inner[part]) for part in side.split()]))


Relation = Callable[[Extent, Extent], float]
RELATION: Mapping[str, Relation] = {
    "on": on,
    "in": inside,
    "under": lambda a, b: max(above(b, a), on(b, a)),
    "above": above,
    "below": lambda a, b: above(b, a),
    "left of": left_of,
    "right of": lambda a, b: left_of(b, a),
    "next to": next_to,
    "touching": touching,
    "holding": holding,
    "wearing": wearing,
    "with": lambda a, b: max(holding(a, b), inside(b, a), on(b, a), 0.9 * next_to(a, b)),
    "part of": inside,
    "in front of": in_front_of,
    "behind": lambda a, b: in_front_of(b, a),
    "near": near,
    "supporting": lambda a, b: on(b, a),
    "containing": lambda a, b: inside(b, a),
    "held by": lambda a, b: holding(b, a),
    "overlapping": overlapping,
    "at top of": lambda a, b: at_end(a, b, is_top=True),
    "at bottom of": lambda a, b: at_end(a, b, is_top=False),
    "larger than": more_of(lambda each: each.area**0.5),
    "smaller than": lambda a, b: more_of(lambda each: each.area**0.5)(b, a),
    "taller than": more_of(lambda each: each.height),
    "shorter than": lambda a, b: more_of(lambda each: each.height)(b, a),
    "wider than": more_of(lambda each: each.width),
    "narrower than": lambda a, b: more_of(lambda each: each.width)(b, a),
}
