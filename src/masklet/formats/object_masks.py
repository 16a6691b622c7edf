"""The masks of a tracked video: a folder for each object, `003-dog`, with an image for each frame that it is seen on.

`objects.json` beside them says which object is which. An image is called as its frame; what is not 0 is the object.
"""

from dataclasses import dataclass
from pathlib import Path

from masklet.errors import InputError
from masklet.formats.records import inside, read_list

OBJECTS = "objects.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectFolder:
    """An entry of `objects.json`; label images with a palette have an `index` in place of the folder."""

    id: int
    name: str
    folder: str | None = None
    index: int | None = None


def has_object_folders(path: Path) -> bool:
    """Whether a folder holds masks of tracked objects, each in a folder of its own."""
    return (path / OBJECTS).is_file() and any(each.is_dir() for each in path.iterdir())


def read_object_folders(folder: Path) -> list[tuple[ObjectFolder, Path]]:
    """The objects, each with the folder of its masks. Raises: InputError naming the file, the object and the field."""
    found = []
    for place, each in enumerate(read_list(folder / OBJECTS, ObjectFolder, "object")):
        where = f"{folder / OBJECTS}: object {place}"
        if each.folder is None:
            raise InputError(f"{where}: folder: is missing")
        found.append((each, inside(folder, each.folder, where)))
    return found
