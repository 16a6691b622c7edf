"""Images of Ultralytics labels as examples."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from masklet.data.schema import Example
from masklet.data.sources import IndexedSource, QueryConfig, ask, kept_names
from masklet.errors import InputError
from masklet.formats.yolo import label_file, read_labels, read_yolo
from masklet.media.images import read_image
from masklet.media.suffixes import IMAGE_SUFFIXES, is_hidden, is_image, walk
from masklet.ops.masks import polygons_to_mask


class YoloSource(IndexedSource):
    """Images of a part ("train", "val", "test") of a data.yaml; phrases are its class names.

    A part is a folder of images, a text file that lists them, or a list of these.

    Raises: InputError naming the file, the line and the field that cannot be used.
    """

    def __init__(self, data: Path, part: str, config: QueryConfig) -> None:
        self.data, self.config, self.source = read_yolo(data), config, data.parent.name or data.stem
        found = list(dict.fromkeys(self._images(part)))
        self.images = [
            Path(name) for name in kept_names(map(str, found), config.split, config.limit, f"{data}: {part}")
        ]
        self.labels = {image: label_file(self.data.root, image) for image in found}
        if not any(path.is_file() for path in self.labels.values()):
            raise InputError(f"{data}: {part}: none of {len(found)} images has a text file under labels/")

    def _images(self, part: str) -> Iterator[Path]:
        """Images of a part, relative to the root."""
        for place, where in self.data.places(part):
            if is_image(place):
                yield place.relative_to(self.data.root)
            elif place.is_dir():
                yield from (image.relative_to(self.data.root) for image in walk(place, IMAGE_SUFFIXES))
            else:
                raise InputError(f"{where}: {place} is not a folder of images, nor an image")

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        """The path of image `index`, below the root."""
        return str(self.images[index])

    def remarks(self) -> Iterator[tuple[str, str]]:
        """Text files of no image, and images without one."""
        owned, folders = set(self.labels.values()), {path.parent for path in self.labels.values()}
        for folder in sorted(folder for folder in folders if folder.is_dir()):
            for path in sorted(folder.iterdir()):
                is_label = path.suffix.lower() == ".txt" and not is_hidden(path) and path.name != "classes.txt"
                if is_label and path not in owned:
                    yield "stray", str(path.relative_to(self.data.root))
        if self.config.complete:
            yield from (("unlabelled", str(each)) for each in self.images if not self.labels[each].is_file())

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Image `index`; `rng` draws the classes that are asked in vain."""
        path = self.images[index]
        image = read_image(self.data.root / path)
        height, width = image.shape[:2]
        objects = read_labels(self.labels[path], self.data.names)
        boxes = np.zeros((len(objects), 4), np.float32)
        masks = np.zeros((len(objects), height, width), bool)
        found: dict[str, list[int]] = defaultdict(list)
        for row, each in enumerate(objects):
            points = each.points * [width, height]
            boxes[row] = *points.min(axis=0), *points.max(axis=0)
            if each.is_outline:
                masks[row] = polygons_to_mask([points], height, width)
            found[each.phrase].append(row)
        absent = frozenset(self.data.names.values()).difference(found) if self.config.complete else frozenset()
        return Example(
            image=image,
            boxes_xyxy=boxes,
            masks=masks,
            mask_valid=np.atleast_1d(masks.any(axis=(1, 2))),
            queries=ask(found, absent, self.config, rng),
            source=self.source,
            absent=absent,
        )
