"""Masks as plain images, images/NAME.jpg beside masks/PHRASE/NAME.png, and folders of masks as results.

The folder of a mask is the phrase, in words as one would say it. A pixel's value is the number of the instance that it
shows, 0 is none; a mask of 0 and 255 is one instance. An image without a mask for a phrase does not show it, if the
labels are complete; a mask without a pixel says so in any case. Instances of one phrase cannot overlap.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Integer

from masklet.errors import InputError
from masklet.phrases import phrase_key

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")  # which keep numbers as they are
MAX_INSTANCES = 1000  # of a phrase in an image
_WHITE, _MANY_GREYS = 255, 16  # a mask with white and many greys was smoothed


@dataclass(frozen=True)
class MaskFile:
    """The instances of a phrase in the image of the same name."""

    phrase: str
    path: Path


def find_masks(folder: Path) -> list[MaskFile]:
    """The masks below `folder`. Raises: InputError when there is none."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; masks are expected at masks/PHRASE/NAME.png")
    phrases = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    spelling: dict[str, str] = {}  # of names that differ in case, blanks or underscores alone
    masks = [
        MaskFile(spelling.setdefault(phrase_key(path.name), path.name), mask)
        for path in phrases
        for mask in sorted(path.iterdir())
        if mask.suffix.lower() in MASK_SUFFIXES and not mask.name.startswith(".")
    ]
    if not masks:
        raise InputError(f"{folder}: no mask at PHRASE/NAME.png")
    return masks


def split_instances(
    numbers: Integer[np.ndarray, "height width"], size: tuple[int, int], path: Path
) -> Bool[np.ndarray, "instance height width"]:
    """The instances on a mask image, in the order of their numbers; `size` is that of the labelled image.

    Raises: InputError naming the file at `path` when it is no mask, or of another size.
    """
    if numbers.shape != size:
        found = f"{numbers.shape[1]} x {numbers.shape[0]}"
        raise InputError(f"{path}: the mask has {found} pixels, its image {size[1]} x {size[0]}")
    values = np.unique(numbers)
    values = values[values > 0]
    if len(values) > _MANY_GREYS and values[-1] == _WHITE:
        raise InputError(f"{path}: {len(values)} shades with white among them: a mask must not be smoothed")
    if len(values) > MAX_INSTANCES:
        raise InputError(f"{path}: {len(values)} different values are no numbers of instances")
    return numbers[None] == values[:, None, None]


def result_name(number: int, phrase: str) -> str:
    """The name of the mask, or of the folder of masks, of one object: `003-dog`."""
    slug = re.sub(r"[^\w]+", "-", phrase).strip("-")[:60]
    return f"{number:03d}-{slug}"
