"""An evaluation of concepts from files to figures: bucket by bucket, in one process or several.

Memory is that of a bucket in each process, however large the files. Sums are available after each bucket. With a file
for outcomes, a line for each pair is written (see `outcomes`), which reports are made from.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TextIO

import numpy as np

from masklet.eval.concepts.buckets import PairBatch, Source, fill_buckets, read_batch
from masklet.eval.concepts.cgf1 import IOU_THRESHOLDS, SCORE_THRESHOLD
from masklet.eval.concepts.outcomes import PairOutcome, write_outcome
from masklet.eval.concepts.pairs import InstanceColumns, Judged, Kind
from masklet.eval.concepts.tally import ConceptTally, tally_batch
from masklet.eval.processes import map_in_processes
from masklet.files import replacing
from masklet.formats.stream import Buckets

BUCKET_BYTES = 2**24  # of text; Python objects of it take some ten times that


@dataclass(frozen=True, kw_only=True)
class PartialTally:
    """Sums of a subset after a share of its buckets."""

    subset: str
    share: float
    tally: ConceptTally


@dataclass(frozen=True, kw_only=True)
class ConceptEvaluation:
    """Sources to score by the kinds of overlap, in so many processes, with outcomes written to `outcomes`."""

    sources: tuple[Source, ...]
    kinds: tuple[Kind, ...]
    processes: int = 1
    outcomes: Path | None = None

    def run(self) -> Iterator[PartialTally]:
        """Scores bucket after bucket. Raises: InputError naming file, record and field."""
        with ExitStack() as stack:
            file = None
            if self.outcomes is not None:
                beside = stack.enter_context(replacing(self.outcomes))
                file = stack.enter_context(beside.open("w", encoding="utf-8", newline="\n"))
            for source in self.sources:
                yield from self._run_source(source, file)

    def _run_source(self, source: Source, outcomes: TextIO | None) -> Iterator[PartialTally]:
        count = 1 + source.num_bytes // BUCKET_BYTES
        tally: ConceptTally | None = None
        with TemporaryDirectory(prefix="masklet-eval-") as folder:
            with Buckets(Path(folder), count) as buckets:
                fill_buckets(source, buckets, SCORE_THRESHOLD if outcomes is None else 0.0)
            score = partial(score_bucket, source=source, kinds=self.kinds, with_outcomes=outcomes is not None)
            for done, (part, lines) in enumerate(map_in_processes(score, buckets.paths, self.processes), start=1):
                tally = part if tally is None else tally + part
                if outcomes is not None and lines is not None:
                    outcomes.write(lines.read_text(encoding="utf-8"))
                    lines.unlink()
                yield PartialTally(subset=source.subset.name, share=done / count, tally=tally)


def score_bucket(
    path: Path, *, source: Source, kinds: tuple[Kind, ...], with_outcomes: bool
) -> tuple[ConceptTally, Path | None]:
    """Sums of one bucket, and the file with a line for each of its pairs, if asked for."""
    batch = read_batch(path, source, kinds)
    path.unlink()
    tally, judged, chosen = tally_batch(batch, kinds)
    if not with_outcomes:
        return tally, None
    lines = path.with_suffix(".jsonl")
    with lines.open("w", encoding="utf-8", newline="\n") as file:
        for outcome in outcomes_of(batch, source.subset.name, judged[kinds[0]], chosen):
            write_outcome(file, outcome)
    return tally, lines


def outcomes_of(batch: PairBatch, subset: str, judged: Sequence[Judged], chosen: np.ndarray) -> Iterator[PairOutcome]:
    """The outcome of each pair against its chosen annotator; predictions best first."""
    predicted = _Rows(batch, batch.predictions)
    labelled = [_Rows(batch, each.truths) for each in judged]
    for pair, record in enumerate(batch.records):
        own = judged[chosen[pair]]
        truths, truth_rows = labelled[chosen[pair]], labelled[chosen[pair]].of(pair)
        rows = predicted.of(pair)
        order = np.argsort(-batch.predictions.scores[rows], kind="stable")
        yield PairOutcome(
            pair_id=record.id,
            phrase=record.text_input,
            image=record.file_name,
            subset=subset,
            height=record.height,
            width=record.width,
            scores=batch.predictions.scores[rows][order],
            iou=own.overlaps.of_pair(pair)[:, order],
            truth_areas=truths.areas[truth_rows],
            predicted_areas=predicted.areas[rows][order],
            truth_boxes_xyxy=truths.boxes_xyxy[truth_rows],
            predicted_boxes_xyxy=predicted.boxes_xyxy[rows][order],
            truth_counts=truths.counts(truth_rows),
            predicted_counts=predicted.counts(rows[order]),
            presence=batch.presence.get(record.id),
        )


class _Rows:
    """Instances by pair, with areas and boxes in pixels."""

    def __init__(self, batch: PairBatch, instances: InstanceColumns) -> None:
        self.ends = np.cumsum(instances.counts(len(batch.records)))
        sizes = np.array([[each.width, each.height] for each in batch.records], np.float64).reshape(-1, 2)
        scale = sizes[instances.pair]
        low, sides = instances.boxes_xywh[:, :2] * scale, instances.boxes_xywh[:, 2:] * scale
        self.boxes_xyxy = np.concatenate([low, low + sides], axis=1).round(2)
        self.areas = np.rint(sides.prod(axis=1)).astype(np.int64)
        self.texts = instances.texts
        if instances.masks is not None:
            self.areas, self.boxes_xyxy = instances.masks.areas, instances.masks.boxes_xyxy.astype(np.float64)

    def of(self, pair: int) -> np.ndarray:
        return np.arange(self.ends[pair - 1] if pair else 0, self.ends[pair])

    def counts(self, rows: np.ndarray) -> tuple[str, ...]:
        return tuple(self.texts[row] for row in rows) if self.texts else ()


def summarise(tallies: dict[str, ConceptTally], settings: dict[str, Any]) -> dict[str, Any]:
    """The content of `scores.json`: figures of each subset, also by IoU, their mean over subsets, and of parts.

    The published averages weigh every subset alike, whatever its size, and average cgF1 itself.
    """
    figures = {name: {kind: part.metrics() for kind, part in tally.kinds.items()} for name, tally in tallies.items()}
    firsts = {name: next(iter(tally.kinds.values())) for name, tally in tallies.items()}
    sizes = {
        name: {"pairs": each.num_pairs, "positive_pairs": int(each.counts.num_positive)}
        for name, each in firsts.items()
    }
    whole = [*tallies.values()]
    together = sum(whole[1:], whole[0])
    means: dict[str, dict[str, float]] = {}
    for kind in together.kinds:
        means[kind] = {}
        for each in figures[next(iter(figures))][kind]:
            values = [figures[name][kind][each] for name in figures]
            # -1 is what the macro mean of a subset says where no pair gives it.
            known = [value for value in values if not (each.startswith("positive_macro") and value == -1)]
            means[kind][each] = float(np.mean(known)) if known else -1.0
    curves = {
        name: {
            kind: {each: curve.tolist() for each, curve in part.counts.curves().items()}
            for kind, part in tally.kinds.items()
        }
        for name, tally in tallies.items()
    }
    return {
        "format": "masklet-eval-concepts",
        "version": 1,
        "settings": settings,
        "metrics": means,
        "subsets": {name: {**figures[name], **sizes[name]} for name in figures},
        "curves": {"IoU": IOU_THRESHOLDS.tolist(), "subsets": curves},
        "strata": {kind: part.strata() for kind, part in together.kinds.items()},
        "notes": vars(together.notes),
    }
