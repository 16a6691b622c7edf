"""Charts as SVG text for a page: lines with bands, and bars.

matplotlib lays them out; its colours are then replaced by those of the page, so that a chart is readable on light and
dark backgrounds. The same numbers give the same text.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from masklet.errors import InputError
from masklet.eval.reports.page import Chart, decimals, show

Numbers = Sequence[float | int] | np.ndarray

# Okabe and Ito's colours, distinguishable with any colour vision; here yellow is darker and black lighter.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b8860b", "#3a9bd9", "#7a5cc4", "#5c6370")
_STYLES = ("-", "--", ":")
_TEXT, _GRID = "#1c1f26", "#dde1e7"
_PAGE_COLOURS = {_TEXT: "currentColor", _GRID: f"var(--line, {_GRID})"} | {
    colour: f"var(--series-{number}, {colour})" for number, colour in enumerate(SERIES, start=1)
}
_LONGEST_LABEL = 40


@dataclass(frozen=True)
class Line:
    """Points in order of x, with a band from `low` to `high` where both are given; NaN in `y` leaves a gap."""

    name: str
    x: Numbers
    y: Numbers
    low: Numbers | None = None
    high: Numbers | None = None


def line_chart(  # noqa: PLR0913 - each says what to draw
    title: str,
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    x_range: tuple[float | int, float | int] | None = None,
    y_range: tuple[float | int, float | int] | None = None,
    diagonal: bool = False,
    marks: Sequence[tuple[float | int, str]] = (),
    note: str = "",
) -> Chart:
    """Lines over a common x axis; `marks` are vertical lines with a label, `diagonal` is where x and y are equal.

    Raises: InputError when matplotlib is missing.
    """
    figure, axes = _canvas(6.4, 4.0)
    if diagonal:
        axes.axline((0, 0), slope=1, color=SERIES[7], linewidth=1, linestyle="--")
    for index, line in enumerate(lines):
        style = {"color": SERIES[index % len(SERIES)], "linestyle": _STYLES[index // len(SERIES) % len(_STYLES)]}
        marker = "o" if len(line.x) <= 20 else ""
        axes.plot(line.x, line.y, label=_plain(line.name), linewidth=1.8, marker=marker, markersize=3.5, **style)
        if line.low is not None and line.high is not None:
            axes.fill_between(line.x, line.low, line.high, color=style["color"], alpha=0.18, linewidth=0)
    axes.set(xlim=_padded(x_range), ylim=_padded(y_range))
    if all(float(x).is_integer() for line in lines for x in line.x):
        axes.xaxis.get_major_locator().set_params(integer=True)  # steps have no values between them
    _label(axes, x_label, y_label)
    for number, (x, text) in enumerate(sorted(marks), start=1):
        axes.axvline(x, color=_TEXT, linewidth=1, linestyle=":")
        side = "left" if number == len(marks) else "right"  # keeps two close marks apart
        place = {"xy": (x, 1.01), "xycoords": ("data", "axes fraction"), "ha": side, "va": "bottom"}
        axes.annotate(_plain(text), **place, fontsize=9, color=_TEXT, parse_math=False)
    if len(lines) > 1:
        # Below the chart, where it covers no line
        style = {"frameon": False, "fontsize": 9, "labelcolor": _TEXT}
        for text in figure.legend(loc="outside lower center", ncols=min(len(lines), 3), **style).get_texts():
            text.set_parse_math(False)
    return Chart(title, _to_svg(figure), note)


def bar_chart(title: str, labels: Sequence[str], values: Numbers, *, y_label: str, note: str = "") -> Chart:
    """A bar for each label, from the top down, with its value; `y_label` names the values.

    Raises: InputError when matplotlib is missing.
    """
    figure, axes = _canvas(6.4, max(1.6, 0.7 + 0.3 * len(labels)))
    places = np.arange(len(labels))
    bars = axes.barh(places, values, color=SERIES[0], height=0.68)
    cells = np.asarray(values).tolist()
    axes.bar_label(bars, labels=[show(cell, decimals(cells)) for cell in cells], padding=4, fontsize=9, color=_TEXT)
    axes.set_yticks(places, [_plain(label) for label in labels], parse_math=False)
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.grid(visible=False, axis="y")
    _label(axes, y_label, "")
    return Chart(title, _to_svg(figure), note)


def _canvas(width: float, height: float) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError('charts need matplotlib: pip install "masklet[eval]"') from error
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_TEXT, length=0, labelsize=9)
    axes.spines[:].set_visible(False)
    return figure, axes


def _padded(ends: tuple[float | int, float | int] | None) -> tuple[float, float] | None:
    """The range with a margin, so that points on the border are not cut."""
    if ends is None:
        return None
    room = 0.02 * (ends[1] - ends[0])
    return ends[0] - room, ends[1] + room


def _label(axes: Any, x_label: str, y_label: str) -> None:
    axes.set_xlabel(_plain(x_label), color=_TEXT, fontsize=10, parse_math=False)
    axes.set_ylabel(_plain(y_label), color=_TEXT, fontsize=10, parse_math=False)


def _plain(text: str) -> str:
    """One line of bounded length without characters that XML forbids; a leading underscore would hide a series."""
    shown = "".join(letter if letter.isprintable() else " " for letter in text).lstrip("_")
    return shown if len(shown) <= _LONGEST_LABEL else shown[: _LONGEST_LABEL - 1] + "…"


def _to_svg(figure: Any) -> str:
    """The SVG element without size, colours and fonts, which the page sets."""
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "masklet", "font.sans-serif": ["DejaVu Sans"]}):
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    svg = text.getvalue()
    head, body = svg[svg.index("<svg") :].split(">", 1)
    svg = re.sub(r' (width|height)="[^"]*"', "", head) + ">" + body
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)  # ids would repeat in a page of several charts
    svg = svg.replace("'DejaVu Sans'", "system-ui")
    return re.sub(r"(?<=fill: |roke: )#[0-9a-f]{6}", lambda match: _PAGE_COLOURS.get(match[0], match[0]), svg)
