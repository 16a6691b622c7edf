"""How an answer came about, as a drawing: what answers in colour, what was left out in grey with why, what helped thin.

The names are those of `Answer.explain()`.
"""

import numpy as np
from PIL import Image

from masklet.inference.output.overlays import MAX_ENLARGEMENT, READABLE_SIDE
from masklet.query.answer import Answer, Candidate
from masklet.render.legends import LegendEntry, with_legend
from masklet.render.marks import outline_width, paint_mask, unit_of
from masklet.render.palettes import Colour, object_colour
from masklet.render.tags import TagRequest, draw_tag, load_font, place_tags

LEFT_OUT: Colour = (128, 128, 128)
HELPED: Colour = (245, 245, 245)
MOST_TOLD = 12  # in the legend: what answers first, then what was left out
FAINT = 0.25  # of a candidate's score: below half of even odds nothing is drawn


def draw_explanation(answer: Answer) -> Image.Image:
    """The image with all that was found for a question, each with its part in the answer."""
    height, width = answer.image.shape[:2]
    scale = min(MAX_ENLARGEMENT, max(1, round(READABLE_SIDE / max(height, width))))
    canvas = Image.fromarray(answer.image).resize((width * scale, height * scale), Image.Resampling.LANCZOS)
    unit = unit_of(*canvas.size)
    why = {number: reason for step in answer.steps for number, reason in step.left_out.items()}
    scores = {each.number: each.score for each in answer.instances}
    requests: list[TagRequest] = []
    legend: list[LegendEntry] = []
    for each in sorted(answer.found, key=lambda each: (each.number in scores, each.number in why, -each.shape.area)):
        name = f"{each.phrase} {each.number + 1}"
        if each.number in scores:
            colour, told = object_colour(each.number), f"{name} {scores[each.number]:.2f}"
        elif each.number in why:
            colour, told = LEFT_OUT, f"{name}: {why[each.number]}"
        elif each.score >= FAINT:
            colour, told = HELPED, f"{name} {each.score:.2f}"
        else:
            continue
        _paint(canvas, answer, each, colour, outline_width(unit))
        x0, y0, x1, y1 = (float(value) * scale for value in each.box)
        legend += [LegendEntry(told, colour)] if colour != HELPED else []
        requests.append(TagRequest((told, name, f"{each.number + 1}"), (x0, y0, x1, y1), colour))
    font = load_font(max(10.0, 17 * unit))
    for tag in place_tags(requests[::-1], font, canvas.size):
        draw_tag(canvas, tag, font)
    return with_legend(canvas, legend[::-1][:MOST_TOLD], load_font(max(11.0, 20 * unit)))


def _paint(canvas: Image.Image, answer: Answer, each: Candidate, colour: Colour, thickness: int) -> None:
    """A candidate as it answers, which may be cut, else as it was found."""
    own = next((other for other in answer.instances if other.number == each.number), each)
    large = Image.fromarray(own.mask).resize(canvas.size, Image.Resampling.NEAREST)
    paint_mask(canvas, np.asarray(large, bool), colour, thickness)
