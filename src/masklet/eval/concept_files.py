"""From files to columns: one bucket of SA-Co records as the instances of its pairs.

A bucket holds everything that was said of some pairs: the pairs themselves and their labels by each annotator, and the
predictions. Pairs that any annotator did not label exhaustively are left out, and so are labels of crowds.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from masklet.errors import InputError
from masklet.eval.concept import SCORE_THRESHOLD
from masklet.eval.pairs import Instances, Kind
from masklet.eval.saco import LabelRecord, PairRecord, PredictionRecord, Subset, check
from masklet.eval.stream import Buckets, iterate_items, read_bucket
from masklet.ops.runs import DamagedMask, RunTable


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of one subset: labels of each annotator, predictions, and what a model said of presence."""

    subset: Subset
    predictions: Path
    presence: Path | None = None

    @property
    def num_bytes(self) -> int:
        """Size of all files."""
        return sum(path.stat().st_size for path in (*self.subset.files, self.predictions))


@dataclass(frozen=True, kw_only=True)
class Notes:
    """What was passed over: predictions of pairs that no file holds, and of categories that the labels do not have."""

    unknown_pairs: int = 0
    unknown_categories: int = 0

    def __add__(self, other: "Notes") -> "Notes":
        return Notes(**{name: value + getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True, kw_only=True, eq=False)
class PairBatch:
    """The evaluated pairs of a bucket, what each annotator saw there, and what was predicted."""

    records: list[dict[str, Any]]
    annotators: list[Instances]
    predictions: Instances
    presence: dict[int, float]
    notes: Notes


def fill_buckets(source: Source, buckets: Buckets) -> None:
    """Puts every record of the files into the bucket of its pair. Raises: InputError on a record that is not whole."""
    categories: set[int] = set()
    for annotator, path in enumerate(source.subset.files):
        sections = set()
        for section, value, text in iterate_items(path):
            sections.add(section)
            if section == "images":
                buckets.add(check(PairRecord, value, path, section)["id"], f"i{annotator}", text)
            elif section == "annotations":
                buckets.add(check(LabelRecord, value, path, section)["image_id"], f"a{annotator}", text)
            elif section == "categories" and annotator == 0 and isinstance(value, dict):
                categories.add(value.get("id", 1))
        if "images" not in sections:
            raise InputError(f"{path}: has no images: these are no SA-Co labels")
    for section, value, text in iterate_items(source.predictions):
        if section:
            raise InputError(f"{source.predictions}: a list of predictions is expected, not an object")
        record = check(PredictionRecord, value, source.predictions, "")
        known = not categories or record.get("category_id", 1) in categories
        buckets.add(record["image_id"], "p" if known else "x", text)
    if source.presence is not None:
        with source.presence.open(encoding="utf-8") as file:
            for line in file:
                buckets.add(json.loads(line)["image_id"], "q", line.rstrip("\n"))


def read_batch(path: Path, source: Source, kinds: Sequence[Kind]) -> PairBatch:
    """The bucket at `path` as columns. Raises: InputError naming file, record and field."""
    lines: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for tag, text in read_bucket(path):
        lines[tag].append(json.loads(text))
    files = source.subset.files
    by_annotator = [_by_id(lines[f"i{annotator}"], file) for annotator, file in enumerate(files)]
    for pairs, file in zip(by_annotator[1:], files[1:], strict=True):
        if pairs.keys() != by_annotator[0].keys():
            odd = next(iter(pairs.keys() ^ by_annotator[0].keys()))
            raise InputError(f"{file}: pair {odd} is not in both this file and {files[0].name}")
    records = [
        record
        for key, record in by_annotator[0].items()
        if all(pairs[key].get("is_instance_exhaustive", 1) for pairs in by_annotator)
    ]
    build = _Builder(records, kinds)
    unknown = sum(record["image_id"] not in by_annotator[0] for record in lines["p"])
    return PairBatch(
        records=records,
        annotators=[
            build.instances([each for each in lines[f"a{annotator}"] if not each.get("iscrowd")], file, "annotations")
            for annotator, file in enumerate(files)
        ],
        predictions=build.instances(lines["p"], source.predictions, ""),
        presence={record["image_id"]: record["presence"] for record in lines["q"]},
        notes=Notes(unknown_pairs=unknown, unknown_categories=len(lines["x"])),
    )


def _by_id(records: list[dict[str, Any]], file: Path) -> dict[int, dict[str, Any]]:
    pairs = {record["id"]: record for record in records}
    if len(pairs) < len(records):
        twice = next(record["id"] for record in records if pairs[record["id"]] is not record)
        raise InputError(f"{file}: image {twice}: id: stands there twice")
    return pairs


class _Builder:
    """Makes columns of records, for the pairs that are evaluated."""

    def __init__(self, records: list[dict[str, Any]], kinds: Sequence[Kind]) -> None:
        self.records, self.kinds = records, kinds
        self.index = {record["id"]: index for index, record in enumerate(records)}

    def instances(self, found: list[dict[str, Any]], file: Path, section: str) -> Instances:
        found = [record for record in found if record["image_id"] in self.index]
        pair = np.array([self.index[record["image_id"]] for record in found], np.int64)
        scores = np.array([record.get("score", 1.0) for record in found], np.float64)
        order = np.lexsort((scores < SCORE_THRESHOLD, pair))
        found = [found[row] for row in order]
        for record in found:
            self._check_complete(record, file, section)
        boxes = [record.get("bbox") or (0.0,) * 4 for record in found]
        return Instances(
            pair=pair[order],
            boxes_xywh=np.array(boxes, np.float64).reshape(-1, 4),
            masks=self._masks(found, file, section) if "segm" in self.kinds else None,
            scores=scores[order],
        )

    def _check_complete(self, record: dict[str, Any], file: Path, section: str) -> None:
        for kind, field, other in (("segm", "segmentation", "boxes"), ("bbox", "bbox", "masks")):
            if kind in self.kinds and record.get(field) is None:
                raise InputError(f"{_name(record, file, section)}: {field}: is missing; --iou {other} does without it")

    def _masks(self, found: list[dict[str, Any]], file: Path, section: str) -> RunTable:
        for record in found:
            pair = self.records[self.index[record["image_id"]]]
            size = record["segmentation"]["size"]
            if size != [pair["height"], pair["width"]]:
                expected = f"[{pair['height']}, {pair['width']}]"
                raise InputError(f"{_name(record, file, section)}: segmentation.size: is {size}, its image {expected}")
        sizes = np.array([record["segmentation"]["size"] for record in found], np.int64).reshape(-1, 2)
        try:
            return RunTable.of([record["segmentation"]["counts"] for record in found], sizes[:, 0], sizes[:, 1])
        except DamagedMask as error:
            raise InputError(
                f"{_name(found[error.row], file, section)}: segmentation.counts: {error.reason}"
            ) from error


def _name(record: dict[str, Any], file: Path, section: str) -> str:
    kind = "annotation" if section else "prediction"
    return f"{file}: {kind} {record['id']}" if "id" in record else f"{file}: a {kind} of image {record['image_id']}"
