"""`masklet train`."""

import json as jsonlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import Json, Stopped, app, progress_bar
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.data.doctor import Findings


@app.command()
def train(  # noqa: PLR0913 - one argument for each option
    *,
    recipe: Annotated[str, typer.Argument(help="Name of a recipe that ships with masklet, or a YAML file.")],
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
    changes = overrides or []
    for each in changes:
        if "=" not in each:
            raise InputError(f"an override is key=value, not {each!r}")
    if print_config:
        from masklet.train.recipes.schema import load_recipe, to_json

        typer.echo(to_json(load_recipe(recipe, changes)))
        return
    if check:
        _check(recipe, changes, out, json=json)
        return
    if estimate:
        _estimate(recipe, changes, json=json)
        return
    if not resume and _is_first():
        _look_first(recipe, changes)
    complete = _run(recipe, changes, out, resume=resume, json=json)
    if not _is_first():
        return
    _close(out, complete=complete, report=not no_report, json=json)


def _is_first() -> bool:
    """Whether this is the one of several processes that speaks for all."""
    return os.environ.get("RANK", "0") == "0"


def _estimate(recipe: str, overrides: list[str], *, json: bool) -> None:
    from masklet.train.recipes.schema import load_recipe
    from masklet.train.run.loop import estimate_run

    found = estimate_run(load_recipe(recipe, overrides))
    if _is_first():
        typer.echo(jsonlib.dumps(found.to_json()) if json else str(found))


def _run(recipe: str, overrides: list[str], out: Path, *, resume: bool, json: bool) -> bool:
    from masklet.cli.train_display import Display
    from masklet.cli.train_validation import open_validation
    from masklet.train.recipes.schema import load_recipe
    from masklet.train.run import loop
    from masklet.train.run.observers import boards

    loaded = load_recipe(recipe, overrides)
    validate = open_validation(loaded, out)

    def tell(message: object) -> None:
        if _is_first() and not json:
            typer.echo(str(message), err=True)

    if loaded.validation is not None and validate is None:
        tell("no validation: the data holds no pictures out; name some with validation.source")
    observers = [*boards(out), *([] if json else [Display()])]
    return loop.run(recipe, overrides, out, resume=resume, observers=observers, validate=validate, announce=tell)


def _close(out: Path, *, complete: bool, report: bool, json: bool) -> None:
    """Says what came of the run, after its report where that can be made.

    Raises: Stopped when it is to be continued.
    """
    from masklet.train.run.validation import best_validation, read_validations

    validations = read_validations(out)
    if complete and validations and report:
        from masklet.cli.train_report import finish_run

        if json:
            finish_run(out)
        else:
            with progress_bar(None, "pictures") as advance:
                typer.echo("\n".join(finish_run(out, advance=advance)))
    best, base = best_validation(validations), next((line for line in validations if line["step"] == 0), None)
    page = out / "report.html"
    state = {
        "out": str(out),
        "complete": complete,
        "best_step": best and best["step"],
        "cgF1_before": base and base["metrics"]["cgF1"],
        "cgF1_after": best and best["metrics"]["cgF1"],
        "report": str(page) if page.is_file() else None,
    }
    if json:
        typer.echo(jsonlib.dumps(state))
    if not complete:
        raise Stopped(f"stopped; {out} holds a checkpoint, and the same command with --resume goes on from there")
    if not json:
        typer.echo(f"finished: {out}{_comparison(base, best)}")


def _comparison(base: dict[str, Any] | None, best: dict[str, Any] | None) -> str:
    """What the run brought on the validation pictures, where it was validated."""
    if best is None:
        return ""
    after, step = best["metrics"], best["step"]
    if base is None:
        return f" (best after {step} updates: cgF1 {100 * after['cgF1']:.1f})"
    before = base["metrics"]
    better = (after["cgF1"], after["pmF1"]) > (before["cgF1"], before["pmF1"])
    remark = "" if better else "; the base was as good or better"
    return f" (cgF1 {100 * before['cgF1']:.1f} before, {100 * after['cgF1']:.1f} after {step} updates{remark})"


def _check(recipe: str, overrides: list[str], out: Path, *, json: bool) -> None:
    """Prints what is wrong with all of the data; ends with status 1 when there are errors."""
    from masklet.train.recipes.schema import load_recipe
    from masklet.train.run.data_check import DataCheck

    checked = DataCheck(load_recipe(recipe, overrides), whole=True)
    with progress_bar(len(checked), "pictures") as advance:
        findings = checked.examine(advance)
    checked.write_sheet(out / "data.png")
    if json:
        typer.echo(jsonlib.dumps({**_as_json(findings), "sheet": str(out / "data.png")}))
    else:
        typer.echo("\n".join([*_describe(findings), f"sheet: {out / 'data.png'}"]))
    if findings.has_errors:
        raise typer.Exit(1)


def _look_first(recipe: str, overrides: list[str]) -> None:
    """Examines a sample, and says what is wrong with it on stderr.

    Raises: InputError when there are errors.
    """
    from masklet.train.recipes.schema import load_recipe
    from masklet.train.run.data_check import DataCheck

    checked = DataCheck(load_recipe(recipe, overrides), whole=False)
    with progress_bar(len(checked), "pictures") as advance:
        findings = checked.examine(advance)
    if findings.findings:
        typer.echo("\n".join(_describe(findings)), err=True)
    if findings.has_errors:
        raise InputError(
            "the data has errors, so the run did not begin; `masklet train RECIPE --check` looks at all of it"
        )


def _as_json(findings: "Findings") -> dict[str, Any]:
    return {
        "sources": {name: asdict(tally) for name, tally in findings.tallies.items()},
        "findings": [asdict(finding) for finding in findings.findings],
    }


def _describe(findings: "Findings") -> list[str]:
    """Lines for people: what each source holds, then what is wrong."""
    lines = []
    for name, tally in findings.tallies.items():
        each = tally.negatives / max(1, tally.examined)
        looked = "" if tally.examined == tally.pictures else f" ({tally.examined} looked at)"
        lines.append(
            f"{name}: {tally.pictures} pictures{looked}, {tally.phrases} phrases, {tally.objects} objects "
            f"({tally.masks} with masks), {each:.1f} negatives a picture"
        )
    for finding in findings.findings:
        lines.append(f"{finding.severity}: {finding.source}: {finding.count} {finding.sentence}")
        lines += [f"    {example}" for example in finding.examples if example != finding.source]
    return lines
