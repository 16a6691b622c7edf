"""Images of SA-Co labels as examples, with every phrase that the file asks of them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from masklet.data.labels.arrays import ObjectLabel, read_example
from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import IndexedSource, PhraseBook, Split, kept_names
from masklet.formats.records import Id
from masklet.formats.saco import SacoLabel, SacoPair, read_saco


class SacoSource(IndexedSource):
    """Images of a SA-Co json: each entry of `images` asks one noun phrase; entries without labels are negatives."""

    def __init__(self, annotations: Path, images: Path, split: Split = "train", limit: int | None = None) -> None:
        document = read_saco(annotations)
        self.path, self.images = annotations, images
        pairs: dict[str, list[SacoPair]] = defaultdict(list)
        for pair in document.pairs.values():
            pairs[pair.file_name].append(pair)
        self.book = PhraseBook(pair.text_input for pair in document.pairs.values())
        self.pairs = [pairs[name] for name in kept_names(pairs, split, limit, str(annotations))]
        self.labels: dict[Id, list[SacoLabel]] = defaultdict(list)
        for label in document.labels:
            self.labels[label.image_id].append(label)

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        """The file name of image `index` of the split."""
        return self.pairs[index][0].file_name

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Objects of crowds."""
        for labels in self.labels.values():
            yield from (("crowd", f"annotation {label.id}") for label in labels if label.iscrowd)

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """Image `index`; instances of a crowd region make their phrase inexhaustive and are left out.

        Nothing is drawn: all phrases of the file are asked.
        """
        del rng
        pairs = self.pairs[index]
        size = (pairs[0].height, pairs[0].width)
        labels: list[ObjectLabel] = []
        queries = []
        of_phrase: dict[str, list[SacoPair]] = defaultdict(list)
        for pair in pairs:
            of_phrase[self.book(pair.text_input)].append(pair)
        for phrase, same in of_phrase.items():
            labelled = [label for pair in same for label in self.labels[pair.id]]
            single = [label for label in labelled if not label.iscrowd]
            first = len(labels)
            for label in single:
                box = None if label.bbox is None else (np.array(label.bbox) * ([size[1], size[0]] * 2)).tolist()
                labels.append(
                    ObjectLabel(record=f"annotation {label.id}", box_xywh=box, segmentation=label.segmentation)
                )
            exhaustive = all(pair.is_instance_exhaustive for pair in same) and len(single) == len(labelled)
            if single or not labelled:
                indices = tuple(range(first, len(labels)))
                queries.append(PhraseQuery(phrase=phrase, object_index=indices, exhaustive=exhaustive))
        example = read_example(self.images, pairs[0].file_name, size, labels, self.path, f"image {pairs[0].id}")
        absent = frozenset(query.phrase for query in queries if not query.object_index)
        return replace(example, queries=tuple(queries), absent=absent)
