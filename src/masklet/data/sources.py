"""Where examples come from: COCO and SA-Co json, generated scenes, and weighted mixtures of them.

A source is asked with a random generator and answers with an `Example`, so example i of a mixture is a pure function of
(seed, i): resuming a run needs nothing but the step counter. Pictures are decoded when asked for, never before.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from masklet.data.mosaic import mosaic
from masklet.data.reading import check_records, check_references, decode_objects, inside, read_image, read_json
from masklet.data.schema import Example, PhraseQuery
from masklet.errors import InputError

Split = Literal["train", "heldout", "all"]
HELD_OUT_SHARE = 10
ID = (int, str)  # of a record; kept as it is


@runtime_checkable
class ExampleSource(Protocol):
    """Anything that can draw an example."""

    def sample(self, rng: np.random.Generator) -> Example:
        """An example that depends on nothing but the source and the state of `rng`."""
        ...


@runtime_checkable
class PictureSource(ExampleSource, Protocol):
    """Labelled pictures in files, which can be asked for one by one."""

    def __len__(self) -> int:
        """Number of pictures."""
        ...

    def name(self, index: int) -> str:
        """What a message calls picture `index`."""
        ...

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Picture `index`; `rng` draws words and negatives. Raises: InputError naming the file and the record."""
        ...


def in_split(file_name: str, split: Split) -> bool:
    """Whether a file belongs to a split: a tenth of all names is held out, by a hash of its name."""
    held_out = _hash(file_name) % HELD_OUT_SHARE == 0
    return split == "all" or held_out == (split == "heldout")


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha1(name.encode(errors="surrogatepass")).digest()[:8], "big")


def kept_names(names: Iterable[str], split: Split, limit: int | None, origin: str) -> list[str]:
    """The distinct names of a split, sorted; with a limit, that many of them.

    Which ones is a matter of their names alone: a smaller limit keeps a part of what a larger one keeps.

    Raises: InputError, which begins with `origin`, when none is left.
    """
    kept = {name for name in names if in_split(name, split)}
    if limit is not None:
        kept = set(sorted(kept, key=lambda name: (_hash(f"limit {name}"), name))[:limit])
    if not kept:
        raise InputError(f"{origin}: no image in split {split!r}")
    return sorted(kept)


@dataclass(frozen=True, kw_only=True)
class QueryConfig:
    """Which pictures of a source are used, and what is asked of them.

    A tenth of the pictures is held out, by a hash of their names; "all" ignores that. `limit` keeps so many pictures,
    always the same ones. `complete` says that what has no label is not in the picture, so that other names are safe
    negatives, of which `max_negatives` are asked.
    """

    split: Split = "train"
    limit: int | None = None
    max_negatives: int = 8
    complete: bool = True


def ask(
    answers: Mapping[str, Sequence[int]],
    absent: Iterable[str],
    config: QueryConfig,
    rng: np.random.Generator,
) -> tuple[PhraseQuery, ...]:
    """Every phrase that has an answer, and some of those known to be absent."""
    negatives = draw_phrases(sorted(absent), config.max_negatives, rng)
    positives = [
        PhraseQuery(phrase=phrase, object_index=tuple(found), exhaustive=config.complete)
        for phrase, found in answers.items()
    ]
    return (*positives, *(PhraseQuery(phrase=phrase, object_index=()) for phrase in negatives))


def draw_phrases(phrases: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """`count` of the phrases, or all if there are fewer, in random order."""
    return [phrases[i] for i in rng.permutation(len(phrases))[: max(0, count)].tolist()]


@dataclass(frozen=True)
class Mixture:
    """Sources drawn by weight; item i is the same whenever it is asked for.

    Some items, by `mosaic_probability`, are mosaics of `mosaic_size` pixels of several examples of one source, if it
    says what they do not show: otherwise most questions about one tile could not be answered for the others.
    """

    sources: Sequence[ExampleSource]
    weights: Sequence[float]
    seed: int
    mosaic_probability: float = 0.0
    mosaic_size: int = 1008

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.weights) or not sum(self.weights) > 0 or min(self.weights) < 0:
            raise ValueError(f"{len(self.sources)} sources need as many weights, none negative, got {self.weights}")

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([self.seed, index])
        weights = np.asarray(self.weights, np.float64)
        source = self.sources[int(rng.choice(len(weights), p=weights / weights.sum()))]
        example = source.sample(rng)
        if not self.mosaic_probability or not example.absent or rng.random() >= self.mosaic_probability:
            return example
        return mosaic(example, lambda: source.sample(rng), self.mosaic_size, rng)


