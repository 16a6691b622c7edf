"""The table of names, `table.txt`, made into entries for a config; how it is written is said at its head."""

import re
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from itertools import product
from operator import attrgetter

from masklet.checkpoints.names.entries import Entry, Parts, PositionTable, Spread
from masklet.models.detector import Detector

COLUMNS = ("ours", "official", "transformers")
FORMS: dict[str, Callable[[str, str], Entry]] = {
    "1": partial(Spread, leading=1),
    "2": partial(Spread, leading=2),
    "middle2": partial(Spread, inner=2),
    "row": PositionTable,
}


def read_table(kind: str, config: Detector.Config) -> tuple[dict[str, list[Entry]], list[str]]:
    """Entries of a format by part of the model, and names of ours that the format does not know."""
    column, absent = COLUMNS.index(kind), []
    entries: dict[str, list[Entry]] = {"concept": [], "click": [], "memory": []}
    part, prefixes, depth = "", [""], 0
    for line in (files("masklet") / "checkpoints" / "names" / "table.txt").read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            part, *prefixes = line.strip("[]").split()
            depth = attrgetter(prefixes[3])(config) if len(prefixes) > 3 else 1
            continue
        is_tensor = line.startswith("tensor ")
        row = line.removeprefix("tensor ").split()
        for number in range(depth):
            for ending in ("",) if is_tensor else ("weight", "bias"):
                ours, theirs = (
                    _with_ending(f"{prefixes[i]}{row[i]}".replace("#", str(number)), ending) for i in (0, column)
                )
                if row[column] == "-":
                    absent += _names(ours)
                else:
                    entries[part] += _entries(ours, theirs)
    return entries, absent


def _with_ending(name: str, ending: str) -> str:
    return f"{name}.{ending}" if ending and not name.endswith("_") else name + ending


def _entries(ours: str, theirs: str) -> list[Entry]:
    theirs, _, form = theirs.partition(":")
    if form:
        return [FORMS[form](ours, theirs)]
    names, others = _names(ours), _names(theirs)
    if len(names) != len(others):
        return [Parts(names, others)]
    return [Parts((name,), (other,)) for name, other in zip(names, others, strict=True)]


def _names(text: str) -> tuple[str, ...]:
    """The names that a text with `{a,b}` in it stands for."""
    pieces = re.split(r"\{(.*?)\}", text)
    return tuple(map("".join, product(*(piece.split(",") if i % 2 else [piece] for i, piece in enumerate(pieces)))))
