"""The page of a training run: validation, forgetting, examples, training curves, data and recipe.

It is made from the files in the folder of the run, at any time; sections without files are left out.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from masklet.data.doctor import SourceTally
from masklet.eval.analysis.compare import quality_of
from masklet.eval.analysis.forgetting import LOST_QUALITY, LOST_REJECTIONS, Forgetting
from masklet.eval.analysis.mistakes import judge
from masklet.eval.concepts.outcomes import PairOutcome, score_outcome
from masklet.eval.metrics import formatted, scaled
from masklet.eval.reports.charts import Line, line_chart
from masklet.eval.reports.page import Cell, Figure, Gallery, Report, Section, Table, interval_text
from masklet.eval.reports.pair_images import draw_pair_on, pair_card
from masklet.eval.reports.train_log import Record, training_curves

WORST, BEST = 12, 6  # images shown
FIGURES = ("cgF1", "IL_MCC", "pmF1")  # of a validation
_NO_NEGATIVES = (
    "Update 0 is the model before training. Every phrase asked is present, so rejection of absent phrases is not "
    "measured: label absent phrases, or more categories, for cgF1 and IL_MCC."
)

Pixels = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A remedy for what was forgotten: what it does, and its command."""

    what: str
    command: str


@dataclass(frozen=True, kw_only=True)
class TrainRun:
    """The files of a run: lines of its log and of its validations, and its recipe as plain values.

    `best` is the line of the validation whose weights are used. `outcomes` are the results of these weights on the
    validation images, which `pixels` reads by name; `tallies` are the contents of the sources.
    """

    name: str
    log: Sequence[Record] = ()
    validations: Sequence[Record] = ()
    best: Record | None = None
    recipe: Record = field(default_factory=dict)
    tallies: Mapping[str, SourceTally] = field(default_factory=dict)
    outcomes: Sequence[PairOutcome] = ()
    pixels: Callable[[str], Pixels] | None = None
    forgetting: Forgetting | None = None
    remedies: Sequence[Remedy] = ()

    @property
    def first(self) -> Record | None:
        """The validation of the base, before the first update."""
        return next((line for line in self.validations if line["step"] == 0), None)


def build_train_report(run: TrainRun) -> Report:
    """The page of a run. Raises: InputError when matplotlib is missing."""
    recipe = [[key, value] for key, value in _flat(run.recipe)]
    return Report(
        title=f"Training run {run.name}",
        subtitle=_subtitle(run),
        figures=_headline(run),
        sections=[
            *_validation_sections(run),
            *_forgetting_sections(run),
            *_gallery(run),
            *training_curves(run.log),
            *_data_table(run),
            *([Table("Recipe", ["setting", "value"], recipe, "As recipe.json has it.")] if recipe else []),
        ],
    )


def _subtitle(run: TrainRun) -> str:
    done = run.log[-1]["step"] if run.log else 0
    planned = sum(int(phase.get("steps", 0)) for phase in run.recipe.get("phases", ()))
    parts = [f"{done:,} of {planned:,} updates" if planned > done else f"{done:,} updates"]
    if run.recipe.get("initial_weights"):
        parts.append(f"from {run.recipe['initial_weights']}")
    if run.best is not None:
        parts.append(f"best after {run.best['step']:,}")
    return ", ".join(parts)


def _headline(run: TrainRun) -> list[Figure]:
    found = []
    if run.best is not None:
        for name in _shown_figures(run):
            before = "" if run.first is None else formatted(name, run.first["metrics"].get(name), 1, "")
            note = f"{before} before training" if before else ""
            found.append(Figure(name, scaled(name, run.best["metrics"].get(name)), note=note))
    if run.forgetting is not None:
        found += [
            Figure(
                f"Absent things rejected: {change.title[0].lower()}{change.title[1:]}",
                change.after.rejections,
                change.after.low,
                change.after.high,
                unit="%",
                note="" if change.before.rejections is None else f"{change.before.rejections:.1f} before training",
            )
            for change in run.forgetting.changes
            if change.after.rejections is not None
        ]
    return found


def _shown_figures(run: TrainRun) -> tuple[str, ...]:
    """The figures that validations give: pmF1 alone where every phrase asked is present."""
    has_negatives = any(row["negatives"] for line in run.validations for row in line["phrases"])
    return FIGURES if has_negatives else ("pmF1",)


# --- validation ---------------------------------------------------------------------------------------------------


def _validation_sections(run: TrainRun) -> list[Section]:
    if not run.validations:
        return []
    lines = sorted(run.validations, key=lambda line: line["step"])
    steps = [line["step"] for line in lines]
    curves = [
        Line(name, steps, np.array([scaled("pmF1", line["metrics"].get(name)) for line in lines], np.float64))
        for name in _shown_figures(run)
    ]
    sections: list[Section] = []
    if len(lines) > 1:
        marks = [] if run.best is None else [(run.best["step"], "best")]
        sections.append(
            line_chart(
                "On the validation images",
                curves,
                x_label="updates",
                y_label="percent; IL_MCC times 100" if len(curves) > 1 else "percent",
                marks=marks,
                note="Update 0 is the model before training." if len(curves) > 1 else _NO_NEGATIVES,
            )
        )
    return [*sections, *_phrase_table(run)]


