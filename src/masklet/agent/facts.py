"""Facts about candidates, computed here, so that a language model need not guess them from a drawing."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from masklet.agent.drawings import shown_share
from masklet.agent.pool import Mark
from masklet.protocols import Pixels

SORTS = ("x", "y", "area", "score")
MOST_ROWS = 40
INSIDE = 0.8  # of the smaller mask
TOUCHING = 0.02
# Names by hue in degrees; below these saturations and values a colour is grey, white or black
HUES = ((15, "red"), (45, "orange"), (70, "yellow"), (170, "green"), (200, "cyan"), (260, "blue"), (320, "purple"))
GREY, DARK, BRIGHT = 0.18, 0.2, 0.8


def colour_name(pixels: UInt8[np.ndarray, "pixel 3"]) -> str:
    """The usual name of the mean colour."""
    red, green, blue = (float(value) / 255 for value in pixels.mean(axis=0))
    high, low = max(red, green, blue), min(red, green, blue)
    if high < DARK:
        return "black"
    if (high - low) / high < GREY:
        return "white" if high > BRIGHT else "grey"
    spread = high - low
    if high == red:
        hue = 60 * ((green - blue) / spread % 6)
    elif high == green:
        hue = 60 * ((blue - red) / spread + 2)
    else:
        hue = 60 * ((red - green) / spread + 4)
    name = next((name for limit, name in HUES if hue < limit), "red")
    return "brown" if name == "orange" and high < 0.6 else "pink" if name == "purple" and high > 0.85 else name


def table(marks: Sequence[Mark], image: Pixels, sort: str = "score") -> str:
    """A row a candidate: what, where, how large, which colour, its ranks, and which others it lies in or touches."""
    height, width = image.shape[:2]
    centres = {mark.id: ((mark.box[0] + mark.box[2]) / 2, (mark.box[1] + mark.box[3]) / 2) for mark in marks}
    areas = {mark.id: int(mark.mask.sum()) for mark in marks}
    ranks = {
        "left": _ranks({key: centre[0] for key, centre in centres.items()}),
        "top": _ranks({key: centre[1] for key, centre in centres.items()}),
        "size": _ranks({key: -float(area) for key, area in areas.items()}),
    }
    keys = {
        "x": lambda mark: centres[mark.id][0],
        "y": lambda mark: centres[mark.id][1],
        "area": lambda mark: -areas[mark.id],
        "score": lambda mark: -mark.score,
    }
    lines = [
        f"{len(marks)} candidates in an image of {width} x {height}; boxes 0-1000 as drawn",
        "id | phrase | score | box x0 y0 x1 y1 | area % | colour | from left | from top | by size | others",
    ]
    for mark in sorted(marks, key=keys[sort])[:MOST_ROWS]:
        sides = zip(mark.box, (width, height) * 2, shown_share(image) * 2, strict=True)
        box = [round(1000 * share * value / side) for value, side, share in sides]
        row = (
            mark.id,
            "/".join(mark.phrases),
            f"{mark.score:.2f}",
            " ".join(map(str, box)),
            f"{100 * areas[mark.id] / (width * height):.1f}",
            colour_name(image[mark.mask]) if areas[mark.id] else "none",
            *(str(ranks[order][mark.id]) for order in ("left", "top", "size")),
            _others(mark, marks, areas),
        )
        lines.append(" | ".join(row))
    if len(marks) > MOST_ROWS:
        lines.append(f"and {len(marks) - MOST_ROWS} more; name masks to see them")
    return "\n".join(lines)


def _ranks(values: dict[str, float]) -> dict[str, int]:
    return {key: place + 1 for place, key in enumerate(sorted(values, key=lambda key: (values[key], key)))}


def _others(mark: Mark, marks: Sequence[Mark], areas: dict[str, int]) -> str:
    said: list[str] = []
    for other in marks:
        if other.id == mark.id or not (shared := int((mark.mask & other.mask).sum())):
            continue
        if shared >= INSIDE * areas[mark.id] and areas[mark.id] < areas[other.id]:
            said.append(f"in {other.id}")
        elif shared >= INSIDE * areas[other.id]:
            said.append(f"holds {other.id}")
        elif shared >= TOUCHING * min(areas[mark.id], areas[other.id]):
            said.append(f"overlaps {other.id}")
    return ", ".join(said[:6]) or "-"
