"""The page and the figures of a comparison of two runs."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from masklet.eval.analysis.compare import COMPARED, Comparison, PairChange
from masklet.eval.analysis.mistakes import MEANINGS
from masklet.eval.analysis.sweep import THRESHOLDS
from masklet.eval.reports.charts import Line, line_chart
from masklet.eval.reports.concept_report import HEADLINE, MOST_PHRASES, describe, scaled
from masklet.eval.reports.page import Card, Figure, Gallery, Report, Section, Table
from masklet.eval.reports.pair_pictures import beside, draw_pair, to_bytes

FORMAT, VERSION = "masklet-eval-compare", 1
SURE = 0.05  # p-values below this are called more than chance


def comparison_scores(found: Comparison, names: tuple[str, str]) -> dict[str, Any]:
    """The figures as JSON: fractions, the second run less the first."""
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
    """The page; pictures are looked for in the folders `images`. Raises: InputError when matplotlib is missing."""
    return Report(
        title=f"{names[1]} compared with {names[0]}",
        subtitle=f"{found.num_pairs:,} pairs: {found.num_better:,} got better, {found.num_worse:,} got worse",
        figures=[_figure(found, name) for name in COMPARED],
        sections=[
            _figure_table(found, names),
            *_error_tables(found, names),
            line_chart(
                "cgF1 by score threshold",
                [Line(n, THRESHOLDS, s.curves()["cgF1"]) for n, s in zip(names, found.sweeps, strict=True)],
                x_label="score threshold",
                y_label="cgF1, as a fraction",
                x_range=(0, 1),
                marks=[(0.5, "published")],
                note="Curves that differ at 0.5 but not in height are of runs that need different thresholds.",
            ),
            _phrase_table(found, names),
            _gallery("Pairs that got worse", found.worse, names, images),
            _gallery("Pairs that got better", found.better, names, images),
        ],
    )


def p_text(p_value: float) -> str:
    """A p-value with as many digits as the number of permutations gives."""
    return "< 0.001" if p_value < 0.001 else f"{p_value:.3f}"


def _figure(found: Comparison, name: str) -> Figure:
    each = found.figures[name]
    value, low, high = (scaled(name, number) for number in (each.change.value, each.change.low, each.change.high))
    verdict = f"p {p_text(each.p_value)}: " + ("more than chance" if each.p_value < SURE else "may be chance")
    return Figure(f"change in {HEADLINE[name]}", value, low, high, note=verdict)


def _figure_table(found: Comparison, names: tuple[str, str]) -> Table:
    rows = []
    for name, each in found.figures.items():
        numbers = (each.first, each.second, each.change.value, each.change.low, each.change.high)
        digits = 3 if name == "IL_MCC" else 1
        shown = [scaled(name, number) for number in numbers]
        texts = [f"{number:.{digits}f}" if number is not None else "" for number in shown]
        rows.append([HEADLINE[name], *texts[:3], f"{texts[3]} to {texts[4]}", p_text(each.p_value)])
    return Table(
        "Figures",
        ["figure", *names, "change", "95 % interval", "p"],
        rows,
        "The interval is from a bootstrap over images with the same weights for both runs. p is how often a change as "
        "large comes about when it is left to chance, image by image, which run a result belongs to.",
    )


def _error_tables(found: Comparison, names: tuple[str, str]) -> Iterator[Section]:
    first, second = (mistakes.total() for mistakes in found.mistakes)
    rows = [[kind, first[kind], second[kind], second[kind] - first[kind], MEANINGS[kind]] for kind in MEANINGS]
    yield Table("Errors by kind", ["error", *names, "change", "what it is"], rows)


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
    """Each phrase once, by how far its pair's own F1 moved."""
    return Gallery(
        title, [_card(change, names, images) for change in changes], "The pair that changed most, by phrase."
    )


def _card(change: PairChange, names: tuple[str, str], images: Sequence[Path]) -> Card:
    before, after = change.first, change.second
    pictures = [draw_pair(kept.outcome, kept.verdict, images) for kept in (before, after)]
    before_text, after_text = (describe(kept.outcome, kept.verdict).split("\n") for kept in (before, after))
    details = f"{names[0]}: {before_text[0]}\n{names[1]}: {after_text[0]}\n{after_text[2]}"
    tags = tuple(dict.fromkeys([*before.verdict.counts(), *after.verdict.counts()]))
    return Card(to_bytes(beside(pictures[0], pictures[1], names)), before.outcome.phrase, tags, details)
