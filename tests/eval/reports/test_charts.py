"""Charts as text: well-formed, the same each time, in the colours of the page, harmless whatever the labels."""

import math
import sys
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from masklet.errors import InputError
from masklet.eval.reports.charts import SERIES, Line, bar_chart, line_chart
from masklet.eval.reports.page import Chart

SVG = "{http://www.w3.org/2000/svg}"


def lines(name: str = "a", count: int = 2) -> Chart:
    x = np.linspace(0, 1, 5)
    series = [Line(f"{name}{i}", x, x**i, x**i - 0.1, x**i + 0.1) for i in range(count)]
    return line_chart("t", series, x_label="x", y_label="y", diagonal=True, marks=[(0.3, "here"), (0.4, "there")])


def texts(chart: Chart) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(chart.svg).iter(f"{SVG}text")]


def test_the_same_numbers_give_the_same_text() -> None:
    assert lines().svg == lines().svg
    assert bar_chart("t", ["a"], [1], y_label="y").svg == bar_chart("t", ["a"], [1], y_label="y").svg


def test_labels_are_in_the_chart_as_written() -> None:
    found = texts(lines("$\\frac{1}$ <b>&_"))
    assert {"x", "y", "here", "there", "$\\frac{1}$ <b>&_0", "$\\frac{1}$ <b>&_1"} <= set(found)
    assert {"a $x$", "b", "12", "3"} <= set(texts(bar_chart("t", ["a $x$", "_b"], [12, 3], y_label="n")))


def test_a_label_cannot_be_markup() -> None:
    hostile = "</text><script>alert(1)</script>\x00\x1b\n"
    for chart in (lines(hostile), bar_chart("t", [hostile], [1], y_label=hostile)):
        elements = {element.tag for element in ET.fromstring(chart.svg).iter()}
        assert f"{SVG}script" not in elements
        assert not [e for e in ET.fromstring(chart.svg).iter() if any(name.startswith("on") for name in e.attrib)]


def test_colours_are_those_of_the_page_and_the_size_is_left_to_it() -> None:
    svg = lines().svg
    root = ET.fromstring(svg)
    assert "viewBox" in root.attrib
    assert not {"width", "height"} & set(root.attrib)
    assert f"stroke: var(--series-1, {SERIES[0]})" in svg
    assert f"fill: var(--series-2, {SERIES[1]})" in svg
    assert "fill: currentColor" in svg
    assert "#1c1f26" not in svg
    assert not [element for element in root.iter() if element.tag.endswith("metadata")]


def test_two_charts_of_a_page_share_no_ids_but_equal_shapes() -> None:
    first, second = (
        {e.attrib["id"]: ET.tostring(e) for e in ET.fromstring(c.svg).iter() if "id" in e.attrib}
        for c in (lines(count=2), lines(count=3))
    )
    assert first
    assert all(first[name] == second[name] for name in first.keys() & second.keys())


def test_long_labels_are_cut() -> None:
    assert max(map(len, texts(bar_chart("t", ["word " * 50], [1], y_label="y")))) == 40


def test_one_line_needs_no_legend() -> None:
    assert "only" not in texts(line_chart("t", [Line("only", [0, 1], [1, 2])], x_label="x", y_label="y"))


def test_steps_have_whole_numbers_below_them() -> None:
    steps = line_chart("t", [Line("a", [0, 1, 2, 3], [0.5, 0.6, 0.7, 0.8])], x_label="clicks", y_label="")
    below = texts(steps)[: texts(steps).index("clicks")]
    assert below == ["0", "1", "2", "3"]


def test_gaps_and_nothing_at_all_are_drawn() -> None:
    chart = line_chart("t", [Line("a", [0, 1, 2], [1, math.nan, 2]), Line("b", [], [])], x_label="x", y_label="y")
    assert "nan" not in chart.svg.lower()
    assert ET.fromstring(bar_chart("t", [], [], y_label="y").svg).tag == f"{SVG}svg"


def test_without_matplotlib_there_is_a_sentence_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InputError, match=r'charts need matplotlib: pip install "masklet\[eval\]"'):
        lines()
