"""The page of an evaluation of concepts, in the order in which one decides what to mend next.

What goes wrong and what it costs; where (subsets, sizes, phrases); thresholds, and whether scores can be trusted; all
figures; and what the errors look like. Made from the two files of a run, whose pairs are read once and not kept.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from masklet.errors import InputError
from masklet.eval.analysis.bootstrap import WeightedSums, averaged, intervals
from masklet.eval.analysis.mistakes import MEANINGS, Kept, Mistakes, Verdict
from masklet.eval.analysis.reliability import Reliability
from masklet.eval.analysis.sweep import MIN_PRESENT, PUBLISHED, THRESHOLDS, Sweep, best_threshold
from masklet.eval.concepts.count_rows import figures
from masklet.eval.concepts.outcomes import PairOutcome, RunFiles, read_outcomes
from masklet.eval.reports.charts import Line, bar_chart, line_chart
from masklet.eval.reports.page import Card, Chart, Figure, Gallery, Report, Section, Table
from masklet.eval.reports.pair_pictures import draw_pair, to_bytes

MOST_PHRASES = 200
HEADLINE = {  # names as published
    "cgF1": "cgF1",
    "IL_MCC": "IL_MCC",
    "positive_micro_F1": "pmF1",
    "positive_macro_F1": "macro F1",
}
_AS_THEY_ARE = ("IL_MCC", "count_MAE", "instances", "pairs")  # every other figure is shown in percent
_SETS = {"segm": "masks", "bbox": "boxes"}


Values = dict[str, int | float]


class Scores(TypedDict):
    """What `scores.json` holds: figures by kind of overlap, and of parts of the instances by kind, name and bucket."""

    format: Literal["masklet-eval-concepts"]
    version: Literal[1]
    settings: dict[str, Any]
    metrics: dict[str, Values]
    strata: dict[str, dict[str, dict[str, Values]]]


def build_concept_report(files: RunFiles, images: Sequence[Path]) -> Report:
    """The page of a run; its pictures are looked for in the folders `images`.

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
    return Report(
        title="Concepts in images",
        subtitle=f"{files.folder.resolve().name}: {num_pairs:,} pairs of image and phrase, {_overlap(scores)}",
        figures=_headline(counts, num_pairs, len(mistakes.phrases), sweep),
        sections=[
            *_error_sections(kinds, gains, mistakes),
            *_subset_sections(counts, mistakes),
            *_strata_sections(scores),
            _phrase_table(sweep, mistakes),
            *_threshold_charts(sweep),
            *_reliability_charts(sweep),
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
        raise InputError(f"{files.scores}: {place}: {first['msg']}") from error


def scaled(name: str, value: Any) -> float | int | None:
    """A figure as published tables print it: percent, but IL_MCC and counts as they are; None for none."""
    number = _number(value)
    if number is None or (name.startswith("positive_macro") and number == -1):
        return None
    return number if name in _AS_THEY_ARE else 100 * float(number)


def _number(value: Any) -> float | int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and np.isfinite(value) else None


def _overlap(scores: Scores) -> str:
    """How instances were compared in the outcomes: the first kind that was scored."""
    return f"compared by {_SETS.get(next(iter(scores['metrics']), ''), 'overlap')}"


def _headline(counts: WeightedSums, num_pairs: int, num_wrong: int, sweep: Sweep) -> list[Figure]:
    curve = sweep.curves()["cgF1"]
    best = best_threshold(curve)
    notes = {"cgF1": f"{100 * curve[best]:.1f} at score threshold {THRESHOLDS[best]:.2f}, the best here"}
    found = intervals(averaged(counts.sums()))
    shown = []
    for name, title in HEADLINE.items():
        value, low, high = (scaled(name, end) for end in (found[name].value, found[name].low, found[name].high))
        shown.append(Figure(title, value, low, high, note=notes.get(name, "95 % interval")))
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
        "Errors at score 0.5, those that cost most first. The last columns say by how much a figure would rise if "
        "errors of this kind, and no others, were mended. Absent, false and duplicate count predictions, the others "
        "instances. Without its wrong predictions an image may count as overlooked, hence losses.",
    )
    yield bar_chart(
        "What mending each kind would bring",
        kinds,
        [100 * gains[kind]["cgF1"] for kind in kinds],
        y_label="cgF1 gained, in points",
    )
    yield bar_chart("How often each kind occurs", kinds, [total[kind] for kind in kinds], y_label="errors")


def _subset_sections(counts: WeightedSums, mistakes: Mistakes) -> Iterator[Section]:
    sums = counts.sums()
    if len(sums) < 2:
        return
    rows = []
    for subset, replicates in sums.items():
        found = intervals(figures(replicates))
        rows.append([subset, int(replicates[0, :4].sum().round()), *_cells(found)])
    together = int(sum(row[1] for row in rows))
    rows.append(["average", together, *_cells(intervals(averaged(sums)))])
    columns = ["subset", "pairs"]
    for name in HEADLINE.values():
        columns += [name, "95 % interval"]
    yield Table("By subset", columns, rows, "The average weighs every subset alike, as published.")
    kinds = list(MEANINGS)
    yield Table(
        "Errors by subset",
        ["subset", *kinds],
        [[subset, *(mistakes.counts.get(subset, {}).get(kind, 0) for kind in kinds)] for subset in sums],
    )


def _cells(found: dict[str, Any]) -> list[str | float | int | None]:
    cells: list[str | float | int | None] = []
    for name in HEADLINE:
        low, high = (scaled(name, end) for end in (found[name].low, found[name].high))
        digits = 3 if name in _AS_THEY_ARE else 1
        known = low is not None and high is not None
        cells += [
            scaled(name, found[name].value),
            f"{low:.{digits}f} to {high:.{digits}f}".replace(" ", "\N{NO-BREAK SPACE}") if known else "",
        ]
    return cells


def _strata_sections(scores: Scores) -> Iterator[Section]:
    """Whatever parts of the instances the run has figures of; a part without instances has none."""
    for kind, strata in scores["strata"].items():
        for name, buckets in strata.items():
            columns = list(dict.fromkeys(metric for values in buckets.values() for metric in values))
            known = {b: values if values.get("instances") != 0 else {"instances": 0} for b, values in buckets.items()}
            rows = [[bucket, *(scaled(c, values.get(c)) for c in columns)] for bucket, values in known.items()]
            yield Table(f"By {name} ({_SETS.get(kind, kind)})", [name, *columns], rows)


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
        f"is given from {MIN_PRESENT} images that show the concept on; chosen on the pairs it is judged by, it "
        "flatters: `masklet calibrate` chooses by cross-validation.",
    )


