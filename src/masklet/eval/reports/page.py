"""A page of results in one file: headline figures, tables, charts and galleries that can be filtered.

It needs no network, no second file and no server. Titles, phrases and file names are not trusted: all text is escaped,
and a content security policy allows the script of the page alone.
"""

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from masklet.errors import InputError
from masklet.files import write_atomically

Cell = str | int | float | None

NOTHING = "\N{EN DASH}"  # shown for a missing value
_TEMPLATES = Path(__file__).parent / "templates"
_SIGNATURES = ((b"\x89PNG", "image/png"), (b"\xff\xd8", "image/jpeg"), (b"RIFF", "image/webp"))


@dataclass(frozen=True)
class Figure:
    """A headline number with the ends of its interval, if it has one; None or NaN when it could not be computed."""

    name: str
    value: float | int | None
    low: float | int | None = None
    high: float | int | None = None
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells, one for each column; a click on a column sorts the rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.title!r}: a row of {len(row)} cells under {len(self.columns)} columns")


@dataclass(frozen=True)
class Chart:
    """A drawing of `masklet.eval.reports.charts`; `svg` is inserted as it is."""

    title: str
    svg: str
    note: str = ""


@dataclass(frozen=True)
class Card:
    """A PNG, JPEG or WebP image with its caption and details; a gallery is filtered by `tags`."""

    image: bytes
    caption: str
    tags: tuple[str, ...] = ()
    details: str = ""


@dataclass(frozen=True)
class Gallery:
    """Images that are searched by caption, filtered by tag and enlarged by a click."""

    title: str
    cards: Sequence[Card]
    note: str = ""


Section = Table | Chart | Gallery


@dataclass(frozen=True)
class Report:
    """A page; sections keep their order, and consecutive charts are placed side by side."""

    title: str
    subtitle: str
    figures: Sequence[Figure]
    sections: Sequence[Section]


def write_report(report: Report, path: Path) -> Path:
    """Writes the page as one HTML file and returns its path.

    Raises: InputError when jinja2 is missing or the file cannot be written.
    """
    return write_atomically(path, render_report(report))


def render_report(report: Report) -> str:
    """The page as HTML; the same report gives the same text. Raises: InputError when jinja2 is missing."""
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise InputError('a report needs jinja2: pip install "masklet[eval]"') from error
    environment = Environment(
        autoescape=True,
        loader=FileSystemLoader(_TEMPLATES),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    return environment.get_template("report.html.j2").render(
        report=report,
        figures=[_describe(figure) for figure in report.figures],
        sections=[_section(section, Markup) for section in report.sections],
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _describe(figure: Figure) -> dict[str, Any]:
    digits = decimals([figure.value, figure.low, figure.high])
    value, low, high = (show(number, digits) for number in (figure.value, figure.low, figure.high))
    interval = "" if NOTHING in (low, high) else f"{low} to {high}"
    return {"name": figure.name, "value": value, "unit": figure.unit, "interval": interval, "note": figure.note}


def _section(section: Section, markup: Any) -> dict[str, Any]:
    common = {"title": section.title, "note": section.note, "kind": type(section).__name__.lower()}
    if isinstance(section, Chart):
        return common | {"svg": markup(section.svg)}
    if isinstance(section, Table):
        cells = [[row[index] for row in section.rows] for index in range(len(section.columns))]
        digits = [decimals(column) for column in cells]  # the same for all numbers of a column
        is_number = [not any(isinstance(cell, str) for cell in column) for column in cells]
        columns = [{"name": name, "is_number": each} for name, each in zip(section.columns, is_number, strict=True)]
        rows = [
            # The page sorts empty keys to the end.
            [
                {"text": show(cell, each), "key": "" if _is_nothing(cell) else cell}
                for cell, each in zip(row, digits, strict=True)
            ]
            for row in section.rows
        ]
        return common | {"columns": columns, "rows": rows}
    tags = Counter(tag for card in section.cards for tag in card.tags)
    cards = []
    for card in section.cards:
        kind = next((kind for signature, kind in _SIGNATURES if card.image.startswith(signature)), None)
        if kind is None:
            raise ValueError(f"the image of card {card.caption!r} is neither PNG, JPEG nor WebP")
        image = f"data:{kind};base64,{base64.b64encode(card.image).decode()}"
        cards.append({"image": image, "caption": card.caption, "tags": list(card.tags), "details": card.details})
    return common | {"tags": list(tags.items()), "cards": cards}


def _is_nothing(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, float) and not math.isfinite(cell))


def decimals(cells: Sequence[Cell]) -> int:
    """Decimals to show for these numbers together: none for integers, more for smaller numbers."""
    numbers = [cell for cell in cells if isinstance(cell, int | float) and not _is_nothing(cell)]
    if all(isinstance(number, int) for number in numbers):
        return 0
    largest = max(abs(number) for number in numbers)
    return 3 if 0 < largest <= 1 else 2 if 1 < largest < 10 else 1


def show(cell: Cell, digits: int) -> str:
    """The text of a cell."""
    if isinstance(cell, str):
        return cell
    return NOTHING if cell is None or _is_nothing(cell) else f"{cell:,.{digits}f}"


def interval_text(low: float | int | None, high: float | int | None, digits: int) -> str:
    """An interval in a table; empty where it is not known."""
    return "" if low is None or high is None else f"{low:.{digits}f} to {high:.{digits}f}"
