"""Results of simulated users as curves, for a table, a plot and a page. Values are percentages."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from masklet.eval.reports.charts import Line, line_chart
from masklet.eval.reports.page import Cell, Chart, Figure, Report, Table
from masklet.eval.users.interactive import TARGETS


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Percentages after `first`, `first` + 1, ... steps of a user; None where nothing is averaged."""

    name: str
    first: int
    values: Sequence[float | None]

    @classmethod
    def of(cls, name: str, fractions: Sequence[float | None], first: int = 1) -> "Curve":
        """From values in [0, 1]."""
        return cls(name=name, first=first, values=[None if value is None else 100 * value for value in fractions])

    def at(self, step: int) -> float | None:
        """The value after so many steps; None outside the curve."""
        place = step - self.first
        return self.values[place] if 0 <= place < len(self.values) else None


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Curves of one drawing."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]

    def draw(self) -> Chart:
        """The drawing; curves without a value are left out. Raises: InputError when matplotlib is missing."""
        lines = [
            Line(
                curve.name,
                np.arange(curve.first, curve.first + len(curve.values)),
                np.array([np.nan if value is None else value for value in curve.values], np.float64),
            )
            for curve in self.curves
            if any(value is not None for value in curve.values)
        ]
        return line_chart(self.title, lines, x_label=self.x_label, y_label=self.y_label)

    def table(self, title: str) -> Table:
        """Values in percent, a row for each step."""
        first = min(curve.first for curve in self.curves)
        last = max(curve.first + len(curve.values) for curve in self.curves)
        rows: list[list[Cell]] = [[step, *(curve.at(step) for curve in self.curves)] for step in range(first, last)]
        return Table(title, [self.x_label, *(curve.name for curve in self.curves)], rows)


def image_plots(figures: dict[str, Any]) -> list[Plot]:
    """Of `interactive.image_figures`."""
    sizes = [Curve.of(name, each["mean_IoU"]) for name, each in figures["by_size"].items() if each["objects"]]
    reached = [Curve.of(f"IoU {100 * t:g} %", figures["targets"][f"{t:g}"]["reached"]) for t in TARGETS]
    return [
        Plot(
            title="Mean IoU by clicks",
            x_label="clicks",
            y_label="mean IoU in %",
            curves=[Curve.of("all objects", figures["mean_IoU"]), *sizes],
        ),
        Plot(title="Objects done by clicks", x_label="clicks", y_label="share of objects in %", curves=reached),
    ]


def video_plots(figures: dict[str, Any]) -> list[Plot]:
    """Of `interactive_video.video_figures`."""
    curves = [Curve.of("offline", figures["offline_J&F"]), Curve.of("online", figures["online_J&F"])]
    return [Plot(title="J&F by frames clicked on", x_label="frames clicked on", y_label="J&F in %", curves=curves)]


def exemplar_plots(figures: dict[str, Any]) -> list[Plot]:
    """Of `exemplars.ExemplarCurves.figures`."""
    named = [("words, then examples", "words"), ("words, then mended by hand", "by_hand")]
    shared = [[Curve.of(name, figures[key][metric], 0) for name, key in named] for metric in ("cgF1", "pmF1")]
    alone = Curve.of("examples alone", figures["examples"]["pmF1"])
    return [
        Plot(title="cgF1 by examples", x_label="examples", y_label="cgF1 in %", curves=shared[0]),
        Plot(title="pmF1 by examples", x_label="examples", y_label="pmF1 in %", curves=[*shared[1], alone]),
    ]


PLOTS = {"images": image_plots, "videos": video_plots, "exemplars": exemplar_plots}


def make_page(mode: str, subtitle: str, figures: dict[str, Any], plots: Sequence[Plot]) -> Report:
    """A page with the values of the first plot after a few steps and after all of them, the drawings, and all values.

    Raises: InputError when matplotlib is missing.
    """
    plot = plots[0]
    name = plot.title.partition(" by ")[0]
    shown = []
    for curve in plot.curves[:1] if mode == "images" else plot.curves:
        last = curve.first + len(curve.values) - 1
        usual = (step for step in (3, 5) if curve.first < step < last)  # as published
        for step in sorted({curve.first, last, *usual}):
            note = f"{curve.name}, {plot.x_label}: {step}"
            shown.append(Figure(name, curve.at(step), unit="%", note=note))
    for target, each in figures.get("targets", {}).items():
        shown.append(Figure(f"clicks to {100 * float(target):g} % IoU", each["clicks"], note="mean over objects"))
    return Report(
        title=f"Simulated users: {mode}",
        subtitle=subtitle,
        figures=shown,
        sections=[*(plot.draw() for plot in plots), *(plot.table(f"{plot.title}: values") for plot in plots)],
    )