def _gallery(kinds: Sequence[str], mistakes: Mistakes, images: Sequence[Path]) -> Gallery:
    """A pair that is among the worst of several kinds is shown once."""
    kept = {(item.outcome.subset, item.outcome.pair_id): item for kind in kinds for item in mistakes.worst(kind)}
    return Gallery(
        "What it looks like",
        [_card(item, images) for item in kept.values()],
        "The worst pairs of each kind of error, one for each phrase.",
    )


def _card(item: Kept, images: Sequence[Path]) -> Card:
    picture = to_bytes(draw_pair(item.outcome, item.verdict, images))
    return Card(picture, item.outcome.phrase, tuple(item.verdict.counts()), describe(item.outcome, item.verdict))


def describe(outcome: PairOutcome, verdict: Verdict) -> str:
    """What went wrong in a pair, in three lines."""
    counts = verdict.counts()
    errors = ", ".join(f"{counts[kind]} {kind}" for kind in MEANINGS if counts[kind]) or "no error"
    presence = "" if outcome.presence is None else f", presence {outcome.presence:.2f}"
    return (
        f"{errors}\n{len(verdict.truths)} labelled, {len(verdict.predictions)} predicted{presence}\n"
        f"{outcome.subset}: {outcome.image}"
    )


def _threshold_charts(sweep: Sweep) -> Iterator[Chart]:
    curves = sweep.curves()
    best = best_threshold(curves["cgF1"])
    marks = [(0.5, "published")] + ([(float(THRESHOLDS[best]), "best cgF1")] if best != PUBLISHED else [])
    yield line_chart(
        "Figures by score threshold",
        [Line(label, THRESHOLDS, curves[name]) for name, label in HEADLINE.items() if name != "positive_macro_F1"],
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


def _reliability_charts(sweep: Sweep) -> Iterator[Chart]:
    asked = "presence score" if sweep.has_presence else "best score of the pair"
    yield _reliability("Do scores mean what they say?", sweep.scores, "score", "share that match an instance")
    yield _reliability("Is the concept there?", sweep.presence, asked, "share of pairs that show it")


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
    rows = [[name, *(_number(values.get(name)) for values in metrics.values())] for name in names]
    columns = ["figure", *(_SETS.get(kind, kind) for kind in metrics)]
    return Table("All figures", columns, rows, "As scores.json has them: fractions, averaged over the subsets.")
