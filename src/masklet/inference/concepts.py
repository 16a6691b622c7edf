"""What a user asks for: phrases and example boxes in pixels, checked before anything is computed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from masklet.errors import InputError
from masklet.ops.boxes import xyxy_to_cxcywh
from masklet.tokenizer import Tokenizer
from masklet.types import VISUAL, Exemplars

Number = float | int
Box = Sequence[Number]  # x0, y0, x1, y1
Phrases = str | Sequence[str] | None


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A phrase, example boxes in pixels, or both. Label 1 is "like this", 0 is "not like this"."""

    phrase: str
    boxes: tuple[Box, ...] = ()
    labels: tuple[int, ...] = ()


def read_concepts(
    phrases: Phrases,
    boxes: Sequence[Box],
    not_boxes: Sequence[Box],
    size: tuple[int, int],
    tokenizer: Tokenizer,
) -> list[Concept]:
    """The concepts that phrases and example boxes on an image of `size` (height, width) describe, each phrase once.

    Raises: InputError when there is nothing to look for, or a phrase or a box cannot be used.
    """
    for box in (*boxes, *not_boxes):
        check_box(box, size)
    examples, labels = (*boxes, *not_boxes), (1,) * len(boxes) + (0,) * len(not_boxes)
    if phrases is None or (not isinstance(phrases, str) and not phrases):
        if not boxes:
            raise InputError("nothing to look for: give a phrase, or at least one example box")
        return [Concept(phrase=VISUAL, boxes=examples, labels=labels)]
    words = [phrases] if isinstance(phrases, str) else list(dict.fromkeys(phrases))
    if labels and len(words) > 1:
        raise InputError("example boxes belong to one concept: give one phrase with them, or none")
    return [Concept(phrase=check_phrase(phrase, tokenizer), boxes=examples, labels=labels) for phrase in words]


def check_phrase(phrase: str, tokenizer: Tokenizer) -> str:
    """The phrase, if it says something and fits into the text encoder. Raises: InputError."""
    if not phrase.strip():
        raise InputError("the phrase is empty: say what to look for, such as 'coin'")
    length = len(tokenizer.ids(phrase))
    if length > tokenizer.context:
        raise InputError(f"the phrase is too long ({length} tokens, at most {tokenizer.context}): '{phrase[:40]}...'")
    return phrase


def check_box(box: Box, size: tuple[int, int]) -> None:
    """Raises InputError unless the box has an area and lies inside an image of `size` (height, width)."""
    height, width = size
    if len(box) != 4 or not all(math.isfinite(value) for value in box):
        raise InputError(f"box {tuple(box)} is not four finite numbers x0, y0, x1, y1")
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"box {tuple(box)} is inverted or empty: x0 < x1 and y0 < y1 are needed")
    if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
        raise InputError(f"box {tuple(box)} is not inside the {width} x {height} image")


def pack_exemplars(concepts: Sequence[Concept], size: tuple[int, int]) -> Exemplars:
    """Example boxes of all concepts as fractions of an image of `size`, padded to the longest row."""
    height, width = size
    longest = max(len(concept.boxes) for concept in concepts)
    count = len(concepts)
    boxes = torch.full((count, longest, 4), 0.5)
    labels = torch.zeros(count, longest, dtype=torch.long)
    valid = torch.zeros(count, longest, dtype=torch.bool)
    for row, concept in enumerate(concepts):
        if concept.boxes:
            pixels = torch.tensor(concept.boxes, dtype=torch.float32)
            boxes[row, : len(pixels)] = xyxy_to_cxcywh(pixels / torch.tensor([width, height, width, height]))
            labels[row, : len(pixels)] = torch.tensor(concept.labels)
            valid[row, : len(pixels)] = True
    return Exemplars(
        boxes_cxcywh=boxes,
        box_labels=labels,
        box_valid=valid,
        points_xy=torch.zeros(count, 0, 2),
        point_labels=torch.zeros(count, 0, dtype=torch.long),
        point_valid=torch.zeros(count, 0, dtype=torch.bool),
    )