@dataclass(frozen=True)
class GeneratedSource:
    """Scenes made on the spot by `render(seed)`."""

    render: Callable[[int], Example]

    def sample(self, rng: np.random.Generator) -> Example:
        """A scene of a random seed."""
        return self.render(int(rng.integers(2**31)))


@dataclass(frozen=True, kw_only=True)
class CocoConfig(QueryConfig):
    """How queries are drawn from COCO labels.

    `scenes` groups image sources whose things may turn up in each other's pictures: names of another group are safe
    negatives, those of the own group are not. Without groups only the labels of the own source are used.
    `origins` keeps pictures whose record's `source` is one of these; all, when there are none. `complete` is taken when
    the file does not say what is labelled in full: True for COCO-like sets.
    """

    scenes: tuple[tuple[str, ...], ...] = ()
    origins: tuple[str, ...] = ()
    synonym_probability: float = 0.3


def read_coco(path: Path, name_of_picture: Callable[[dict[str, Any]], Any] | None = None) -> dict[str, Any]:
    """The document, whose records are known to have the fields that are needed and to name only what is there.

    A picture without a file name is called what `name_of_picture` takes from its record.

    Raises: InputError naming the file, the record and the field.
    """
    document = read_json(path, ("images", "annotations", "categories"))
    check_records(path, "categories", document["categories"], {"id": ID, "name": str})
    for category in document["categories"]:
        if not _is_phrases(category.get("synonyms", [])):
            raise InputError(f"{path}: category {category['id']}: synonyms is not a list of phrases")
    check_records(path, "images", document["images"], {"id": ID})
    for record in document["images"]:
        if name_of_picture is not None and "file_name" not in record:
            record["file_name"] = name_of_picture(record)
        if not isinstance(record.get("source", ""), str):
            raise InputError(f"{path}: image record {record['id']}: source is no name")
        if not isinstance(record.get("exhaustive", ""), str) and not _is_phrases(record["exhaustive"]):
            raise InputError(
                f"{path}: image record {record['id']}: exhaustive is neither a phrase nor a list of phrases"
            )
    check_records(path, "images", document["images"], {"file_name": str, "width": int, "height": int})
    check_records(path, "annotations", document["annotations"], {"image_id": ID, "category_id": ID})
    check_references(path, document, {"category_id": "categories", "image_id": "images"})
    return document


