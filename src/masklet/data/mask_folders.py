"""Labels as plain pictures: images/NAME.jpg, and masks/PHRASE/NAME.png for each phrase that the picture answers.

The folder of a mask is the phrase, in words as one would say it. A pixel's value is the number of the instance that it
shows, 0 is none; a mask of 0 and 255 is one instance. A picture without a mask for a phrase does not show it, if the
labels are complete; a mask without a pixel says so in any case. Instances of one phrase cannot overlap.
"""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool
from PIL import Image

from masklet.data.reading import UNREADABLE, list_pictures, read_image
from masklet.data.schema import Example
from masklet.data.sources import QueryConfig, ask, kept_names
from masklet.errors import InputError
from masklet.ops.masks import mask_to_box

MAX_INSTANCES = 1000  # of a phrase in a picture
_WHITE, _MANY_GREYS = 255, 16  # a mask with white and many greys was smoothed


@dataclass(frozen=True)
class _Mask:
    """Where instances of a phrase are."""

    phrase: str
    path: Path


class MaskFolderSource:
    """Pictures of a folder that holds images/ and masks/.

    Raises: InputError naming the file that cannot be used.
    """

    def __init__(self, folder: Path, config: QueryConfig) -> None:
        self.config, self.source = config, folder.name
        pictures = {path.stem: path for path in list_pictures(folder / "images")}
        if len(pictures) < len(list_pictures(folder / "images")):
            raise InputError(f"{folder / 'images'}: two pictures differ in their ending alone, so masks fit both")
        self.masks: dict[str, list[_Mask]] = defaultdict(list)
        for mask in _find_masks(folder / "masks"):
            if mask.path.stem not in pictures:
                raise InputError(f"{mask.path}: no picture is called {mask.path.stem} in {folder / 'images'}")
            self.masks[mask.path.stem].append(mask)
        self.phrases = frozenset(mask.phrase for masks in self.masks.values() for mask in masks)
        kept = kept_names((path.name for path in pictures.values()), config.split, config.limit, str(folder))
        self.pictures = [folder / "images" / name for name in kept]

    def __len__(self) -> int:
        return len(self.pictures)

    def name(self, index: int) -> str:
        """The file name of picture `index`."""
        return self.pictures[index].name

    def sample(self, rng: np.random.Generator) -> Example:
        """A random picture with its phrases and some it does not show."""
        return self.example(int(rng.integers(len(self.pictures))), rng)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Picture `index`; `rng` draws the phrases that are asked in vain."""
        image = read_image(self.pictures[index], "the picture")
        instances: list[np.ndarray] = []
        answers: dict[str, list[int]] = {}
        absent = set(self.phrases) if self.config.complete else set()
        for mask in self.masks[self.pictures[index].stem]:
            found = read_instances(mask.path, (image.shape[0], image.shape[1]))
            absent.discard(mask.phrase)
            if len(found):
                answers[mask.phrase] = list(range(len(instances), len(instances) + len(found)))
                instances += list(found)
            else:
                absent.add(mask.phrase)
        boxes = [mask_to_box(mask) for mask in instances]
        return Example(
            image=image,
            boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            masks=np.array(instances, bool).reshape(-1, *image.shape[:2]),
            mask_valid=np.ones(len(instances), bool),
            queries=ask(answers, absent, self.config, rng),
            source=self.source,
            absent=frozenset(absent),
        )


def read_instances(path: Path, size: tuple[int, int]) -> Bool[np.ndarray, "instance height width"]:
    """The instances of a mask, in the order of their numbers; `size` is that of the picture, height and width.

    Raises: InputError naming the file when it is no mask, or of another size.
    """
    numbers = read_numbers(path, size)
    values = np.unique(numbers)
    values = values[values > 0]
    if len(values) > _MANY_GREYS and values[-1] == _WHITE:
        raise InputError(f"{path}: {len(values)} shades with white among them: a mask must not be smoothed")
    if len(values) > MAX_INSTANCES:
        raise InputError(f"{path}: {len(values)} different values are no numbers of instances")
    return numbers[None] == values[:, None, None]


def read_numbers(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    """Pixel values `[height, width]` of a picture of whole numbers, such as indices into a palette.

    Raises: InputError naming the file when it is not such a picture, or not of that size (height, width).
    """
    try:
        with Image.open(path) as picture:
            mode, numbers = picture.mode, np.array(picture)
    except UNREADABLE as error:
        raise InputError(f"{path}: the mask cannot be read: {error}") from error
    if mode not in ("1", "L", "P", "I", "I;16"):
        raise InputError(f"{path}: a mask has one number for each pixel, this file has colours ({mode})")
    if size is not None and numbers.shape != size:
        found = f"{numbers.shape[1]} x {numbers.shape[0]}"
        raise InputError(f"{path}: the mask has {found} pixels, its picture {size[1]} x {size[0]}")
    return numbers


def _find_masks(folder: Path) -> list[_Mask]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; masks are expected at masks/PHRASE/NAME.png")
    phrases = sorted(path for path in folder.iterdir() if path.is_dir())
    masks = [_Mask(path.name, mask) for path in phrases for mask in sorted(path.glob("*.png"))]
    if not masks:
        raise InputError(f"{folder}: no mask at PHRASE/NAME.png")
    return masks
