"""The one table of metrics: every figure that tables show has a row, and percent is one rule."""

import math

import numpy as np
import pytest

from masklet.eval.analysis.calibrate import CUTS, LabelledPair, judge
from masklet.eval.concepts.cgf1 import total
from masklet.eval.metrics import METRICS, SHORT_NAMES, formatted, scaled
from masklet.eval.reports import concept_report, task_report, video_report
from masklet.formats.calibration import Thresholds

NOTHING = np.zeros((len(CUTS), 0, 0), np.float32)


def test_figures_of_concepts_have_rows_and_are_computed() -> None:
    assert set(concept_report.COLUMNS) <= METRICS.keys()
    computed = total([]).metrics().keys() | {"count_MAE"}
    assert set(concept_report.COLUMNS) <= computed
    assert SHORT_NAMES.keys() <= computed


def test_every_row_is_of_a_figure_that_is_computed() -> None:
    of_pairs = total([]).metrics().keys() | {"count_MAE", "instances", "pairs"}
    of_calibration = judge(
        [(LabelledPair(image="", phrase="", presence=0.0, scores=np.zeros(0), iou=NOTHING), Thresholds())]
    )
    assert METRICS.keys() <= of_pairs | of_calibration.keys() | video_report.MAIN_FIGURES.keys()


def test_correlations_and_percentages_of_videos_have_rows() -> None:
    assert {"VL_MCC", "TETA"} <= METRICS.keys() & video_report.MAIN_FIGURES.keys()
    assert set(video_report.HEADLINE) <= video_report.MAIN_FIGURES.keys()


def test_every_page_of_a_task_names_its_table() -> None:
    assert task_report.PAGES.keys() == {"coco", "counting", "semantic", "verdicts"}
    for page in task_report.PAGES.values():
        assert page.title
        assert page.table


@pytest.mark.parametrize(
    ("name", "value", "shown", "text"),
    [
        ("cgF1", 0.5, 50, "50.00"),
        ("a new figure", 0.125, 12.5, "12.50"),
        ("IL_MCC", 0.5, 0.5, "0.500"),
        ("IL_MCC", -1, -1, "-1.000"),
        ("positive_macro_F1", -1, None, "-"),
        ("count_MAE", 4.25, 4.25, "4.250"),
        ("instances", 3, 3, "3.00"),
        ("cgF1", math.nan, None, "-"),
        ("cgF1", True, None, "-"),
        ("cgF1", "much", None, "-"),
        ("cgF1", None, None, "-"),
    ],
)
def test_a_figure_is_shown_as_published(name: str, value: object, shown: float | None, text: str) -> None:
    assert scaled(name, value) == shown
    assert formatted(name, value, 2) == text
