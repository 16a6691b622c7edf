"""Tables of figures in Markdown pages, between comments, so that a benchmark can renew its own."""

from collections.abc import Iterable, Sequence
from pathlib import Path


def put_table(page: Path, name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Writes a table in place of the one between the comments `name:start` and `name:end` of a page."""
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{page} has no place for the table {name}: expected {start} and {end}")
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(each)} |" for each in lines)
    page.write_text(f"{before}{start}\n{table}\n{end}{after}", encoding="utf-8")
