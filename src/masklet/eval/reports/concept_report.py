"""The page of an evaluation of concepts, in the order of deciding what to improve next.

Errors and their cost; where they occur (subsets, sizes, phrases); thresholds and the reliability of scores; all
figures; and examples of the errors. It is made from the two files of a run, whose pairs are read once and not kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from masklet.errors import InputError
from masklet.eval.analysis.bootstrap import Interval, WeightedSums, averaged, intervals
from masklet.eval.analysis.mistakes import MEANINGS, Mistakes
from masklet.eval.analysis.reliability import Reliability
from masklet.eval.analysis.sweep import MIN_PRESENT, PUBLISHED, THRESHOLDS, Sweep, best_threshold
from masklet.eval.concepts.cgf1 import ConceptCounts
from masklet.eval.concepts.outcomes import RunFiles, read_outcomes
from masklet.eval.metrics import METRICS, formatted, number, scaled
from masklet.eval.reports.charts import Line, bar_chart, line_chart
from masklet.eval.reports.page import Cell, Chart, Figure, Gallery, Report, Section, Table, interval_text
from masklet.eval.reports.pair_images import draw_pair, pair_card
from masklet.formats.records import explain

MOST_PHRASES = 200
HEADLINE = ("cgF1", "IL_MCC", "positive_micro_F1", "positive_macro_F1")
COLUMNS = (*HEADLINE[:3], "positive_micro_F1@0.5", HEADLINE[3], "IL_precision", "IL_recall", "count_MAE")
OF_POSITIVES = ("cgF1", "IL_MCC", "positive_micro_F1", "positive_micro_F1@0.5", "IL_precision", "IL_recall")
_KINDS = {"segm": "masks", "bbox": "boxes"}

Values = dict[str, int | float]


class Scores(TypedDict):
    """What `scores.json` holds: figures by kind of overlap, and of parts of the instances by kind, name and bucket."""

    format: Literal["masklet-eval-concepts"]
    version: Literal[1]
    settings: dict[str, Any]
    metrics: dict[str, Values]
    strata: dict[str, dict[str, dict[str, Values]]]


def build_concept_report(files: RunFiles, images: Sequence[Path]) -> Report:
    """The page of a run; its images are looked for in the folders `images`.

    Raises: InputError when a file of the run cannot be read, or matplotlib is missing.
    """
    scores = read_scores(files)
    counts, sweep, mistakes = WeightedSums(), Sweep(), Mistakes()
    num_pairs = 0
    for outcome in read_outcomes(files.outcomes):
        num_pairs += 1
        for part in (counts, sweep, mistakes):
            part.add(outcome)
    if not num_pairs:
        raise InputError(f"{files.outcomes}: holds no pairs")
    gains = mistakes.gains({subset: rows[0] for subset, rows in counts.sums().items()})
    kinds = sorted(MEANINGS, key=lambda kind: -gains[kind]["cgF1"])
    overlap = _KINDS.get(next(iter(scores["metrics"]), ""), "overlap")  # the first kind that was scored
    name = files.folder.resolve().name
    presence = "presence score" if sweep.has_presence else "best score of the pair"
    return Report(
        title="Concepts in images",
        subtitle=f"{name}: {num_pairs:,} pairs of image and phrase, compared by {overlap}",
        figures=_headline(counts, num_pairs, len(mistakes.phrases), sweep),
        sections=[
            *_error_sections(kinds, gains, mistakes),
            *_subset_sections(counts, mistakes),
            *_strata_sections(scores),
            _phrase_table(sweep, mistakes),
            *_threshold_charts(sweep),
            _reliability("Reliability of scores", sweep.scores, "score", "share that match an instance"),
            _reliability("Reliability of presence", sweep.presence, presence, "share of pairs that show it"),
            _confusion_table(sweep),
            _figure_table(scores),
            _gallery(kinds, mistakes, images),
        ],
    )


def read_scores(files: RunFiles) -> Scores:
    """The figures of a run. Raises: InputError when the file cannot be read or is of another kind of evaluation."""
    try:
        return TypeAdapter(Scores).validate_json(files.scores.read_bytes())
    except OSError as error:
        raise InputError(f"{files.scores}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the document"
        raise InputError(f"{files.scores}: {place}: {explain(first)}") from error


def concept_table(scores: Mapping[str, Any]) -> Table:
    """The main figures as text: a row for each subset and kind of overlap, and one for the mean of the subsets."""
    rows = []
    for kind, means in scores["metrics"].items():
        subsets = scores["subsets"]
        named = [(name, each[kind], each["pairs"], each["positive_pairs"]) for name, each in subsets.items()]
        if len(named) > 1:
            pairs, positive = (sum(each[place] for each in named) for place in (2, 3))
            named.append(("mean of subsets", means, pairs, positive))
        for name, values, pairs, positive in named:
            shown = values | dict.fromkeys(() if positive else OF_POSITIVES)
            rows.append([name, _KINDS[kind], str(pairs), *(formatted(key, shown[key], 2) for key in COLUMNS)])
    return Table("", ["subset", "by", "pairs", *(METRICS[name].title for name in COLUMNS)], rows)


def _headline(counts: WeightedSums, num_pairs: int, num_wrong: int, sweep: Sweep) -> list[Figure]:
    curve = sweep.curves()["cgF1"]
    best = best_threshold(curve)
    notes = {"cgF1": f"{100 * curve[best]:.1f} at score threshold {THRESHOLDS[best]:.2f}, the best here"}
    found = intervals(averaged(counts.sums()))
    shown = []
    nothing = not any(ConceptCounts(sums=rows[0]).num_positive for rows in counts.sums().values())
    for name in HEADLINE:
        if nothing:
            shown.append(Figure(METRICS[name].title, None, note="no image has what it was asked for"))
            continue
        value, low, high = (scaled(name, end) for end in (found[name].value, found[name].low, found[name].high))
        shown.append(Figure(METRICS[name].title, value, low, high, note=notes.get(name, "95 % interval")))
    phrases = len(sweep.phrases())
    return [*shown, Figure("Phrases", phrases, note=f"{num_wrong:,} with an error"), Figure("Pairs", num_pairs)]


def _error_sections(kinds: Sequence[str], gains: dict[str, dict[str, float]], mistakes: Mistakes) -> Iterator[Section]:
    total = mistakes.total()
    columns = ["error", "count", "pairs", "cgF1 +", "IL_MCC +", "pmF1 +", "what it is"]
    names = ("cgF1", "IL_MCC", "positive_micro_F1")
    yield Table(
        "What goes wrong",
        columns,
        [
            [kind, total[kind], mistakes.pairs[kind], *(scaled(n, gains[kind][n]) for n in names), MEANINGS[kind]]
            for kind in kinds
        ],
        "Errors at score 0.5, the most costly first. The + columns hold the gain of a figure if errors of this kind "
        "alone were corrected. Absent, false and duplicate count predictions, the others instances. An image without "
        "its wrong predictions may count as overlooked, so a gain can be negative.",
    )
    yield bar_chart(
        "Gain from correcting each kind",
        kinds,
        [100 * gains[kind]["cgF1"] for kind in kinds],
        y_label="cgF1 gained, in points",
    )
    yield bar_chart("Number of errors of each kind", kinds, [total[kind] for kind in kinds], y_label="errors")


def _subset_sections(counts: WeightedSums, mistakes: Mistakes) -> Iterator[Section]:
    sums = counts.sums()
    if len(sums) < 2:
        return
    rows = []
    for subset, replicates in sums.items():
        found = intervals(ConceptCounts(sums=replicates).figures())
        rows.append([subset, int(replicates[0, :4].sum().round()), *_cells(found)])
    together = int(sum(row[1] for row in rows))
    rows.append(["average", together, *_cells(intervals(averaged(sums)))])
    columns = ["subset", "pairs"]
    for name in HEADLINE:
        columns += [METRICS[name].title, "95 % interval"]
    yield Table("By subset", columns, rows, "The average weighs every subset alike, as published.")
    kinds = list(MEANINGS)
    yield Table(
        "Errors by subset",
        ["subset", *kinds],
        [[subset, *(mistakes.counts.get(subset, {}).get(kind, 0) for kind in kinds)] for subset in sums],
    )


def _cells(found: Mapping[str, Interval]) -> list[Cell]:
    cells: list[Cell] = []
    for name in HEADLINE:
        low, high = (scaled(name, end) for end in (found[name].low, found[name].high))
        interval = interval_text(low, high, METRICS[name].digits or 1).replace(" ", "\N{NO-BREAK SPACE}")
        cells += [scaled(name, found[name].value), interval]
    return cells


def _strata_sections(scores: Scores) -> Iterator[Section]:
    """Figures of parts of the instances, as far as the run has them; a part without instances has none."""
    for kind, strata in scores["strata"].items():
        for name, buckets in strata.items():
            columns = list(dict.fromkeys(metric for values in buckets.values() for metric in values))
            known = {b: values if values.get("instances") != 0 else {"instances": 0} for b, values in buckets.items()}
            rows = [[bucket, *(scaled(c, values.get(c)) for c in columns)] for bucket, values in known.items()]
            yield Table(f"By {name} ({_KINDS.get(kind, kind)})", [name, *columns], rows)


def _phrase_table(sweep: Sweep, mistakes: Mistakes) -> Table:
    found = sweep.phrases()
    rows = []
    for each in found[:MOST_PHRASES]:
        kinds = mistakes.phrases.get(each.phrase)
        worst = kinds.most_common(1)[0][0] if kinds else ""
        best = None if each.best_f1 is None else 100 * each.best_f1
        counts = [each.pairs, each.present, each.truths, each.errors, each.false_alarms, each.overlooked]
        rows.append([each.phrase, *counts, 100 * each.f1, each.best_threshold, best, worst])
    columns = ["phrase", "pairs", "present in", "instances", "errors", "false alarms", "overlooked"]
    columns += ["F1", "best threshold", "F1 there", "mostly"]
    return Table(
        "Phrases with most errors",
        columns,
        rows,
        f"The first {min(MOST_PHRASES, len(found)):,} of {len(found):,} phrases. F1 is at score 0.5 and IoU 0.5 and "
        "counts predictions where the concept is absent; false alarms and overlooked count images. The best threshold "
        f"needs {MIN_PRESENT} images with the concept. Chosen on the pairs it is judged by, it is optimistic: "
        "`masklet calibrate` chooses by cross-validation.",
    )


def _gallery(kinds: Sequence[str], mistakes: Mistakes, images: Sequence[Path]) -> Gallery:
    """The worst pairs; one that is among the worst of several kinds is shown once."""
    kept = {(item.outcome.subset, item.outcome.pair_id): item for kind in kinds for item in mistakes.worst(kind)}
    cards = [
        pair_card(draw_pair(each.outcome, each.verdict, images), each.outcome, each.verdict) for each in kept.values()
    ]
    return Gallery("What it looks like", cards, "The worst pairs of each kind of error, one for each phrase.")


def _threshold_charts(sweep: Sweep) -> Iterator[Chart]:
    curves = sweep.curves()
    best = best_threshold(curves["cgF1"])
    marks = [(0.5, "published")] + ([(float(THRESHOLDS[best]), "best cgF1")] if best != PUBLISHED else [])
    yield line_chart(
        "Figures by score threshold",
        [Line(METRICS[name].title, THRESHOLDS, curves[name]) for name in HEADLINE[:3]],
        x_label="score threshold",
        y_label="figure, as a fraction",
        x_range=(0, 1),
        y_range=(min(0.0, float(curves["IL_MCC"].min())), 1),
        marks=marks,
        note="Matched anew at each threshold. Thresholds below the one predictions were cut at change nothing.",
    )
    yield line_chart(
        "Precision and recall of instances",
        [Line("", curves["recall"], curves["precision"])],
        x_label="recall",
        y_label="precision",
        x_range=(0, 1),
        y_range=(0, 1),
        note=f"Mean over IoU 0.5 to 0.95, one point for each score threshold from {THRESHOLDS[0]} to {THRESHOLDS[-1]}.",
    )


def _reliability(title: str, found: Reliability, x_label: str, y_label: str) -> Chart:
    used = found.counts > 0
    counts = ", ".join(f"{count:,}" for count in found.counts)
    return line_chart(
        title,
        [Line("", found.confidence[used], found.accuracy[used], *(bound[used] for bound in found.interval))],
        x_label=x_label,
        y_label=y_label,
        x_range=(0, 1),
        y_range=(0, 1),
        diagonal=True,
        note=f"On the diagonal a score is a probability; the band is a 95 % interval. Expected calibration error "
        f"{found.error:.3f}. In each tenth of scores: {counts}.",
    )


def _confusion_table(sweep: Sweep) -> Table:
    found = sweep.confusion()
    rows = [[subset, *counts] for subset, counts in found.items()]
    if len(found) > 1:
        rows.append(["all", *(int(column) for column in np.sum(list(found.values()), axis=0))])
    columns = ["subset", "there and predicted", "absent but predicted", "absent, not predicted", "there, not predicted"]
    return Table("Pairs by presence", columns, rows, "At score 0.5, as IL_MCC counts them.")


def _figure_table(scores: Scores) -> Table:
    metrics = scores["metrics"]
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))
    rows = [[name, *(number(values.get(name)) for values in metrics.values())] for name in names]
    columns = ["figure", *(_KINDS.get(kind, kind) for kind in metrics)]
    return Table("All figures", columns, rows, "As scores.json has them: fractions, averaged over the subsets.")
