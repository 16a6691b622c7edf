"""The one table of image suffixes, and the readers of folders that use it; a new kind of image is added here."""

import glob
import re
from pathlib import Path

from masklet.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm"})
MOVING_SUFFIXES = frozenset({".gif", ".png", ".apng", ".webp"})  # images that may be videos, where one is expected


def is_image(path: Path) -> bool:
    """Whether the name is that of an image; hidden files are none."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder, in natural order of their names. Raises: InputError when it is not a folder."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    return sorted((path for path in folder.iterdir() if is_image(path)), key=natural_order)


def natural_order(path: Path) -> list[tuple[int, int, str]]:
    """Sorts frame2 before frame10."""
    parts = re.split(r"(\d+)", path.name)
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part.lower()) for part in parts]


def find_by_stem(folder: Path, stem: str) -> Path | None:
    """The image of this name with any suffix; of several, the first by name."""
    paths = sorted(folder.glob(f"{glob.escape(stem)}.*"))
    return next((path for path in paths if is_image(path) and path.stem == stem), None)
