"""The DAVIS layout: a folder for each video, in it an image of object ids for each labelled frame, `bear/00012.png`.

0 is background, and so is 255, "void". The images are read by `media.images.read_numbers`.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image

from masklet.errors import InputError
from masklet.files import natural_order

VOID = 255
MAX_OBJECTS = 255  # ids that an image with a palette can hold


def list_videos(folder: Path) -> dict[str, list[Path]]:
    """The label images of each video, in the order of their frames.

    Raises: InputError when it is not a folder, or holds no folder with PNG files.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    videos = {
        path.name: sorted((p for p in path.glob("*.png") if not p.name.startswith(".")), key=natural_order)
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    }
    videos = {name: labels for name, labels in videos.items() if labels}
    if not videos:
        raise InputError(f"{folder} holds no folders of PNG files; one for each video is expected")
    return videos


def object_ids(numbers: Integer[np.ndarray, "height width"]) -> list[int]:
    """The ids on a label image, without background and void."""
    return [each for each in np.unique(numbers).tolist() if each not in (0, VOID)]


def palette() -> list[int]:
    """Red, green, blue of 256 indices as in the DAVIS datasets: 22 colours counted in bits, then greys."""
    colours = [[0, 0, 0] for _ in range(22)]
    for index, colour in enumerate(colours):
        for bit in range(6):
            colour[bit % 3] |= ((index >> bit) & 1) << (7 - bit // 3)
    colours += [[index] * 3 for index in range(22, 256)]
    return [191 if value == 192 else value for colour in colours for value in colour]


def label_image(ids: UInt8[np.ndarray, "height width"]) -> Image.Image:
    """An image of object ids with the palette, to be saved as PNG."""
    image = Image.fromarray(ids)
    image.putpalette(palette())
    return image
