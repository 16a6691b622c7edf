"""Large photos as tiles of a pyramid: made once beside the photo, so that a page fetches only what it shows.

Level 0 is the photo itself, each level after it has half the width and height, the last one fits into one tile.
"""

import math
import shutil
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from masklet.files import write_atomically
from masklet.serve.encoding import jpeg_bytes
from masklet.serve.problems import not_found

TILE = 512
QUALITY = 85
FOLDER = "tiles"


def num_levels(size: tuple[int, int]) -> int:
    """How many levels a photo of `size` (height, width) has."""
    return 1 + max(0, math.ceil(math.log2(max(size) / TILE)))


def tile_file(folder: Path, level: int, column: int, row: int) -> Path:
    """A tile of the pyramid in a session's folder. Raises: HttpProblem (404) when there is none."""
    path = folder / FOLDER / f"{level}-{column}-{row}.jpg"
    if not path.is_file():
        raise not_found("tile")
    return path


def make_tiles(folder: Path, pixels: UInt8[np.ndarray, "height width 3"]) -> None:
    """Writes all tiles of a photo below a session's folder; a pyramid that a crash cut short is made again."""
    if (folder / FOLDER).is_dir():
        return
    unfinished = folder / f"{FOLDER}-unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    array = pixels
    for level in range(num_levels((pixels.shape[0], pixels.shape[1]))):
        for top in range(0, array.shape[0], TILE):
            for left in range(0, array.shape[1], TILE):
                part = np.ascontiguousarray(array[top : top + TILE, left : left + TILE])
                name = f"{level}-{left // TILE}-{top // TILE}.jpg"
                write_atomically(unfinished / name, jpeg_bytes(part, QUALITY))
        array = np.asarray(Image.fromarray(array).reduce(2))
    unfinished.rename(folder / FOLDER)