def _phrase_table(run: TrainRun) -> list[Section]:
    """Figures of each phrase that some image shows, before and after; the least gain first."""
    if run.best is None:
        return []
    shown = [row for row in run.best["phrases"] if row["positives"]]
    absent = len(run.best["phrases"]) - len(shown)
    before = {} if run.first is None else {row["phrase"]: row for row in run.first["phrases"]}
    rows: list[list[Cell]] = []
    for row in shown:
        base = before.get(row["phrase"], {})
        old, new = scaled("pmF1", base.get("pmF1")), scaled("pmF1", row.get("pmF1"))
        gain = None if old is None or new is None else new - old
        others = [scaled(name, each.get(name)) for name in ("cgF1", "IL_MCC") for each in (base, row)]
        rows.append([row["phrase"], row["positives"], row["negatives"], old, new, gain, *others])
    rows.sort(key=lambda row: math.inf if row[5] is None else float(row[5]))
    columns = ["phrase", "shown in", "not in", "pmF1 before", "after", "gained", "cgF1 before", "after"]
    note = "Figures of the model before training and of the best weights; the least gain comes first."
    note += f" Another {absent} phrases were asked of images that do not show them." if absent else ""
    return [Table("By phrase", [*columns, "IL_MCC before", "after"], rows, note)]


# --- forgetting ---------------------------------------------------------------------------------------------------


def _forgetting_sections(run: TrainRun) -> list[Section]:
    if run.forgetting is None:
        return []
    sections: list[Section] = [_change_table(run.forgetting)]
    if run.remedies:
        rows = [[remedy.what, remedy.command] for remedy in run.remedies]
        sections.append(Table("What may help", ["what it does", "command"], rows))
    return [*sections, *_alarm_table(run.forgetting)]


def _change_table(found: Forgetting) -> Table:
    columns = [
        "questions",
        "when",
        "images",
        "absent phrases",
        "rejected, %",
        "95 % interval",
        "cgF1",
        "IL_MCC",
        "pmF1",
    ]
    rows = [
        [
            *(change.title, when, change.images, standing.absent, standing.rejections),
            interval_text(standing.low, standing.high, 1),
            *(standing.cgF1, standing.IL_MCC, standing.pmF1),
        ]
        for change in found.changes
        for when, standing in (("before", change.before), ("after", change.after))
    ]
    unsure = [change.title for change in found.changes if not change.sure]
    assumed = f" {unsure[0]}: their absence is assumed, not verified." if unsure else ""
    note = (
        f"{found.verdict[0].upper()}{found.verdict[1:]}. The same was asked before and after training. Lost means at "
        f"least {LOST_REJECTIONS:.0f} points of rejections with disjoint intervals, or {LOST_QUALITY:.0f} of pmF1; "
        f"less may be chance with so few questions.{assumed}"
    )
    return Table("What it cost elsewhere", columns, rows, note)


def _alarm_table(found: Forgetting) -> list[Section]:
    rows: list[list[Cell]] = []
    for change in found.changes:
        before, after = change.before.false_alarms, change.after.false_alarms
        for phrase in dict.fromkeys([*after, *before]):
            rows.append([phrase, before.get(phrase, 0), after.get(phrase, 0), change.title])
    rows.sort(key=lambda row: (-int(row[2] or 0), str(row[0])))
    note = "Images with a prediction for a phrase that is absent from them."
    columns = ["phrase", "images before", "images after", "questions"]
    return [Table("Absent phrases that were predicted", columns, rows[:100], note)] if rows else []


# --- examples -----------------------------------------------------------------------------------------------------


def _gallery(run: TrainRun) -> list[Section]:
    """The worst and the best results, one of each image; true negatives are not shown."""
    if run.pixels is None:
        return []
    ranked = [each for each in run.outcomes if len(each.iou) or quality_of(score_outcome(each)) < 1]
    ranked.sort(key=lambda each: quality_of(score_outcome(each)))
    half = -(-len({each.image for each in ranked}) // 2)
    worst = _one_of_each_image(ranked, min(WORST, half))
    best = [each for each in _one_of_each_image(ranked[::-1], BEST) if not any(each is other for other in worst)]
    cards = []
    for tag, each in (*(("worst", each) for each in worst), *(("best", each) for each in best)):
        verdict = judge(each)
        cards.append(
            pair_card(draw_pair_on(Image.fromarray(run.pixels(each.image)), each, verdict), each, verdict, tag)
        )
    note = "Validation images with the best weights: the worst results, one of each image, then the best."
    return [Gallery("What it looks like", cards, note)] if cards else []


def _one_of_each_image(outcomes: Sequence[PairOutcome], most: int) -> list[PairOutcome]:
    first: dict[str, PairOutcome] = {}
    for outcome in outcomes:
        first.setdefault(outcome.image, outcome)
    return list(first.values())[:most]


# --- what was trained ---------------------------------------------------------------------------------------------


def _data_table(run: TrainRun) -> list[Section]:
    if not run.tallies:
        return []
    rows = [
        [name, each.pictures, each.examined, each.phrases, each.objects, each.masks, each.positives, each.negatives]
        for name, each in run.tallies.items()
    ]
    columns = ["source", "images", "examined", "phrases", "objects", "with masks", "present phrases", "absent phrases"]
    note = "All but the first number are of the examined images. Absent phrases teach the model to reject."
    return [Table("Training data", columns, rows, note)]


def _flat(values: Any, key: str = "") -> list[tuple[str, str]]:
    """Dotted names and values as in overrides; empty ones are left out."""
    if isinstance(values, Mapping):
        return [pair for name, value in values.items() for pair in _flat(value, f"{key}.{name}" if key else str(name))]
    if isinstance(values, list) and values and all(isinstance(value, Mapping) for value in values):
        return [pair for place, value in enumerate(values) for pair in _flat(value, f"{key}.{place}")]
    if values is None or values == []:
        return []
    return [(key, values if isinstance(values, str) else json.dumps(values))]
