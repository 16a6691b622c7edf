"""Images beside folders of masks as examples."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from masklet.data.schema import Example
from masklet.data.sources import IndexedSource, QueryConfig, ask, kept_names
from masklet.errors import InputError
from masklet.formats.mask_folders import MaskFile, find_masks, split_instances
from masklet.media.images import read_image, read_numbers
from masklet.media.suffixes import list_images
from masklet.ops.masks import mask_to_box


class MaskFolderSource(IndexedSource):
    """Images of a folder that holds images/ and masks/.

    Raises: InputError naming the file that cannot be used.
    """

    def __init__(self, folder: Path, config: QueryConfig) -> None:
        self.config, self.source = config, folder.name
        files = list_images(folder / "images")
        images = {path.stem: path for path in files}
        if len(images) < len(files):
            raise InputError(f"{folder / 'images'}: two images differ in their ending alone, so masks fit both")
        self.strays: list[MaskFile] = []
        self.masks: dict[str, list[MaskFile]] = defaultdict(list)
        for mask in find_masks(folder / "masks"):
            (self.masks[mask.path.stem] if mask.path.stem in images else self.strays).append(mask)
        if not self.masks:
            raise InputError(
                f"{self.strays[0].path}: no image is called so in {folder / 'images'}, nor as another mask"
            )
        self.phrases = frozenset(mask.phrase for masks in self.masks.values() for mask in masks)
        kept = kept_names((path.name for path in images.values()), config.split, config.limit, str(folder))
        self.images = [folder / "images" / name for name in kept]

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        """The file name of image `index`."""
        return self.images[index].name

    def remarks(self) -> Iterator[tuple[str, str]]:
        """Masks of no image, and images without a mask."""
        yield from (("stray", f"{each.phrase}/{each.path.name}") for each in self.strays)
        if self.config.complete:
            yield from (("unlabelled", each.name) for each in self.images if each.stem not in self.masks)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Image `index`; `rng` draws the phrases that are asked in vain."""
        image = read_image(self.images[index])
        instances: list[np.ndarray] = []
        objects: dict[str, list[int]] = {}
        absent = set(self.phrases) if self.config.complete else set()
        for mask in self.masks.get(self.images[index].stem, ()):
            found = split_instances(read_numbers(mask.path), (image.shape[0], image.shape[1]), mask.path)
            if len(found):
                objects.setdefault(mask.phrase, []).extend(range(len(instances), len(instances) + len(found)))
                instances += list(found)
            else:
                absent.add(mask.phrase)
        absent -= objects.keys()
        boxes = [mask_to_box(mask) for mask in instances]
        return Example(
            image=image,
            boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            masks=np.array(instances, bool).reshape(-1, *image.shape[:2]),
            mask_valid=np.ones(len(instances), bool),
            queries=ask(objects, absent, self.config, rng),
            source=self.source,
            absent=frozenset(absent),
        )
