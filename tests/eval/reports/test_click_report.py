"""Curves of simulated users as tables, drawings and a page."""

import pytest

from masklet.eval.reports.click_report import PLOTS, Curve, Plot, exemplar_plots, image_plots, make_page, video_plots
from masklet.eval.reports.page import render_report

IMAGES = {
    "objects": 3,
    "mean_IoU": [0.5, 0.6, 0.7, 0.8, 0.9, 0.95],
    "by_size": {"small": {"objects": 3, "mean_IoU": [0.5] * 6}, "large": {"objects": 0, "mean_IoU": [None] * 6}},
    "targets": {name: {"reached": [0.0, 0.1, 0.2, 0.3, 0.4, 0.5], "clicks": 4.5} for name in ("0.85", "0.9")},
}
VIDEOS = {"objects": 2, "videos": 1, "offline_J&F": [0.3, 0.6], "online_J&F": [0.3, 0.4]}
BOTH = {"cgF1": [0.1, 0.2, 0.3], "pmF1": [0.2, 0.3, 0.4], "IL_MCC": [0.5] * 3}
EXEMPLARS = {"pairs": 4, "positive_pairs": 2, "words": BOTH, "by_hand": BOTH, "examples": {"pmF1": [0.25, 0.35]}}


def test_a_table_has_a_row_for_each_step_and_nothing_where_a_curve_does_not_reach() -> None:
    plot = Plot(
        title="J by steps",
        x_label="steps",
        y_label="J in %",
        curves=[Curve.of("long", [0.1, 0.25, None], 0), Curve.of("late", [0.5])],
    )
    table = plot.table("J")
    assert list(table.columns) == ["steps", "long", "late"]
    assert list(table.rows) == [[0, 10.0, None], [1, 25.0, 50.0], [2, None, None]]


def test_sizes_without_objects_are_not_drawn() -> None:
    done = image_plots(IMAGES)
    assert [curve.name for curve in done[0].curves] == ["all objects", "small"]
    assert [curve.name for curve in done[1].curves] == ["IoU 85 %", "IoU 90 %"]
    assert "small" in done[0].draw().svg
    empty = Plot(title="", x_label="x", y_label="y", curves=[*done[0].curves, Curve.of("absent", [None] * 6)])
    assert "absent" not in empty.draw().svg


def test_examples_alone_begin_with_one_and_have_no_cgf1() -> None:
    with_cgf1, with_pmf1 = exemplar_plots(EXEMPLARS)
    assert [curve.first for curve in with_cgf1.curves] == [0, 0]
    assert [(curve.name, curve.first) for curve in with_pmf1.curves][2] == ("examples alone", 1)


def test_videos_have_a_curve_for_either_way_of_looking() -> None:
    [plot] = video_plots(VIDEOS)
    assert [[curve.name, *curve.values] for curve in plot.curves] == [["offline", 30, 60], ["online", 30, 40]]


@pytest.mark.parametrize(
    ("mode", "figures", "expected"),
    [
        ("images", IMAGES, [50, 70, 90, 95, 4.5, 4.5]),
        ("videos", VIDEOS, [30, 60, 30, 40]),
        ("exemplars", EXEMPLARS, [10, 30, 10, 30]),
    ],
)
def test_a_page_shows_the_published_steps_first(mode: str, figures: dict, expected: list[float]) -> None:
    page = make_page(mode, "tiny on <labels>", figures, PLOTS[mode](figures))
    assert [figure.value for figure in page.figures] == pytest.approx(expected)
    text = render_report(page)
    assert "tiny on &lt;labels&gt;" in text
    assert text.count("<svg") >= len(PLOTS[mode](figures))
