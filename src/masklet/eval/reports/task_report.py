"""Pages of evaluations that need no charts: headline figures and one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from masklet.eval.concepts.pairs import Kind
from masklet.eval.metrics import formatted
from masklet.eval.reports.page import Cell, Figure, Report, Table

PRECISIONS = ("AP_all", "AP_50", "AP_75", "AP_small", "AP_medium", "AP_large", "APr", "APc", "APf", "AR_all")
MOST_FIGURES = 6


@dataclass(frozen=True)
class TaskPage:
    """Titles of a page and of its table, the columns of the table where they are fixed, and the headline figures.

    Without names of `figures` the first few are shown; `percent` says that they are fractions.
    """

    title: str
    table: str
    columns: tuple[str, ...] = ()
    note: str = ""
    figures: tuple[str, ...] = ()
    percent: bool = False


PAGES: Mapping[str, TaskPage] = {
    "coco": TaskPage(
        "Average precision",
        "AP and AR",
        note="Percent; - where no object is labelled.",
        figures=PRECISIONS[:3],
        percent=True,
    ),
    "counting": TaskPage("Counting", "Worst first", ("phrase", "file", "labelled", "predicted")),
    "semantic": TaskPage("Semantic segmentation", "Classes, worst first", ("class", "IoU %")),
    "verdicts": TaskPage("Verdicts", "All", ("figure", "value")),
}


def build_task_report(
    task: str,
    settings: Mapping[str, Any],
    metrics: Mapping[str, float],
    rows: Sequence[Sequence[Cell]],
    columns: Sequence[str] = (),
) -> Report:
    """The page of a task of `PAGES`, from the figures and the rows of its table."""
    page = PAGES[task]
    names = [name for name in page.figures if name in metrics] or list(metrics)[:MOST_FIGURES]
    scale, unit = (100, "%") if page.percent else (1, "")
    return Report(
        title=page.title,
        subtitle=f"{settings['pred']} against {settings['gt']}",
        figures=[Figure(name, scale * metrics[name], unit=unit) for name in names],
        sections=[Table(page.table, page.columns or columns, rows, page.note)],
    )


def precision_table(metrics: Mapping[Kind, Mapping[str, float]]) -> Table:
    """Average precision and recall in percent, a row for each kind of overlap; - where no object is labelled."""
    names = [name for name in PRECISIONS if name in next(iter(metrics.values()))]
    rows = [
        [{"segm": "masks", "bbox": "boxes"}[kind], *(formatted(name, figures[name], 2) for name in names)]
        for kind, figures in metrics.items()
    ]
    return Table("", ["by", *names], rows)
