"""Overlays of results: instances in colour with a thin outline and a readable tag, and a line of counts.

Everything is measured in one unit, a fraction of the image's size, so a phone photo and a thumbnail look alike. Small
images are enlarged first, because a tag needs its pixels; outlines are drawn from the logits at that size. The frames
of a video keep their size and have no line of counts, since they must all be alike.
"""

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from masklet.errors import InputError
from masklet.ops.masks import mask_to_box
from masklet.protocols import ImageInstances, TrackedFrame
from masklet.render.legends import LegendEntry, with_legend
from masklet.render.marks import outline_width, paint_mask, unit_of
from masklet.render.palettes import family_colour, instance_colours, object_colour
from masklet.render.tags import TagRequest, draw_tag, load_font, place_tags

READABLE_SIDE = 1000  # shorter images are enlarged by a whole factor until the long side reaches this
MAX_ENLARGEMENT = 4


def image_overlay(result: ImageInstances, *, legend: bool = True, scale: int | None = None) -> Image.Image:
    """The image with its instances; `scale` enlarges by a whole factor, None chooses one that makes tags readable."""
    # Enlarge the image
    height, width = result.image.shape[:2]
    if scale is None:
        scale = min(MAX_ENLARGEMENT, max(1, round(READABLE_SIDE / max(height, width))))
    canvas = Image.fromarray(result.image)
    if scale > 1:
        canvas = canvas.resize((width * scale, height * scale), Image.Resampling.LANCZOS)
    unit = unit_of(*canvas.size)
    # Masks, large ones first, so that small ones in front of them stay visible
    queries = list(result.presence)
    colours = instance_colours([queries.index(phrase) for phrase in result.phrases], len(queries))
    for row in np.argsort(-result.small_areas, kind="stable").tolist():
        paint_mask(canvas, result.mask(row, size=(canvas.height, canvas.width)), colours[row], outline_width(unit))
    # Tags, the best detection first to choose its place
    font = load_font(max(10.0, 17 * unit))
    requests = []
    for row, (phrase, score) in enumerate(zip(result.phrases, result.scores, strict=True)):
        x0, y0, x1, y1 = (float(value) * scale for value in result.boxes[row])
        texts = (f"{phrase} {score:.2f}", f"{score:.2f}", f"#{row + 1}")
        requests.append(TagRequest(texts, (x0, y0, x1, y1), colours[row]))
    for tag in place_tags(requests, font, canvas.size):
        draw_tag(canvas, tag, font)
    if not legend:
        return canvas
    entries = [
        LegendEntry(f"{phrase} {count}", family_colour(family, len(queries)))
        if count
        else LegendEntry(f"{phrase}: {result.absence(phrase)}", None)
        for family, (phrase, count) in enumerate(result.counts().items())
    ]
    return with_legend(canvas, entries, load_font(max(11.0, 20 * unit)))


def frame_overlay(
    result: TrackedFrame, image: UInt8[np.ndarray, "height width 3"] | None = None
) -> UInt8[np.ndarray, "height width 3"]:
    """A copy of the frame with its objects, in colours that stay with their ids.

    Raises: InputError without an `image` where the result keeps none, or with one of another size.
    """
    image = result.image if image is None else image
    if image is None:
        raise InputError(f"the result of frame {result.index} holds no image: give plot() one")
    if image.shape[:2] != result.size:
        sizes = f"{image.shape[1]} x {image.shape[0]}, the frame {result.size[1]} x {result.size[0]}"
        raise InputError(f"the image is {sizes}")
    unit = unit_of(result.size[1], result.size[0])
    canvas = Image.fromarray(image)
    # Masks, large ones first
    boxes: dict[int, tuple[int, int, int, int]] = {}
    for row in np.argsort(-result.areas, kind="stable").tolist():
        mask = result.mask(row)
        box = mask_to_box(mask)
        if box is not None:
            boxes[row] = box
            paint_mask(canvas, mask, object_colour(int(result.ids[row])), outline_width(unit))
    # Tags; the objects of the highest score choose first
    font = load_font(max(10.0, 17 * unit))
    requests = []
    for row in sorted(boxes, key=lambda each: -result.object_scores[each]):
        object_id = int(result.ids[row])
        texts = (f"{result.phrases[row]} #{object_id}", f"#{object_id}")
        x0, y0, x1, y1 = map(float, boxes[row])
        requests.append(TagRequest(texts, (x0, y0, x1, y1), object_colour(object_id)))
    for tag in place_tags(requests, font, canvas.size):
        draw_tag(canvas, tag, font)
    return np.array(canvas)
