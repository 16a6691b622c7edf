"""Labelled images of a COCO or SA-Co file, in an order that does not depend on how the file is sorted."""

from pathlib import Path
from typing import Any

import numpy as np

from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import CocoConfig, CocoSource, SacoSource, read_json
from masklet.errors import InputError
from masklet.eval.predict import find_image

NEGATIVES = 4  # phrases asked of an image that does not show them, where the file says which those are


class LabelledImages:
    """The images of a file, shuffled by `seed`; of a COCO file each category is asked by its name.

    Raises: InputError when the file is of another kind, or has no image.
    """

    def __init__(self, annotations: Path, images: Path, *, seed: int = 0, limit: int | None = None) -> None:
        self.annotations, self.images, self.seed = annotations, images, seed
        records: list[dict[str, Any]] = read_json(annotations, ("images", "annotations"))["images"]
        self._coco: CocoSource | None = None
        self._saco: SacoSource | None = None
        try:
            if "text_input" in records[0]:
                self._saco = SacoSource(annotations, images, "all")
                names = [pairs[0]["file_name"] for pairs in self._saco.pairs]
            else:
                config = CocoConfig(split="all", synonym_probability=0.0, max_negatives=NEGATIVES)
                self._coco = CocoSource(annotations, images, config)
                names = [record["file_name"] for record in self._coco.records]
        except IndexError as error:
            raise InputError(f"{annotations}: images is empty") from error
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{annotations}: not labels in the layout of COCO or SA-Co: {error}") from error
        self._names = [str(name) for name in names]
        self._order = np.random.default_rng(seed).permutation(len(names))[:limit].tolist()

    def __len__(self) -> int:
        return len(self._order)

    def name(self, index: int) -> str:
        """The name of an image, a path inside the folder of images."""
        return self._names[self._order[index]]

    def path(self, index: int) -> Path:
        """Its file. Raises: InputError when it is not there."""
        return find_image(self.name(index), [self.images])

    def example(self, index: int) -> Example:
        """The image with its labels. Raises: InputError naming what is broken."""
        self.path(index)
        place = self._order[index]
        try:
            if self._saco is not None:
                return self._saco.example(place)
            assert self._coco is not None
            return self._coco.example(place, np.random.default_rng([self.seed, place]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{self.annotations}: a label of {self.name(index)} is broken: {error!r}") from error

    def queries(self, example: Example) -> list[PhraseQuery]:
        """The phrases of which every instance is labelled, each once."""
        return list({query.phrase: query for query in example.queries if query.exhaustive}.values())
