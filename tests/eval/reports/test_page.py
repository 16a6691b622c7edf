"""The page: self-contained, safe with hostile text, and the same for the same numbers."""

import base64
import hashlib
import io
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from masklet.errors import InputError
from masklet.eval.reports.charts import Line, bar_chart, line_chart
from masklet.eval.reports.page import Card, Figure, Gallery, Report, Table, decimals, render_report, show, write_report

HOSTILE = "</script><script>alert(1)</script><img src=x onerror='alert(2)'>\" onload=\"alert(3) {{ 7 * 7 }}"


class Page(HTMLParser):
    """Elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: dict[str, list[str]] = {}
        self.open: list[str] = [""]
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.open[-1] != tag and len(self.open) > 1:
            self.open.pop()
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.open[-1], []).append(data)

    def of(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 4), (200, 10, 10)).save(file, "PNG")
    return file.getvalue()


def report(text: str = "harmless") -> Report:
    return Report(
        title=text,
        subtitle=text,
        figures=[Figure(text, 54.123, 52, 56.2, note=text), Figure("none", None), Figure("pairs", 123456, unit="u")],
        sections=[
            line_chart(text, [Line(text, [0, 1], [0, 1]), Line("b", [0, 1], [1, 0])], x_label=text, y_label=text),
            bar_chart(text, [text, "b"], [1, 2], y_label=text, note=text),
            Table(text, [text, "n", "f"], [[text, 1, 0.5], ["b", 1000, None], ["c", 20, math.nan]], text),
            Gallery(text, [Card(picture(), text, (text, "other"), text), Card(picture(), "second")], text),
        ],
    )


def test_hostile_text_stays_text() -> None:
    page, harmless = Page(render_report(report(HOSTILE))), Page(render_report(report()))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in harmless.elements]
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert page.texts["title"] == [HOSTILE]
    assert page.texts["script"] == harmless.texts["script"]
    assert HOSTILE in page.texts["td"]
    assert HOSTILE in page.texts["strong"]
    assert page.of("figure")[0]["data-tags"].count("alert") == 3


def test_nothing_is_loaded_from_anywhere() -> None:
    html = render_report(report("https://example.com/a.png"))
    page = Page(html)
    for _, attributes in page.elements:
        for name in ("src", "href", "data", "action", "srcset"):
            assert attributes.get(name, "").startswith(("data:", "#")) or name not in attributes
    assert not re.search(r"url\(\s*['\"]?(?!#)", html)
    assert "@import" not in html
    policy = next(m["content"] for m in page.of("meta") if m.get("http-equiv") == "Content-Security-Policy")
    script = "".join(page.texts["script"])
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_the_same_report_is_the_same_file(tmp_path: Path) -> None:
    first = write_report(report(), tmp_path / "deep" / "a.html")
    assert first.read_bytes() == write_report(report(), tmp_path / "b.html").read_bytes()
    assert [path.name for path in first.parent.iterdir()] == ["a.html"]


def test_numbers_of_a_column_are_alike() -> None:
    page = Page(render_report(report()))
    cells = page.texts["td"]
    assert cells == ["harmless", "1", "0.500", "b", "1,000", "–", "c", "20", "–"]  # noqa: RUF001
    keys = [cell["data-key"] for cell in page.of("td")]
    assert keys == ["harmless", "1", "0.5", "b", "1000", "", "c", "20", ""]
    assert [cell.get("class") for cell in page.of("td")[:3]] == [None, "number", "number"]


@pytest.mark.parametrize(
    ("cells", "digits"),
    [
        ([1, 2], 0),
        ([], 0),
        ([0.5, 1], 3),
        ([3.0, 0.1], 2),
        ([-12.0], 1),
        ([None, "a", math.nan], 0),
        ([math.inf, 0.1], 3),
    ],
)
def test_decimals(cells: list, digits: int) -> None:
    assert decimals(cells) == digits


def test_what_is_not_a_number_is_shown_as_nothing() -> None:
    assert show(math.nan, 2) == show(None, 2) == show(math.inf, 2) == "–"  # noqa: RUF001
    assert show(-1234.5, 1) == "-1,234.5"
    assert show("text", 3) == "text"


def test_an_interval_is_shown_when_both_ends_are_known() -> None:
    html = render_report(Report("t", "", [Figure("a", 0.5, 0.4, 0.6), Figure("b", 0.5, 0.4, math.nan)], []))
    intervals = re.findall(r'class="interval">(.*?)<', html)
    assert intervals == ["0.400 to 0.600"]


def test_rows_must_fit_their_columns() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells under 2 columns"):
        Table("t", ["a", "b"], [["x"]])


def test_pictures_are_of_a_kind_that_browsers_show() -> None:
    with pytest.raises(ValueError, match="neither PNG"):
        render_report(Report("t", "", [], [Gallery("g", [Card(b"<svg onload=alert(1)>", "c")])]))


def test_without_jinja2_there_is_a_sentence_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(InputError, match=r'a report needs jinja2: pip install "masklet\[eval\]"'):
        render_report(report())
