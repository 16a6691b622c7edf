"""`masklet eval`: the family of commands that score, and what they share; each file `eval_*.py` adds its own."""

import json as jsonlib
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import app, complain
from masklet.errors import InputError
from masklet.files import write_atomically

if TYPE_CHECKING:
    from masklet.eval.concepts.pairs import Kind
    from masklet.eval.predict.predict import PairPrediction, Request
    from masklet.eval.reports.page import Report

eval_app = typer.Typer(no_args_is_help=True, help="Score predictions, and see where they fail.")
app.add_typer(eval_app, name="eval")

Asked = Annotated[str | None, typer.Option("--model", help="Ask this model instead; see `masklet models`.")]
Overlap = Annotated[str, typer.Option(help="What overlaps: masks, boxes or both.")]
Images = Annotated[list[Path] | None, typer.Option(help="Where the images are; may be repeated.")]
Cache = Annotated[Path | None, typer.Option(help="Where a model's answers are kept.")]
Out = Annotated[Path | None, typer.Option(help="Folder for results; `out` unless --json.")]
Processes = Annotated[int, typer.Option(help="How many processes share the work.", min=1)]

_KINDS: "dict[str, tuple[Kind, ...]]" = {"masks": ("segm",), "boxes": ("bbox",), "both": ("segm", "bbox")}


def kinds_of(iou: str) -> "tuple[Kind, ...]":
    """The kinds of overlap of an option. Raises: InputError for an unknown one."""
    if iou not in _KINDS:
        raise InputError(f"unknown overlap {iou!r}: choose from {', '.join(_KINDS)}")
    return _KINDS[iou]


def check_asked(
    pred: object | None, model: str | None, folders: list[Path] | None, out: Path | None, option: str = "--images"
) -> None:
    """Raises: InputError unless either predictions are given, or a model with its folders and a place for answers."""
    if (pred is None) == (model is None):
        raise InputError("give either --pred with a file of predictions, or --model with the name of a model")
    if model is not None and not folders:
        raise InputError(f"--model needs {option}: the folder that the file names in the labels are in")
    for folder in folders or []:
        if not folder.is_dir():
            raise InputError(f"no such folder: {folder}")
    if model is not None and out is None:
        raise InputError("--model needs --out: the folder for what it predicts")


def load(name: str, device: str, dtype: str) -> Any:
    """The model that is asked."""
    import masklet

    return masklet.load(name, device=device, dtype=dtype)


def ask(
    model: Any,
    requests: "Iterable[Request]",
    images: list[Path],
    cache: Path | None,
    advance: Callable[[], object],
    *,
    assume_present: bool = False,
) -> "Iterator[PairPrediction]":
    """The model's answers, from the cache where it gave them before."""
    from masklet.eval.predict.predict import predict_pairs

    folder = cache or default_cache()
    return predict_pairs(requests, images, model, folder, assume_present=assume_present, advance=advance)


def default_cache() -> Path:
    """Where answers of models are kept from run to run, unless --cache names another place."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "masklet" / "answers"


def finish(
    out: Path | None, scores: dict[str, Any], lines: list[str], page: "Callable[[], Report]", *, json: bool
) -> None:
    """Leaves figures and page in the folder, and prints the figures: as JSON, or as the lines of a table."""
    from masklet.eval.concepts.outcomes import RunFiles

    if out is not None:
        write_atomically(RunFiles(out).scores, jsonlib.dumps(scores, indent=1) + "\n")
    typer.echo(jsonlib.dumps(scores) if json else "\n".join(lines))
    if out is not None:
        write_page(RunFiles(out).report, page, json=json)


def write_page(path: Path, page: "Callable[[], Report]", *, json: bool) -> None:
    """Writes the report and says where; without the packages that draw it, everything else still stands."""
    from masklet.eval.reports.page import write_report

    try:
        write_report(page(), path)
    except InputError as error:
        complain(f"no report: {error}")
        return
    if not json:
        typer.echo(f"report: {path}")


def table_lines(columns: list[str], rows: list[list[str]]) -> list[str]:
    """A table in plain text: the first column to the left, numbers to the right."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = []
    for first, *others in [columns, *rows]:
        numbers = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *numbers]))
    return lines
