"""`masklet eval`: the family of commands that score, and what they share; each file of this folder adds its own."""

import json as jsonlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from masklet.cli.app import HELP_NAMES, MODEL, OUTPUT, WrongUsage, app
from masklet.cli.display import Display
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.eval.reports.page import Table
    from masklet.workflows.evaluation.evaluate import AskedModel, Evaluation
    from masklet.workflows.observer import JobObserver

Job = TypeVar("Job")

eval_app = typer.Typer(
    no_args_is_help=True, context_settings=HELP_NAMES, help="Score predictions, and see where they fail."
)
app.add_typer(eval_app, name="eval")

Asked = Annotated[
    str | None,
    typer.Option(
        "--model", help="Ask this model instead; see `masklet models`.", metavar="NAME", rich_help_panel=MODEL
    ),
]
Overlap = Annotated[str, typer.Option(help="What overlaps: masks, boxes or both.")]
Images = Annotated[list[Path] | None, typer.Option(help="Where the images are; may be repeated.", metavar="FOLDER")]
Cache = Annotated[Path | None, typer.Option(help="Where a model's predictions are kept.")]
Out = Annotated[Path | None, typer.Option(help="Folder for results; `out` unless --json.", rich_help_panel=OUTPUT)]
Processes = Annotated[int, typer.Option(help="How many processes share the work.", min=1)]


def asked_model(
    pred: object | None,
    name: str | None,
    folders: list[Path] | None,
    out: Path | None,
    *,
    device: str,
    dtype: str,
    cache: Path | None,
    option: str = "--images",
) -> "AskedModel | None":
    """The model to evaluate, None where predictions are given.

    Raises: InputError unless either predictions are given, or a model with its folders and one for its predictions.
    """
    if (pred is None) == (name is None):
        raise WrongUsage("give either --pred with a file of predictions, or --model with the name of a model")
    if name is not None and not folders:
        raise WrongUsage(f"--model needs {option}: the folder that the file names in the labels are in")
    for folder in folders or []:
        if not folder.is_dir():
            raise InputError(f"no such folder: {folder}")
    if name is not None and out is None:
        raise WrongUsage("--model needs --out: the folder for what it predicts")
    if name is None:
        return None
    from masklet.workflows.evaluation.evaluate import AskedModel
    from masklet.workflows.model_choice import ModelChoice

    choice = ModelChoice(name=name, device=device, dtype=dtype)
    return AskedModel(choice=choice, folders=tuple(folders or []), cache=cache)


def run(workflow: "Callable[[Job, JobObserver], Evaluation]", job: Job, *, json: bool) -> None:
    """Runs an evaluation and prints its figures: as JSON, or as tables."""
    with Display(json=json) as display:
        evaluation = workflow(job, display)
    if json:
        typer.echo(jsonlib.dumps(evaluation.scores))
        return
    lines = [evaluation.heading] if evaluation.heading else []
    for table in evaluation.tables:
        lines += [*(["", table.title] if table.title else []), *table_lines(table)]
    typer.echo("\n".join([*lines, *([evaluation.remark] if evaluation.remark else [])]))
    if evaluation.report is not None:
        typer.echo(f"report: {evaluation.report}")


def table_lines(table: "Table") -> list[str]:
    """A table in plain text: the first column to the left, numbers to the right."""
    rows = [list(table.columns)]
    for row in table.rows:
        rows.append([f"{cell:.1f}" if isinstance(cell, float) else "" if cell is None else str(cell) for cell in row])
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = []
    for first, *others in rows:
        numbers = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *numbers]))
    return lines
