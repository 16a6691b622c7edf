"""Labelled images of a file, in an order that does not depend on how the file is sorted."""

from pathlib import Path

import numpy as np

from masklet.data.labels.layouts import LAYOUTS, LabelFiles, recognise
from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import CocoConfig
from masklet.formats.records import inside

NEGATIVES = 4  # phrases asked of an image that does not show them, where the file says which those are


class LabelledImages:
    """The images of labels of any layout whose records name their images, such as COCO, shuffled by `seed`.

    Each category is asked by its name. Raises: InputError when the labels have no known layout, or no image.
    """

    def __init__(self, annotations: Path, images: Path, *, seed: int = 0, limit: int | None = None) -> None:
        self.annotations, self.images, self.seed = annotations, images, seed
        config = CocoConfig(split="all", synonym_probability=0.0, max_negatives=NEGATIVES)
        self._source = LAYOUTS[recognise(annotations)].open(LabelFiles(labels=annotations, images=images), config)
        self._order = np.random.default_rng(seed).permutation(len(self._source))[:limit].tolist()

    def __len__(self) -> int:
        return len(self._order)

    def name(self, index: int) -> str:
        """The name of an image, a path inside the folder of images."""
        return self._source.name(self._order[index])

    def path(self, index: int) -> Path:
        """Its file, which need not be there. Raises: InputError when the name leads out of the folder."""
        return inside(self.images, self.name(index), str(self.annotations))

    def example(self, index: int) -> Example:
        """The image with its labels. Raises: InputError naming what is broken."""
        place = self._order[index]
        return self._source.example(place, np.random.default_rng([self.seed, place]))

    def queries(self, example: Example) -> list[PhraseQuery]:
        """The phrases of which every instance is labelled, each once."""
        return list({query.phrase: query for query in example.queries if query.exhaustive}.values())
