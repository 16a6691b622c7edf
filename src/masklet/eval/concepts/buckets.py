"""From files to columns: one bucket of SA-Co records as the instances of its pairs.

A bucket holds everything that was said of some pairs: the pairs themselves and their labels by each annotator, and the
predictions. Pairs that any annotator did not label exhaustively are left out, and so are labels of crowds.
"""

from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from masklet.errors import InputError
from masklet.eval.concepts.cgf1 import SCORE_THRESHOLD
from masklet.eval.concepts.pairs import InstanceColumns, Kind
from masklet.eval.sums import Summable
from masklet.formats.records import Id, describe, parse, parse_line
from masklet.formats.saco import PRESENCE_FILE, SacoCategory, SacoLabel, SacoPair, SacoPrediction, SacoPresence, Subset
from masklet.formats.stream import Buckets, iterate_items, read_bucket
from masklet.ops.counts import DamagedMask, to_bytes
from masklet.ops.runs import RunTable


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of one subset: labels of each annotator, predictions, and presences where a model states them."""

    subset: Subset
    predictions: Path
    presence: Path | None = None

    @classmethod
    def of(cls, subset: Subset, predictions: Path) -> "Source":
        """With the file of presences that may lie beside the predictions."""
        presence = predictions.with_name(PRESENCE_FILE)
        return cls(subset=subset, predictions=predictions, presence=presence if presence.is_file() else None)

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(path.stat().st_size for path in (*self.subset.files, self.predictions))


@dataclass(frozen=True, kw_only=True)
class Notes(Summable):
    """What was passed over: predictions of pairs that no file holds, and of categories that the labels do not have."""

    unknown_pairs: int = 0
    unknown_categories: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class PairBatch:
    """The evaluated pairs of a bucket, what each annotator saw there, and what was predicted."""

    records: list[SacoPair]
    annotators: list[InstanceColumns]
    predictions: InstanceColumns
    presence: dict[Id, float]
    notes: Notes


def fill_buckets(source: Source, buckets: Buckets, floor: float) -> None:
    """Puts every record of the files into the bucket of its pair, but predictions that score below `floor`.

    Raises: InputError on a record that is not whole.
    """
    categories: set[Id] = set()
    for annotator, path in enumerate(source.subset.files):
        has_images = False
        for section, _, text in iterate_items(path):
            if section == "images":
                has_images = True
                buckets.add(parse(SacoPair, text, path, "image").id, f"i{annotator}", text)
            elif section == "annotations":
                buckets.add(parse(SacoLabel, text, path, "annotation").image_id, f"a{annotator}", text)
            elif section == "categories" and annotator == 0:
                categories.add(parse(SacoCategory, text, path, "category").id)
        if not has_images:
            raise InputError(f"{path}: has no images: SA-Co labels are expected")
    for section, _, text in iterate_items(source.predictions):
        if section:
            raise InputError(f"{source.predictions}: a list of predictions is expected, not an object")
        prediction = parse(SacoPrediction, text, source.predictions, "prediction")
        if prediction.score >= floor:
            is_known = not categories or prediction.category_id in categories
            buckets.add(prediction.image_id, "p" if is_known else "x", text)
    if source.presence is not None:
        for number, line in enumerate(source.presence.read_text(encoding="utf-8").splitlines(), start=1):
            buckets.add(parse_line(SacoPresence, line, source.presence, number).image_id, "q", line)


def read_batch(path: Path, source: Source, kinds: Sequence[Kind]) -> PairBatch:
    """The bucket at `path` as columns. Raises: InputError naming file, record and field."""
    files = source.subset.files
    pairs: list[dict[Id, SacoPair]] = [{} for _ in files]
    labels = [_Columns(file, "annotation", kinds) for file in files]
    predictions = _Columns(source.predictions, "prediction", kinds)
    presence: dict[Id, float] = {}
    strangers = 0
    # Sort the lines by what they are
    for tag, text in read_bucket(path):
        if tag == "p":
            predictions.add(parse(SacoPrediction, text, source.predictions, "prediction"))
        elif tag == "q":
            stated = parse(SacoPresence, text, path, "presence")
            presence[stated.image_id] = stated.presence
        elif tag == "x":
            strangers += 1
        else:
            annotator = int(tag[1:])
            if tag[0] == "a":
                label = parse(SacoLabel, text, files[annotator], "annotation")
                if not label.iscrowd:
                    labels[annotator].add(label)
            else:
                pair = parse(SacoPair, text, files[annotator], "image")
                if pairs[annotator].setdefault(pair.id, pair) is not pair:
                    raise InputError(f"{files[annotator]}: image {pair.id}: id: is given twice")
    # Check that labels belong to pairs, and that all annotators saw the same ones
    for own, file in zip(pairs, files, strict=True):
        if own.keys() != pairs[0].keys():
            odd = next(iter(own.keys() ^ pairs[0].keys()))
            raise InputError(f"{file}: image {odd}: id: is not in both this file and {files[0].name}")
    for columns, own in zip(labels, pairs, strict=True):
        columns.check_known(own)
    # Keep the pairs that every annotator labelled exhaustively
    records = [pair for key, pair in pairs[0].items() if all(each[key].is_instance_exhaustive for each in pairs)]
    return PairBatch(
        records=records,
        annotators=[each.instances(records) for each in labels],
        predictions=predictions.instances(records),
        presence=presence,
        notes=Notes(
            unknown_pairs=sum(image not in pairs[0] for image in predictions.images), unknown_categories=strangers
        ),
    )


class _Columns:
    """Collects records of one file field by field: many small objects kept alive would cost more time than all else."""

    def __init__(self, file: Path, name: str, kinds: Sequence[Kind]) -> None:
        self.file, self.name, self.kinds = file, name, kinds
        self.ids: list[Id | None] = []
        self.images: list[Id] = []
        self.scores: list[float] = []
        self.boxes: list[float] = []
        self.sizes: list[int] = []
        self.counts: list[str] = []

    def add(self, record: SacoLabel | SacoPrediction) -> None:
        """One label or prediction. Raises: InputError when it lacks what is to be scored."""
        is_label = isinstance(record, SacoLabel)
        self.ids.append(record.id if is_label else None)
        self.images.append(record.image_id)
        self.scores.append(1.0 if is_label else record.score)
        if "bbox" in self.kinds:
            self.boxes += record.bbox or self._lacks("bbox", "masks")
        if "segm" in self.kinds:
            segmentation = record.segmentation or self._lacks("segmentation", "boxes")
            self.sizes += segmentation.size
            counts = segmentation.counts
            try:
                self.counts.append(counts if isinstance(counts, str) else to_bytes(counts).decode())
            except ValueError as error:
                self._fail(-1, f"segmentation.counts: {error}")

    def check_known(self, images: Container[Id]) -> None:
        """Raises: InputError on a record of an image that there is not."""
        for row, image in enumerate(self.images):
            if image not in images:
                self._fail(row, f"image_id: there is no image {image}")

    def instances(self, records: list[SacoPair]) -> InstanceColumns:
        """Columns of those that belong to the pairs, in their order. Raises: InputError on a mask that is none."""
        index = {record.id: place for place, record in enumerate(records)}
        pair = np.array([index.get(image, -1) for image in self.images], np.int64)
        scores = np.array(self.scores, np.float64)
        order = np.lexsort((scores < SCORE_THRESHOLD, pair))
        order = order[pair[order] >= 0]
        boxes = np.array(self.boxes, np.float64).reshape(-1, 4) if "bbox" in self.kinds else np.zeros((len(pair), 4))
        return InstanceColumns(
            pair=pair[order],
            boxes_xywh=boxes[order],
            masks=self._masks(order, pair, records) if "segm" in self.kinds else None,
            scores=scores[order],
            texts=tuple(self.counts[row] for row in order) if "segm" in self.kinds else (),
        )

    def _masks(self, order: np.ndarray, pair: np.ndarray, records: list[SacoPair]) -> RunTable:
        sizes = np.array(self.sizes, np.int64).reshape(-1, 2)[order]
        expected = np.array([[each.height, each.width] for each in records], np.int64).reshape(-1, 2)[pair[order]]
        wrong = np.flatnonzero((sizes != expected).any(axis=1))
        if wrong.size:
            size, image = sizes[wrong[0]].tolist(), expected[wrong[0]].tolist()
            self._fail(int(order[wrong[0]]), f"segmentation.size: is {size}, the image is {image}")
        try:
            return RunTable.of([self.counts[row] for row in order], sizes[:, 0], sizes[:, 1])
        except DamagedMask as error:
            self._fail(int(order[error.row]), f"segmentation.counts: {error.reason}")

    def _lacks(self, field: str, other: str) -> NoReturn:
        self._fail(-1, f"{field}: is missing; --iou {other} does without it")

    def _fail(self, row: int, reason: str) -> NoReturn:
        known = {"image_id": self.images[row]} | ({} if self.ids[row] is None else {"id": self.ids[row]})
        raise InputError(f"{self.file}: {describe(known, self.name)}: {reason}")
