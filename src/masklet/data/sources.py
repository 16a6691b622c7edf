"""Where examples come from: COCO and SA-Co json, generated scenes, and weighted mixtures of them.

A source is asked with a random generator and answers with an `Example`, so example i of a mixture is a pure function of
(seed, i): resuming a run needs nothing but the step counter. Pictures are decoded when asked for, never before.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from PIL import Image, UnidentifiedImageError

from masklet.data.schema import Example, PhraseQuery
from masklet.errors import InputError
from masklet.ops.masks import polygons_to_mask, rle_decode

Split = Literal["train", "heldout", "all"]
HELD_OUT_SHARE = 10


@runtime_checkable
class ExampleSource(Protocol):
    """Anything that can draw an example."""

    def sample(self, rng: np.random.Generator) -> Example:
        """An example that depends on nothing but the source and the state of `rng`."""
        ...


def in_split(file_name: str, split: Split) -> bool:
    """Whether a file belongs to a split: a tenth of all names is held out, by a hash of its name."""
    held_out = int.from_bytes(hashlib.sha1(file_name.encode()).digest()[:8], "big") % HELD_OUT_SHARE == 0
    return split == "all" or held_out == (split == "heldout")


@dataclass(frozen=True)
class Mixture:
    """Sources drawn by weight; item i is the same whenever it is asked for."""

    sources: Sequence[ExampleSource]
    weights: Sequence[float]
    seed: int

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.weights) or not sum(self.weights) > 0 or min(self.weights) < 0:
            raise ValueError(f"{len(self.sources)} sources need as many weights, none negative, got {self.weights}")

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([self.seed, index])
        weights = np.asarray(self.weights, np.float64)
        return self.sources[int(rng.choice(len(weights), p=weights / weights.sum()))].sample(rng)


@dataclass(frozen=True)
class GeneratedSource:
    """Scenes made on the spot by `render(seed)`."""

    render: Callable[[int], Example]

    def sample(self, rng: np.random.Generator) -> Example:
        """A scene of a random seed."""
        return self.render(int(rng.integers(2**31)))


@dataclass(frozen=True, kw_only=True)
class CocoConfig:
    """How queries are drawn from COCO labels.

    `scenes` groups image sources whose things may turn up in each other's pictures: names of another group are safe
    negatives, those of the own group are not. Without groups only the labels of the own source are used.
    `complete` is taken when the file does not say what is labelled in full: True for COCO-like sets.
    """

    split: Split = "train"
    scenes: tuple[tuple[str, ...], ...] = ()
    synonym_probability: float = 0.3
    max_negatives: int = 8
    complete: bool = True


class CocoSource:
    """Pictures of a COCO json; phrases are category names and, sometimes, their synonyms."""

    def __init__(self, annotations: Path, images: Path, config: CocoConfig) -> None:
        document = read_json(annotations, ("images", "annotations", "categories"))
        self.path, self.images, self.config = annotations, images, config
        self.names = {record["id"]: _phrases(record) for record in document["categories"]}
        self.records = [record for record in document["images"] if in_split(record["file_name"], config.split)]
        if not self.records:
            raise InputError(f"{annotations}: no image in split {config.split!r}")
        self.annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in document["annotations"]:
            if not annotation.get("iscrowd"):
                self.annotations[annotation["image_id"]].append(annotation)
        self.phrases_of_source = self._phrases_of_source(document["images"])
        self.safe_phrases = {source: self._safe_phrases(source) for source in self.phrases_of_source}

    def __len__(self) -> int:
        return len(self.records)

    def sample(self, rng: np.random.Generator) -> Example:
        """A random picture with all its phrases and some it does not show."""
        return self.example(int(rng.integers(len(self.records))), rng)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Picture `index` of the split; `rng` draws words and negatives."""
        record = self.records[index]
        annotations = self.annotations[record["id"]]
        image = read_image(self.images / record["file_name"], record)
        boxes, masks, mask_valid = decode_objects(annotations, image.shape[:2], self.path)
        return Example(
            image=image,
            boxes_xyxy=boxes,
            masks=masks,
            mask_valid=mask_valid,
            queries=self._queries(record, annotations, rng),
            source=record.get("source", self.path.stem),
        )

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
        in brackets follows, and "unlabelled" in it takes the promise back.
        """
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
        self, record: dict[str, Any], annotations: list[dict[str, Any]], rng: np.random.Generator
    ) -> tuple[PhraseQuery, ...]:
        answers: dict[str, list[int]] = defaultdict(list)
        for index, annotation in enumerate(annotations):
            for phrase in self.names[annotation["category_id"]]:
                answers[phrase].append(index)
        complete = self.complete_phrases(record)
        asked: dict[str, None] = {}
        for category in sorted({annotation["category_id"] for annotation in annotations}):
            phrases = self.names[category]
            asked[phrases[0]] = None
            if len(phrases) > 1 and rng.random() < self.config.synonym_probability:
                asked[phrases[int(rng.integers(1, len(phrases)))]] = None
        own = sorted(complete - answers.keys())
        far = sorted(self.safe_phrases.get(record.get("source", ""), frozenset()) - answers.keys())
        near_count = min(len(own), max(self.config.max_negatives // 2, self.config.max_negatives - len(far)))
        absent = _draw(own, near_count, rng) + _draw(far, self.config.max_negatives - near_count, rng)
        positives = [
            PhraseQuery(phrase=phrase, object_index=tuple(answers[phrase]), exhaustive=phrase in complete)
            for phrase in asked
        ]
        return (*positives, *(PhraseQuery(phrase=phrase, object_index=()) for phrase in absent))


class SacoSource:
    """Pictures of a SA-Co json: each entry of `images` asks one noun phrase; entries without labels are negatives."""

    def __init__(self, annotations: Path, images: Path, split: Split = "train") -> None:
        document = read_json(annotations, ("images", "annotations"))
        self.path, self.images = annotations, images
        pairs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for record in document["images"]:
            if in_split(record["file_name"], split):
                pairs[record["file_name"]].append(record)
        self.pairs = [pairs[name] for name in sorted(pairs)]
        if not self.pairs:
            raise InputError(f"{annotations}: no image in split {split!r}")
        self.annotations: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in document["annotations"]:
            self.annotations[annotation["image_id"]].append(annotation)

    def __len__(self) -> int:
        return len(self.pairs)

    def sample(self, rng: np.random.Generator) -> Example:
        """A random picture with all phrases asked of it."""
        return self.example(int(rng.integers(len(self.pairs))))

    def example(self, index: int) -> Example:
        """Picture `index`; instances of a crowd region make their phrase inexhaustive and are left out."""
        records = self.pairs[index]
        image = read_image(self.images / records[0]["file_name"], records[0])
        height, width = image.shape[:2]
        annotations: list[dict[str, Any]] = []
        queries = []
        for record in records:
            labelled = self.annotations[record["id"]]
            single = [annotation for annotation in labelled if not annotation.get("iscrowd")]
            first = len(annotations)
            for annotation in single:
                x, y, w, h = annotation["bbox"]
                annotations.append(annotation | {"bbox": [x * width, y * height, w * width, h * height]})
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
        )


def _phrases(category: dict[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([category["name"], *category.get("synonyms", ())]))


def _draw(phrases: list[str], count: int, rng: np.random.Generator) -> list[str]:
    return [phrases[i] for i in rng.permutation(len(phrases))[: max(0, count)]]


def read_json(path: Path, sections: tuple[str, ...]) -> dict[str, Any]:
    """The document, known to have these sections.

    Raises: InputError naming the file when it cannot be read or lacks one.
    """
    try:
        document = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as json: {error}") from error
    missing = [name for name in sections if not isinstance(document, dict) or name not in document]
    if missing:
        raise InputError(f"{path}: lacks {', '.join(missing)}")
    return document


def read_image(path: Path, record: dict[str, Any]) -> np.ndarray:
    """RGB pixels of a picture of the size its record states.

    Raises: InputError naming the file and the record.
    """
    try:
        with Image.open(path) as picture:
            image = np.array(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError) as error:
        raise InputError(f"{path}: image record {record['id']} cannot be read: {error}") from error
    if (image.shape[1], image.shape[0]) != (record["width"], record["height"]):
        raise InputError(
            f"{path}: image record {record['id']} states {record['width']} x {record['height']} pixels, "
            f"the file has {image.shape[1]} x {image.shape[0]}"
        )
    return image


def decode_objects(
    annotations: Sequence[dict[str, Any]], size: tuple[int, int], path: Path
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (xyxy pixels), masks and whether each has one. An empty mask counts as none.

    Raises: InputError naming the file and the annotation.
    """
    masks = np.zeros((len(annotations), *size), bool)
    boxes = np.zeros((len(annotations), 4), np.float32)
    for row, annotation in enumerate(annotations):
        try:
            x, y, width, height = annotation["bbox"]
            boxes[row] = x, y, x + width, y + height
            masks[row] = _decode_mask(annotation.get("segmentation"), size)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path}: annotation {annotation.get('id')} is broken: {error}") from error
    return boxes, masks, np.atleast_1d(masks.any(axis=(1, 2)))


def _decode_mask(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    if not segmentation:
        return np.zeros(size, bool)
    if isinstance(segmentation, list):
        return polygons_to_mask(segmentation, *size)
    if tuple(segmentation["size"]) != size:
        raise ValueError(f"its mask is {segmentation['size']}, the image {list(size)}")
    return rle_decode(segmentation["counts"], *size)
