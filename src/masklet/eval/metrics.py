"""How figures are named and shown: one row for each metric.

A figure without a row is a fraction that is shown in percent under its own name.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """A metric in tables and reports: its title, whether it is shown in percent, and its decimals where they are fixed.

    A value of -1 means that nothing gives the figure, unless it is `signed`: a correlation may be -1.
    """

    title: str
    percent: bool = True
    digits: int | None = None
    signed: bool = False


METRICS: Mapping[str, Metric] = {
    "cgF1": Metric("cgF1"),
    "IL_MCC": Metric("IL_MCC", percent=False, digits=3, signed=True),
    "positive_micro_F1": Metric("pmF1"),
    "positive_micro_F1@0.5": Metric("pmF1@0.5"),
    "positive_macro_F1": Metric("macro F1"),
    "IL_precision": Metric("IL prec."),
    "IL_recall": Metric("IL recall"),
    "count_MAE": Metric("count MAE", percent=False, digits=3),
    "VL_MCC": Metric("VL_MCC", percent=False, digits=3, signed=True),
    "TETA": Metric("TETA", percent=False),  # computed in percent
    "local_F1": Metric("local F1"),
    "mask_IoU": Metric("mask IoU"),
    "instances": Metric("instances", percent=False),
    "pairs": Metric("pairs", percent=False),
}

SHORT_NAMES = {  # figures of a validation or of a simulated user, by their names in `ConceptCounts.metrics`
    "cgF1": "cgF1",
    "IL_MCC": "IL_MCC",
    "positive_micro_F1": "pmF1",
    "positive_micro_F1@0.5": "pmF1@0.5",
    "positive_macro_F1": "macro_F1",
    "IL_precision": "IL_precision",
    "IL_recall": "IL_recall",
    "IL_FPR": "IL_FPR",
}


def metric(name: str) -> Metric:
    """The row of a metric."""
    return METRICS.get(name) or Metric(name)


def number(value: object) -> float | int | None:
    """A finite number of a document; None for anything else, such as True or NaN."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def scaled(name: str, value: object) -> float | int | None:
    """A figure as published tables print it: in percent, or as it is; None where nothing gives a value."""
    known, row = number(value), metric(name)
    if known is None or (known == -1 and not row.signed):
        return None
    return 100 * float(known) if row.percent else known


def formatted(name: str, value: object, digits: int, nothing: str = "-") -> str:
    """The same as text, with so many decimals unless the metric fixes them."""
    shown = scaled(name, value)
    return nothing if shown is None else f"{shown:.{metric(name).digits or digits}f}"
