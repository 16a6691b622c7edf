"""`masklet eval report` and `masklet eval compare`: pages made from runs of `masklet eval concepts`."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Json, command
from masklet.cli.evaluation.evaluate import Images, Out, eval_app
from masklet.cli.evaluation.evaluate import run as run_evaluation

Run = Annotated[Path, typer.Argument(help="Folder of an evaluation.", show_default=False)]


@command("report", "eval report out --images images", of=eval_app)
def report(*, run: Run, images: Images = None, json: Json = False) -> None:
    """Write the page of an evaluation of concepts again: errors, where they occur, and examples."""
    from masklet.workflows.evaluation.compare import PageJob, write_page

    path = write_page(PageJob(run=run, images=tuple(images or ())))
    typer.echo(jsonlib.dumps({"report": str(path)}) if json else f"report: {path}")


@command("compare", "eval compare before after --images images", of=eval_app)
def compare(
    *,
    run_a: Run,
    run_b: Annotated[Path, typer.Argument(help="Folder of another one over the same pairs.", show_default=False)],
    out: Out = None,
    images: Images = None,
    seed: Annotated[int, typer.Option(help="Of the random weights and swaps.")] = 0,
    json: Json = False,
) -> None:
    """Compare two evaluations of concepts: what changed, and whether chance explains it."""
    from masklet.workflows.evaluation.compare import CompareJob, compare_evaluations

    target = out or (None if json else Path("out"))
    job = CompareJob(first=run_a, second=run_b, images=tuple(images or ()), seed=seed, out=target)
    run_evaluation(compare_evaluations, job, json=json)
