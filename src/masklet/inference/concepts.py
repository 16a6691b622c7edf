"""What a user asks for: phrases and example boxes in pixels, checked before anything is computed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import ArrayLike
from torch import Tensor

from masklet.errors import InputError
from masklet.ops.boxes import xyxy_to_cxcywh
from masklet.phrases import phrase_key
from masklet.tokenizer import Tokenizer
from masklet.types import VISUAL, Exemplars

Number = float | int | np.number
Box = Sequence[Number] | np.ndarray | Tensor  # x0, y0, x1, y1
Boxes = Sequence[Box] | Box  # one box may be given flat
Points = Sequence[Box] | Box  # x, y of each; one point may be given flat
Labels = Sequence[int | np.integer] | np.ndarray | Tensor | int
Phrases = str | Sequence[str] | np.ndarray | None
Whole = int | np.integer | Tensor
LARGEST = 2**53  # of an id or the number of a frame: up to here JSON is exact everywhere


@dataclass(frozen=True, kw_only=True)
class Concept:
    """A phrase, example boxes in pixels, or both. Label 1 is "like this", 0 is "not like this"."""

    phrase: str
    boxes: tuple[tuple[float | int, ...], ...] = ()
    labels: tuple[int, ...] = ()


def read_concepts(
    phrases: object,
    boxes: object,
    not_boxes: object,
    size: tuple[int, int],
    tokenizer: Tokenizer,
) -> list[Concept]:
    """The concepts that phrases and example boxes on an image of `size` (height, width) describe, each phrase once.

    Raises: InputError when there is nothing to look for, or a phrase or a box cannot be used.
    """
    like, unlike = read_rows(boxes, 4, "box"), read_rows(not_boxes, 4, "box")
    for box in (*like, *unlike):
        check_box(box, size)
    examples, labels = (*like, *unlike), (1,) * len(like) + (0,) * len(unlike)
    words = read_phrases(phrases)
    if not words:
        if not like:
            raise InputError("nothing to look for: give a phrase, or at least one example box")
        return [Concept(phrase=VISUAL, boxes=examples, labels=labels)]
    if labels and len(words) > 1:
        raise InputError("example boxes belong to one concept: give one phrase with them, or none")
    return [Concept(phrase=check_phrase(phrase, tokenizer), boxes=examples, labels=labels) for phrase in words]


def read_phrases(phrases: object) -> list[str]:
    """The phrases of a text, a sequence or an array of texts; of those that say the same, the first.

    Raises: InputError for anything else.
    """
    plain = _plain(phrases)
    given: list[Any] = plain if isinstance(plain, list) else [] if plain is None else [plain]
    distinct: dict[str, str] = {}
    for each in given:
        if not isinstance(each, str):
            raise InputError(f"a phrase is a text, not {each!r}")
        distinct.setdefault(phrase_key(each), str(each))
    return list(distinct.values())


def check_phrase(phrase: str, tokenizer: Tokenizer) -> str:
    """The phrase, if it says something and fits into the text encoder. Raises: InputError."""
    if not phrase_key(phrase):
        raise InputError("the phrase is empty: say what to look for, such as 'coin'")
    length = len(tokenizer.ids(phrase))
    if length > tokenizer.context:
        raise InputError(f"the phrase is too long ({length} tokens, at most {tokenizer.context}): '{phrase[:40]}...'")
    return phrase


def read_rows(given: object, width: int, name: str) -> list[tuple[float | int, ...]]:
    """Boxes or points, `width` numbers each, from lists, tuples, arrays or tensors; one may be given flat.

    Raises: InputError, which calls them by `name`, for anything else.
    """
    rows = _plain(given)
    if rows is None:
        return []
    if not isinstance(rows, list):
        raise InputError(f"a {name} is {width} numbers {_COORDINATES[width]}, not {rows!r}")
    if rows and not any(isinstance(each, list) for each in rows):
        rows = [rows]
    for row in rows:
        numbers = row if isinstance(row, list) else [row]
        if len(numbers) != width or not all(isinstance(each, (int, float)) for each in numbers):
            shown = tuple(numbers) if isinstance(row, list) else row
            raise InputError(f"a {name} is {width} numbers {_COORDINATES[width]}, not {shown!r}")
    return [tuple(row) for row in rows]


def read_labels(given: object) -> list[int]:
    """Labels of points: 1 (on the object) or 0 (off it), one of them alone or many. Raises: InputError."""
    labels = _plain(given)
    labels = labels if isinstance(labels, list) else [] if labels is None else [labels]
    if any(isinstance(label, (list, str)) or label not in (0, 1) for label in labels):
        raise InputError("a point's label is 1 (on the object) or 0 (off it)")
    return [int(label) for label in labels]


def read_whole(given: object, name: str, least: int = 0) -> int:
    """A whole number, of Python, numpy or torch. Raises: InputError, which calls it by `name`, for anything else."""
    value = _plain(given)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= LARGEST:
        raise InputError(f"{name} is a whole number from {least} on, not {value!r}")
    return value


_COORDINATES = {4: "x0, y0, x1, y1", 2: "x, y"}


def _plain(value: object) -> Any:
    """Arrays, tensors and their scalars within lists as Python's own."""
    if isinstance(value, Tensor):
        return value.detach().cpu().tolist()
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return [_plain(each) for each in value]
    return value


def check_box(box: object, size: tuple[int, int]) -> tuple[float | int, ...]:
    """The box, if it has an area and lies inside an image of `size` (height, width).

    Where it reaches less than a pixel over an edge, as boxes that were scaled and rounded do, it is cut there.

    Raises: InputError.
    """
    height, width = size
    rows = read_rows(box, 4, "box")
    if len(rows) != 1:
        raise InputError(f"one box is expected here, not {len(rows)}")
    x0, y0, x1, y1 = corners = rows[0]
    if not all(math.isfinite(value) for value in corners):
        raise InputError(f"box {corners} is not four finite numbers x0, y0, x1, y1")
    if x1 <= x0 or y1 <= y0:
        raise InputError(f"box {corners} is inverted or empty: x0 < x1 and y0 < y1 are needed")
    if min(x0, y0) <= -1 or x1 >= width + 1 or y1 >= height + 1 or x0 >= width or y0 >= height or min(x1, y1) <= 0:
        raise InputError(f"box {corners} is not inside the {width} x {height} image")
    return max(0, x0), max(0, y0), min(width, x1), min(height, y1)


def read_mask(given: ArrayLike | Tensor, size: tuple[int, int]) -> Bool[np.ndarray, "height width"]:
    """A mask of bools, or of 0 and one other number such as 1 or 255.

    Raises: InputError when it has another size, or is no mask, such as logits or a map of several objects.
    """
    mask = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given)
    if mask.shape != size:
        raise InputError(f"the mask is {mask.shape}, the video {size} (height, width)")
    if mask.dtype.kind not in "biuf":
        raise InputError(f"a mask holds bools or numbers, not {mask.dtype}")
    values = mask[mask != 0]
    if len(values) and not (values[0] > 0 and (values == values[0]).all()):
        raise InputError("a mask holds bools, or 0 and one other number: cut logits first (logits > 0)")
    return mask != 0


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


def read_frame(frame: Whole | None) -> int | None:
    """The number of a frame, or None where there is none."""
    return None if frame is None else read_whole(frame, "the number of a frame")
