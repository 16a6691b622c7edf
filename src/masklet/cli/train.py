"""`masklet train`."""

import json as jsonlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import Json, app, progress_bar
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.data.doctor import Findings


@app.command()
def train(
    *,
    recipe: Annotated[str, typer.Argument(help="Name of a recipe that ships with masklet, or a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("run"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder.")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the recipe in full and stop.")] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Examine all data of the recipe, draw some of it to OUT/data.png, and stop.")
    ] = False,
    json: Json = False,
) -> None:
    """Train from a recipe; `key.sub=value` changes an entry of it.

    A new run first examines a sample of the data and does not begin when there are errors in it.
    """
    changes = overrides or []
    for each in changes:
        if "=" not in each:
            raise InputError(f"an override is key=value, not {each!r}")
    if print_config:
        from masklet.train.recipes import load_recipe, to_json

        typer.echo(to_json(load_recipe(recipe, changes)))
        return
    if check:
        _check(recipe, changes, out, json=json)
        return
    if not resume and os.environ.get("RANK", "0") == "0":  # one of several processes speaks for all
        _look_first(recipe, changes)
    from masklet.train import loop

    complete = loop.run(recipe, changes, out, resume=resume)
    state = {"out": str(out), "complete": bool(complete)}
    typer.echo(jsonlib.dumps(state) if json else f"{'finished' if complete else 'stopped early'}: {out}")


def _check(recipe: str, overrides: list[str], out: Path, *, json: bool) -> None:
    """Prints what is wrong with all of the data; ends with status 1 when there are errors."""
    from masklet.train.check import DataCheck
    from masklet.train.recipes import load_recipe

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
    from masklet.train.check import DataCheck
    from masklet.train.recipes import load_recipe

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
