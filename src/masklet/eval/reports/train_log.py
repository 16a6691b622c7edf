"""The log of a training run, a line of numbers after every few updates, and its curves."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from masklet.errors import InputError
from masklet.eval.reports.charts import Line, line_chart
from masklet.eval.reports.page import Chart

MOST_POINTS = 200  # of a curve; means of neighbours beyond that
MOST_PARTS = 7  # of the loss

Record = Mapping[str, Any]


def read_log(path: Path) -> list[dict[str, Any]]:
    """Lines of numbers by name; none without a file. A last line that is still being written is left out.

    Raises: InputError naming the line that cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    lines = text.split("\n")[:-1]  # the rest is an incomplete line
    return [_log_line(path, number, line) for number, line in enumerate(lines, start=1)]


def _log_line(path: Path, number: int, text: str) -> dict[str, Any]:
    try:
        line = json.loads(text)
        if not isinstance(line["step"], int):
            raise TypeError("its step is no number")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: line {number} is not of a training log: {error}") from error
    numbers = {name: value for name, value in line.items() if isinstance(value, int | float)}
    return {name: value for name, value in numbers.items() if not isinstance(value, bool)}


def training_curves(log: Sequence[Record]) -> list[Chart]:
    """Loss and its parts, gradient norm, learning rate and time, as far as they are logged."""
    logged = list(dict.fromkeys(name for line in log for name in line))
    parts = [name for name in logged if name.startswith("loss_")]
    parts.sort(key=lambda name: -float(np.nanmean(_values(log, name))))
    drawn = (
        ("Loss", ["loss"], "sum of the weighted parts"),
        ("Parts of the loss", parts[:MOST_PARTS], "each before its weight"),
        ("Gradient norm", ["gradient_norm"], "norm before it is clipped"),
        ("Learning rate", ["lr"], "largest of all parts"),
        ("Time", ["seconds_per_step"], "seconds an update"),
    )
    note = f"The {MOST_PARTS} largest of {len(parts)}." if len(parts) > MOST_PARTS else ""
    return [
        line_chart(
            title,
            [curve(log, name) for name in names],
            x_label="updates",
            y_label=label,
            note=note if names == parts[:MOST_PARTS] else "",
        )
        for title, names, label in drawn
        if names and set(names) <= set(logged)
    ]


def _values(log: Sequence[Record], name: str) -> np.ndarray:
    return np.array([line.get(name, math.nan) for line in log], np.float64)


def curve(log: Sequence[Record], name: str) -> Line:
    """At most `MOST_POINTS` points, each the mean of neighbours; one that is not finite leaves a gap."""
    lines = [line for line in log if name in line]
    values = _values(lines, name)
    values[~np.isfinite(values)] = np.nan
    width = -(-len(lines) // MOST_POINTS)
    starts = range(0, len(lines), width)
    steps = [lines[min(start + width, len(lines)) - 1]["step"] for start in starts]
    means = [float(np.mean(values[start : start + width])) for start in starts]
    return Line(name.removeprefix("loss_").replace("_", " "), steps, means)
