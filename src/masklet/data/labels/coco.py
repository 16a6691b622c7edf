"""Images of COCO labels as examples: what may be asked of each, and what is known to be absent.

LVIS files are read as COCO ones by `formats.lvis`, which lists for each image what is labelled in full.
"""

import posixpath
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from masklet.data.labels.arrays import ObjectLabel, read_example
from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import CocoConfig, IndexedSource, PhraseBook, draw_phrases, kept_names
from masklet.errors import InputError
from masklet.formats.coco import CocoAnnotation, CocoFile, CocoImage, read_coco
from masklet.formats.records import Id, id_order


class CocoSource(IndexedSource):
    """Images of a COCO json; phrases are category names and, sometimes, their synonyms.

    Crowd regions are no objects; their phrases are asked only for the single instances beside them, inexhaustively.
    An image record may list `hard_negatives`: phrases that were checked to be absent although something like them is
    there. They are asked before other negatives. `read` reads a layout as COCO records, such as LVIS.

    Raises: InputError naming the file, the record and the field that cannot be used.
    """

    def __init__(
        self, annotations: Path, images: Path, config: CocoConfig, *, read: Callable[[Path], CocoFile] = read_coco
    ) -> None:
        document = read(annotations)
        self.path, self.images, self.config = annotations, images, config
        self.book, self.groups = PhraseBook(), document.groups
        self.names = {
            each.id: tuple(dict.fromkeys(map(self.book, each.phrases))) for each in document.categories.values()
        }
        self.records_of_name: dict[str, list[CocoImage]] = defaultdict(list)
        for record in document.images.values():
            self.records_of_name[posixpath.normpath(self._file_name(record).replace("\\", "/"))].append(record)
        merged = [self._merge(each) for each in self.records_of_name.values()]
        home = {each.id: own[0].id for own in self.records_of_name.values() for each in own}
        wanted = [each for each in merged if not config.origins or each.source in config.origins]
        kept = set(kept_names(map(self._file_name, wanted), config.split, config.limit, str(annotations)))
        self.records = [record for record in wanted if record.file_name in kept]
        self.annotations: dict[Id, list[CocoAnnotation]] = defaultdict(list)
        self.crowds: dict[Id, set[str]] = defaultdict(set)
        self.crowd_objects: list[str] = []
        for place, annotation in enumerate(document.annotations):
            image = home[annotation.image_id]
            if annotation.iscrowd:
                self.crowds[image].update(self.names[annotation.category_id])
                self.crowd_objects.append(f"annotation {place if annotation.id is None else annotation.id}")
            else:
                self.annotations[image].append(annotation)
        self.phrases_of_source = self._phrases_of_source(merged)
        self.safe_phrases = {source: self._safe_phrases(source) for source in self.phrases_of_source}

    def __len__(self) -> int:
        return len(self.records)

    def name(self, index: int) -> str:
        """The file name of image `index` of the split."""
        return self._file_name(self.records[index])

    def remarks(self) -> Iterable[tuple[str, str]]:
        """Images in several records and without labels, objects of crowds, and names of groups, which are not asked."""
        for name, records in self.records_of_name.items():
            if len(records) > 1:
                yield "two records", f"{name} (records {', '.join(str(each.id) for each in records)})"
        for record in self.records:
            if self.config.complete and not self.annotations[record.id] and not self.crowds[record.id]:
                yield "unlabelled", self._file_name(record)
        yield from (("crowd", each) for each in self.crowd_objects)
        yield from (("group", repr(self.names[key][0])) for key in self.groups)

    @staticmethod
    def _merge(records: Sequence[CocoImage]) -> CocoImage:
        """Several records of one image as one; what only one of them calls labelled in full is not."""
        first = records[0]
        hard = [phrase for each in records for phrase in each.hard_negatives or ()]
        claims = [each.exhaustive for each in records]
        same = all(claim == claims[0] for claim in claims)
        listed = [set(claim) for claim in claims if isinstance(claim, list)]
        common = sorted(set.intersection(*listed)) if len(listed) == len(claims) else []
        return replace(first, exhaustive=first.exhaustive if same else common, hard_negatives=hard or None)

    def _file_name(self, record: CocoImage) -> str:
        if record.file_name is None:
            raise InputError(f"{self.path}: image {record.id}: file_name: is missing")
        return record.file_name

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Image `index` of the split; `rng` draws words and negatives."""
        record = self.records[index]
        annotations = self.annotations[record.id]
        size = None if record.height is None or record.width is None else (record.height, record.width)
        where = f"image {record.id}"
        labels = []
        for each in annotations:
            name = f"annotation {each.id}"
            if each.bbox is None and not each.segmentation:
                raise InputError(f"{self.path}: {name}: bbox: is missing, and so is a segmentation")
            labels.append(ObjectLabel(record=name, box_xywh=each.bbox, segmentation=each.segmentation))
        example = read_example(self.images, record.file_name, size, labels, self.path, where)
        objects: dict[str, list[int]] = defaultdict(list)
        for row, annotation in enumerate(annotations):
            for phrase in self.names[annotation.category_id]:
                objects[phrase].append(row)
        hard = list(dict.fromkeys(map(self.book, record.hard_negatives or ())))
        wrong = sorted(objects.keys() & set(hard))
        if wrong:
            raise InputError(f"{self.path}: {where}: hard_negatives names {wrong[0]!r}, of which it has labels")
        return replace(
            example,
            queries=self._queries(record, annotations, objects, hard, rng),
            source=self.path.stem if record.source is None else record.source,
            absent=self.complete_phrases(record)
            .union(hard, self._far_phrases(record))
            .difference(objects, record.present or ()),
        )

    def _far_phrases(self, record: CocoImage) -> frozenset[str]:
        """Phrases of other scenes, which no label of this one could be missing for."""
        return self.safe_phrases.get(record.source or "", frozenset()) - self.crowds.get(record.id, set())

    def _phrases_of_source(self, records: Iterable[CocoImage]) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for record in records:
            found[record.source or ""].update(())
            for annotation in self.annotations[record.id]:
                found[record.source or ""].update(self.names[annotation.category_id])
        if set(found) == {""}:  # an ordinary COCO file: one source, and every category is looked for
            asked = (phrases for key, phrases in self.names.items() if key not in self.groups)
            found[""].update(phrase for phrases in asked for phrase in phrases)
        return {source: frozenset(phrases) for source, phrases in found.items()}

    def _safe_phrases(self, source: str) -> frozenset[str]:
        """Phrases of other scenes that no phrase of the own scene shares; none when the source is in no scene."""
        own = next((scene for scene in self.config.scenes if source in scene), None)
        if own is None:
            return frozenset()
        near = frozenset().union(*(self.phrases_of_source.get(name, frozenset()) for name in own))
        grouped = {name for scene in self.config.scenes for name in scene}
        far = (self.phrases_of_source.get(name, frozenset()) for name in grouped - set(own))
        return frozenset().union(*far) - near

    def complete_phrases(self, record: CocoImage) -> frozenset[str]:
        """Phrases of which every instance in this image is labelled.

        The record's `exhaustive` is a phrase, a list of phrases, or "listed categories" for all of its source; a remark
        in brackets follows, and "unlabelled" in it takes the promise back. Those of a crowd region are not told apart.
        """
        return self._claimed_phrases(record) - self.crowds.get(record.id, set())

    def _claimed_phrases(self, record: CocoImage) -> frozenset[str]:
        known = self.phrases_of_source[record.source or ""]
        claim = record.exhaustive
        if claim is None:
            return known if self.config.complete else frozenset()
        if isinstance(claim, list):
            return known & frozenset(map(self.book, claim))
        text, _, remark = claim.partition("(")
        if "unlabelled" in remark:
            return frozenset()
        text = text.strip()
        if text == "listed categories":
            return known
        named = {self.book(text), self.book(text.removesuffix("s"))} & known
        # Every thing of the claimed kind carries its own label, so its narrower names are complete as well.
        narrower = (set(phrases) for phrases in self.names.values() if named & set(phrases) and set(phrases) <= known)
        return frozenset(named).union(*narrower)

    def _queries(
        self,
        record: CocoImage,
        annotations: list[CocoAnnotation],
        objects: Mapping[str, list[int]],
        hard: list[str],
        rng: np.random.Generator,
    ) -> tuple[PhraseQuery, ...]:
        complete = self.complete_phrases(record)
        asked: dict[str, None] = {}
        for category in sorted({annotation.category_id for annotation in annotations}, key=id_order):
            phrases = self.names[category]
            asked[phrases[0]] = None
            if len(phrases) > 1 and rng.random() < self.config.synonym_probability:
                asked[phrases[int(rng.integers(1, len(phrases)))]] = None
        first = draw_phrases(hard, self.config.max_negatives, rng)
        room = self.config.max_negatives - len(first)
        spoken = objects.keys() | set(hard) | set(record.present or ())
        own = sorted(complete - spoken)
        far = sorted(self._far_phrases(record) - spoken)
        near_count = min(len(own), max(room // 2, room - len(far)))
        absent = first + draw_phrases(own, near_count, rng) + draw_phrases(far, room - near_count, rng)
        somewhere = [PhraseQuery.somewhere(phrase) for phrase in record.present or () if phrase not in objects]
        positives = [
            PhraseQuery(phrase=phrase, object_index=tuple(objects[phrase]), exhaustive=phrase in complete)
            for phrase in asked
        ]
        return (*positives, *somewhere, *(PhraseQuery(phrase=phrase, object_index=()) for phrase in absent))
