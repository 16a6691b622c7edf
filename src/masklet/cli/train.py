"""`masklet train` and `masklet train-report`."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.app import Json, Stopped, WrongUsage, command
from masklet.cli.display import Display

if TYPE_CHECKING:
    from masklet.workflows.training.train import TrainJob


@command(
    "train",
    "train",
    "train finetune-lora data.root=MINE --check",
    "train finetune-lora data.root=MINE --out mine",
    "train finetune-lora data.root=MINE phases.0.steps=100 --out mine --resume",
)
def train(  # noqa: PLR0913 - one argument for each option
    *,
    recipe: Annotated[
        str | None,
        typer.Argument(help="A YAML file, or one of the recipes that ship with masklet; without one, lists those."),
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("run"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder.")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the recipe in full and stop.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Examine all data of the recipe, draw some of it to OUT/data.png, and stop.")
    ] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Measure what memory and time the run would take, and stop.")
    ] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Write no report at the end.")] = False,
    json: Json = False,
) -> None:
    """Train from a recipe; `key.sub=value` changes an entry of it.

    A new run first examines a sample of the data and does not begin when there are errors in it. Ctrl-C stops a run
    after the update at hand, to be continued with --resume.
    """
    if recipe is None:
        _list_recipes(json=json)
        return
    for each in overrides or ():
        if "=" not in each:
            raise WrongUsage(f"an override is key=value, not {each!r}")
    from masklet.workflows.training.train import TrainJob

    job = TrainJob(recipe=recipe, overrides=tuple(overrides or ()), out=out, resume=resume, report=not no_report)
    if print_config:
        from masklet.train.recipes.schema import to_json

        typer.echo(to_json(job.load_recipe()))
    elif check:
        _check(job, json=json)
    elif estimate:
        _estimate(job, json=json)
    else:
        _train(job, json=json)


def _list_recipes(*, json: bool) -> None:
    from masklet.train.recipes.listing import describe_recipes

    known = describe_recipes()
    if json:
        typer.echo(jsonlib.dumps(known))
        return
    width = max(map(len, known))
    typer.echo("\n".join(f"{name:{width}}  {text}" for name, text in known.items()))


def _check(job: "TrainJob", *, json: bool) -> None:
    """Prints what is wrong with the data; ends with status 1 when there are errors."""
    from masklet.workflows.training.train import check_data, describe_findings

    with Display(json=json) as display:
        checked = check_data(job, display)
    lines = [*describe_findings(checked.findings), *checked.notes, f"sheet: {checked.sheet}"]
    typer.echo(jsonlib.dumps(checked.to_json()) if json else "\n".join(lines))
    if checked.findings.has_errors:
        raise typer.Exit(1)


def _estimate(job: "TrainJob", *, json: bool) -> None:
    from masklet.workflows.training.processes import is_first_process
    from masklet.workflows.training.train import estimate_training

    found = estimate_training(job)
    if is_first_process():
        typer.echo(jsonlib.dumps(found.to_json()) if json else str(found))


def _train(job: "TrainJob", *, json: bool) -> None:
    """Raises: Stopped when the run is to be resumed."""
    from masklet.cli.train_display import TrainDisplay
    from masklet.workflows.training.processes import is_first_process
    from masklet.workflows.training.train import train

    with Display(json=json) as display:
        result = train(job, display, callbacks=() if json else (TrainDisplay(),))
    if not is_first_process():
        return
    if json:
        typer.echo(jsonlib.dumps(result.to_json()))
    elif result.report is not None:
        typer.echo("\n".join(result.report.lines()))
    if not result.complete:
        raise Stopped(f"stopped; {job.out} holds a checkpoint, and the same command with --resume goes on from there")
    if not json:
        typer.echo(str(result))


@command("train-report", "train-report mine")
def train_report(
    *,
    out: Annotated[Path, typer.Argument(metavar="OUT", show_default=False, help="Folder of a training run.")],
    no_forgetting: Annotated[bool, typer.Option("--no-forgetting", help="Skip the check of forgetting.")] = False,
    json: Json = False,
) -> None:
    """Write the page of a training run, finished or not, and check what the model has forgotten."""
    from masklet.workflows.training.train_report import ReportJob, report_training

    with Display(json=json) as display:
        report = report_training(ReportJob(out=out, forgetting=not no_forgetting), display)
    typer.echo(jsonlib.dumps(report.to_json()) if json else "\n".join(report.lines()))