def _is_phrases(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


class CocoSource:
    """Pictures of a COCO json; phrases are category names and, sometimes, their synonyms.

    Crowd regions are no objects; their phrases are asked only for the single instances beside them, inexhaustively.
    An image record may list `hard_negatives`: phrases that were checked to be absent although something like them is
    there. They are asked before other negatives. `read` turns files of other layouts into such a document.

    Raises: InputError naming the file, the record and the field that cannot be used.
    """

    def __init__(
        self,
        annotations: Path,
        images: Path,
        config: CocoConfig,
        *,
        read: Callable[[Path], dict[str, Any]] = read_coco,
    ) -> None:
        document = read(annotations)
        self.path, self.images, self.config = annotations, images, config
        self.names = {record["id"]: _phrases(record) for record in document["categories"]}
        wanted = [each for each in document["images"] if not config.origins or each.get("source") in config.origins]
        names = (record["file_name"] for record in wanted)
        kept = set(kept_names(names, config.split, config.limit, str(annotations)))
        self.records = [record for record in wanted if record["file_name"] in kept]
        self.annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        self.crowds: dict[Any, set[str]] = defaultdict(set)
        for annotation in document["annotations"]:
            if annotation.get("iscrowd"):
                self.crowds[annotation["image_id"]].update(self.names[annotation["category_id"]])
            else:
                self.annotations[annotation["image_id"]].append(annotation)
        self.phrases_of_source = self._phrases_of_source(document["images"])
        self.safe_phrases = {source: self._safe_phrases(source) for source in self.phrases_of_source}

    def __len__(self) -> int:
        return len(self.records)

    def name(self, index: int) -> str:
        """The file name of picture `index` of the split."""
        return self.records[index]["file_name"]

    def sample(self, rng: np.random.Generator) -> Example:
        """A random picture with all its phrases and some it does not show."""
        return self.example(int(rng.integers(len(self.records))), rng)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Picture `index` of the split; `rng` draws words and negatives."""
        record = self.records[index]
        annotations = self.annotations[record["id"]]
        image = _read_recorded(self.images, record, self.path)
        boxes, masks, mask_valid = decode_objects(annotations, image.shape[:2], self.path)
        answers: dict[str, list[int]] = defaultdict(list)
        for row, annotation in enumerate(annotations):
            for phrase in self.names[annotation["category_id"]]:
                answers[phrase].append(row)
        hard = self._hard_negatives(record, answers)
        return Example(
            image=image,
            boxes_xyxy=boxes,
            masks=masks,
            mask_valid=mask_valid,
            queries=self._queries(record, annotations, answers, hard, rng),
            source=record.get("source", self.path.stem),
            absent=self.complete_phrases(record).union(hard, self._far_phrases(record)).difference(answers),
        )

    def _far_phrases(self, record: dict[str, Any]) -> frozenset[str]:
        """Phrases of other scenes, which no label of this one could be missing for."""
        return self.safe_phrases.get(record.get("source", ""), frozenset()) - self.crowds.get(record["id"], set())

    def _hard_negatives(self, record: dict[str, Any], answers: Mapping[str, list[int]]) -> list[str]:
        """Raises: InputError when they are no phrases, or one of them is labelled."""
        hard = record.get("hard_negatives", [])
        if not _is_phrases(hard):
            raise InputError(f"{self.path}: image record {record['id']}: hard_negatives is not a list of phrases")
        wrong = sorted(answers.keys() & set(hard))
        if wrong:
            where = f"{self.path}: image record {record['id']}"
            raise InputError(f"{where}: hard_negatives names {wrong[0]!r}, of which it has labels")
        return list(dict.fromkeys(hard))

    def _phrases_of_source(self, records: list[dict[str, Any]]) -> dict[str, frozenset[str]]:
        found: dict[str, set[str]] = defaultdict(set)
        for record in records:
            found[record.get("source", "")].update(())
            for annotation in self.annotations[record["id"]]:
                found[record.get("source", "")].update(self.names[annotation["category_id"]])
        if set(found) == {""}:  # an ordinary COCO file: one source, and every category is looked for
            found[""].update(phrase for phrases in self.names.values() for phrase in phrases)
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

    def complete_phrases(self, record: dict[str, Any]) -> frozenset[str]:
        """Phrases of which every instance in this picture is labelled.

        The record's `exhaustive` is a phrase, a list of phrases, or "listed categories" for all of its source; a remark
        in brackets follows, and "unlabelled" in it takes the promise back. Those of a crowd region are not told apart.
        """
        return self._claimed_phrases(record) - self.crowds.get(record["id"], set())

    def _claimed_phrases(self, record: dict[str, Any]) -> frozenset[str]:
        known = self.phrases_of_source[record.get("source", "")]
        claim = record.get("exhaustive")
        if claim is None:
            return known if self.config.complete else frozenset()
        if isinstance(claim, list):
            return known & frozenset(claim)
        text, _, remark = claim.partition("(")
        if "unlabelled" in remark:
            return frozenset()
        text = text.strip()
        if text == "listed categories":
            return known
        named = {text, text.removesuffix("s")} & known
        # Every thing of the claimed kind carries its own label, so its narrower names are complete as well.
        narrower = (set(phrases) for phrases in self.names.values() if named & set(phrases) and set(phrases) <= known)
        return frozenset(named).union(*narrower)

    def _queries(
        self,
        record: dict[str, Any],
        annotations: list[dict[str, Any]],
        answers: Mapping[str, list[int]],
        hard: list[str],
        rng: np.random.Generator,
    ) -> tuple[PhraseQuery, ...]:
        complete = self.complete_phrases(record)
        asked: dict[str, None] = {}
        for category in sorted({annotation["category_id"] for annotation in annotations}):
            phrases = self.names[category]
            asked[phrases[0]] = None
            if len(phrases) > 1 and rng.random() < self.config.synonym_probability:
                asked[phrases[int(rng.integers(1, len(phrases)))]] = None
        first = draw_phrases(hard, self.config.max_negatives, rng)
        room = self.config.max_negatives - len(first)
        own = sorted(complete - answers.keys() - set(hard))
        far = sorted(self._far_phrases(record) - answers.keys() - set(hard))
        near_count = min(len(own), max(room // 2, room - len(far)))
        absent = first + draw_phrases(own, near_count, rng) + draw_phrases(far, room - near_count, rng)
        positives = [
            PhraseQuery(phrase=phrase, object_index=tuple(answers[phrase]), exhaustive=phrase in complete)
            for phrase in asked
        ]
        return (*positives, *(PhraseQuery(phrase=phrase, object_index=()) for phrase in absent))


class SacoSource:
    """Pictures of a SA-Co json: each entry of `images` asks one noun phrase; entries without labels are negatives."""

    def __init__(self, annotations: Path, images: Path, split: Split = "train", limit: int | None = None) -> None:
        document = read_json(annotations, ("images", "annotations"))
        fields = {"id": ID, "file_name": str, "width": int, "height": int, "text_input": str}
        check_records(annotations, "images", document["images"], fields)
        check_records(annotations, "annotations", document["annotations"], {"image_id": ID, "bbox": list})
        check_references(annotations, document, {"image_id": "images"})
        self.path, self.images = annotations, images
        pairs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for record in document["images"]:
            pairs[record["file_name"]].append(record)
        self.pairs = [pairs[name] for name in kept_names(pairs, split, limit, str(annotations))]
        self.annotations: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for annotation in document["annotations"]:
            self.annotations[annotation["image_id"]].append(annotation)

    def __len__(self) -> int:
        return len(self.pairs)

    def name(self, index: int) -> str:
        """The file name of picture `index` of the split."""
        return self.pairs[index][0]["file_name"]

    def sample(self, rng: np.random.Generator) -> Example:
        """A random picture with all phrases asked of it."""
        return self.example(int(rng.integers(len(self.pairs))))

    def example(self, index: int, rng: np.random.Generator | None = None) -> Example:
        """Picture `index`; instances of a crowd region make their phrase inexhaustive and are left out.

        Nothing is drawn: all phrases of the file are asked.
        """
        del rng
        records = self.pairs[index]
        image = _read_recorded(self.images, records[0], self.path)
        height, width = image.shape[:2]
        annotations: list[dict[str, Any]] = []
        queries = []
        for record in records:
            labelled = self.annotations[record["id"]]
            single = [annotation for annotation in labelled if not annotation.get("iscrowd")]
            first = len(annotations)
            for annotation in single:
                annotations.append(annotation | {"bbox": self._in_pixels(annotation, width, height)})
            exhaustive = bool(record.get("is_instance_exhaustive", 1)) and len(single) == len(labelled)
            if single or not labelled:
                indices = tuple(range(first, len(annotations)))
                queries.append(PhraseQuery(phrase=record["text_input"], object_index=indices, exhaustive=exhaustive))
        boxes, masks, mask_valid = decode_objects(annotations, (height, width), self.path)
        return Example(
            image=image,
            boxes_xyxy=boxes,
            masks=masks,
            mask_valid=mask_valid,
            queries=tuple(queries),
            source=self.path.stem,
            absent=frozenset(query.phrase for query in queries if not query.object_index),
        )

    def _in_pixels(self, annotation: dict[str, Any], width: int, height: int) -> list[float]:
        """The box, which the file holds in fractions of the picture."""
        try:
            x, y, w, h = (float(value) for value in annotation["bbox"])
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.path}: annotation {annotation.get('id')}: bbox: {error}") from error
        return [x * width, y * height, w * width, h * height]


def _read_recorded(folder: Path, record: dict[str, Any], annotations: Path) -> np.ndarray:
    where = f"image record {record['id']}"
    path = inside(folder, record["file_name"], f"{annotations}: {where}")
    return read_image(path, where, (record["height"], record["width"]))


def _phrases(category: dict[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([category["name"], *category.get("synonyms", ())]))
