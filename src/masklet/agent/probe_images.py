"""Synthetic images for finding out what a model sees and how it writes places: three shapes off-centre each.

Their aspects differ, and neither side is a multiple of what servers round to, so that readings cannot be confused.
"""

import numpy as np
from PIL import Image, ImageDraw

from masklet.agent.drawings import png
from masklet.llm.messages import Picture
from masklet.llm.probe import Shown

GROUND = (236, 236, 230)
COLOURS = {"red": (214, 40, 40), "green": (40, 160, 70), "blue": (40, 80, 214)}
# Height and width; then name, kind of shape, colour and box in shares of the image, the one that is asked for first
LAYOUTS = (
    (
        (448, 672),
        (
            ("red square", "rectangle", "red", (0.6, 0.15, 0.85, 0.5)),
            ("blue circle", "ellipse", "blue", (0.08, 0.55, 0.24, 0.8)),
            ("green bar", "rectangle", "green", (0.1, 0.1, 0.4, 0.18)),
        ),
    ),
    (
        (896, 448),
        (
            ("blue circle", "ellipse", "blue", (0.1, 0.62, 0.55, 0.84)),
            ("red square", "rectangle", "red", (0.7, 0.08, 0.9, 0.17)),
            ("green bar", "rectangle", "green", (0.15, 0.3, 0.3, 0.5)),
        ),
    ),
)


def probe_images() -> list[Shown]:
    """One image for each layout; what is asked for is its first shape, the largest."""
    shown: list[Shown] = []
    for (height, width), shapes in LAYOUTS:
        canvas = Image.new("RGB", (width, height), GROUND)
        draw = ImageDraw.Draw(canvas)
        for _, kind, colour, box in shapes:
            corners = [value * side for value, side in zip(box, (width, height) * 2, strict=True)]
            getattr(draw, kind)(corners, fill=COLOURS[colour])
        name, _, colour, box = shapes[0]
        picture = Picture(data=png(np.asarray(canvas)))
        shown.append(Shown(picture=picture, size=(height, width), name=name, colour=colour, box=box))
    return shown
