"""`masklet train`."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Json, app
from masklet.errors import InputError


@app.command()
def train(
    *,
    recipe: Annotated[str, typer.Argument(help="Name of a recipe that ships with masklet, or a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="KEY=VALUE...")] = None,
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("run"),
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in that folder.")] = False,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the recipe in full and stop.")] = False,
    json: Json = False,
) -> None:
    """Train from a recipe; `key.sub=value` changes an entry of it."""
    for each in overrides or []:
        if "=" not in each:
            raise InputError(f"an override is key=value, not {each!r}")
    if print_config:
        from masklet.train.recipes import load_recipe, to_json

        typer.echo(to_json(load_recipe(recipe, overrides or [])))
        return
    from masklet.train import loop

    complete = loop.run(recipe, overrides or [], out, resume=resume)
    state = {"out": str(out), "complete": bool(complete)}
    typer.echo(jsonlib.dumps(state) if json else f"{'finished' if complete else 'stopped early'}: {out}")
