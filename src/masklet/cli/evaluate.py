"""`masklet eval`: the family of commands that score, and what they share; each file `eval_*.py` adds its own."""

from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.app import app
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.eval.pairs import Kind

eval_app = typer.Typer(no_args_is_help=True, help="Score predictions, and see where they fail.")
app.add_typer(eval_app, name="eval")

Overlap = Annotated[str, typer.Option(help="What overlaps: masks, boxes or both.")]
Processes = Annotated[int, typer.Option(help="How many processes share the work.", min=1)]

_KINDS: "dict[str, tuple[Kind, ...]]" = {"masks": ("segm",), "boxes": ("bbox",), "both": ("segm", "bbox")}


def kinds_of(iou: str) -> "tuple[Kind, ...]":
    """The kinds of overlap of an option. Raises: InputError for an unknown one."""
    if iou not in _KINDS:
        raise InputError(f"unknown overlap {iou!r}: choose from {', '.join(_KINDS)}")
    return _KINDS[iou]


def table_lines(columns: list[str], rows: list[list[str]]) -> list[str]:
    """A table in plain text: the first column to the left, numbers to the right."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = []
    for first, *others in [columns, *rows]:
        numbers = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *numbers]))
    return lines
