"""The comparison of two runs: its figures, table and page."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from masklet.eval.analysis.compare import COMPARED, Comparison, PairChange
from masklet.eval.analysis.mistakes import MEANINGS
from masklet.eval.analysis.sweep import THRESHOLDS
from masklet.eval.metrics import METRICS, formatted, scaled
from masklet.eval.reports.charts import Line, line_chart
from masklet.eval.reports.concept_report import MOST_PHRASES
from masklet.eval.reports.page import Card, Figure, Gallery, Report, Table
from masklet.eval.reports.pair_images import beside, describe_pair, draw_pair, to_bytes

FORMAT, VERSION = "masklet-eval-compare", 1
SIGNIFICANT = 0.05  # p-values below it are called more than chance
_FIGURES_NOTE = (
    "The interval is from a bootstrap over images with the same weights for both runs. p is how often a "
    "change as large comes about when chance decides, image by image, which run a result belongs to."
)


def comparison_scores(found: Comparison, names: tuple[str, str]) -> dict[str, Any]:
    """The figures for programs: fractions, the second run less the first."""
    figures = {
        name: {
            "first": each.first,
            "second": each.second,
            "difference": each.change.value,
            "low": each.change.low,
            "high": each.change.high,
            "p_value": each.p_value,
        }
        for name, each in found.figures.items()
    }
    counts = {"pairs": found.num_pairs, "better": found.num_better, "worse": found.num_worse}
    return {"format": FORMAT, "version": VERSION, "runs": list(names), "figures": figures, **counts}


def build_compare_report(found: Comparison, names: tuple[str, str], images: Sequence[Path]) -> Report:
    """The page; images are looked for in the folders `images`. Raises: InputError when matplotlib is missing."""
    first, second = (mistakes.total() for mistakes in found.mistakes)
    errors = [[kind, first[kind], second[kind], second[kind] - first[kind], MEANINGS[kind]] for kind in MEANINGS]
    figures = []
    for name in COMPARED:
        each = found.figures[name]
        value, low, high = (scaled(name, number) for number in (each.change.value, each.change.low, each.change.high))
        verdict = "more than chance" if each.p_value < SIGNIFICANT else "may be chance"
        note = f"p {p_text(each.p_value)}: {verdict}"
        figures.append(Figure(f"change in {METRICS[name].title}", value, low, high, note=note))
    return Report(
        title=f"{names[1]} compared with {names[0]}",
        subtitle=f"{found.num_pairs:,} pairs: {found.num_better:,} got better, {found.num_worse:,} got worse",
        figures=figures,
        sections=[
            replace(comparison_table(found, names, 1, ""), title="Figures", note=_FIGURES_NOTE),
            Table("Errors by kind", ["error", *names, "change", "what it is"], errors),
            line_chart(
                "cgF1 by score threshold",
                [Line(n, THRESHOLDS, s.curves()["cgF1"]) for n, s in zip(names, found.sweeps, strict=True)],
                x_label="score threshold",
                y_label="cgF1, as a fraction",
                x_range=(0, 1),
                marks=[(0.5, "published")],
                note="Runs whose curves differ at 0.5 but reach the same height need different thresholds.",
            ),
            _phrase_table(found, names),
            _gallery("Pairs that got worse", found.worse, names, images),
            _gallery("Pairs that got better", found.better, names, images),
        ],
    )


def p_text(p_value: float) -> str:
    """A p-value with the digits that the number of permutations supports."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def comparison_table(found: Comparison, names: tuple[str, str], digits: int = 2, nothing: str = "-") -> Table:
    """Figures of both runs as text, the second less the first, its interval and the p-value."""
    rows = []
    for name, each in found.figures.items():
        numbers = (each.first, each.second, each.change.value, each.change.low, each.change.high)
        texts = [formatted(name, number, digits, nothing) for number in numbers]
        rows.append([METRICS[name].title, *texts[:3], f"{texts[3]} to {texts[4]}", p_text(each.p_value)])
    return Table("", ["figure", *names, "change", "95 % interval", "p"], rows)


def _phrase_table(found: Comparison, names: tuple[str, str]) -> Table:
    changed = [each for each in found.phrases if each.errors[0] != each.errors[1] or each.f1[0] != each.f1[1]]
    rows = [
        [
            each.phrase,
            each.pairs,
            each.truths,
            *each.errors,
            each.errors[1] - each.errors[0],
            *(100 * f1 for f1 in each.f1),
        ]
        for each in changed[:MOST_PHRASES]
    ]
    columns = ["phrase", "pairs", "instances", *(f"errors, {name}" for name in names), "change"]
    return Table(
        "Phrases that changed most",
        [*columns, *(f"F1, {name}" for name in names)],
        rows,
        f"The first {len(rows):,} of {len(changed):,} phrases that changed, at score 0.5 and IoU 0.5.",
    )


def _gallery(title: str, changes: Sequence[PairChange], names: tuple[str, str], images: Sequence[Path]) -> Gallery:
    cards = []
    for change in changes:
        both = (change.first, change.second)
        drawings = [draw_pair(kept.outcome, kept.verdict, images) for kept in both]
        before, after = (describe_pair(kept.outcome, kept.verdict).split("\n") for kept in both)
        details = f"{names[0]}: {before[0]}\n{names[1]}: {after[0]}\n{after[2]}"
        tags = tuple(dict.fromkeys(tag for kept in both for tag in kept.verdict.counts()))
        image = to_bytes(beside(drawings[0], drawings[1], names))
        cards.append(Card(image, change.first.outcome.phrase, tags, details))
    return Gallery(title, cards, "The pair that changed most, by phrase.")
