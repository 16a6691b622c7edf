"""`masklet models`, `convert` and `doctor`: what there is, in which format, and how fast it is here."""

import json as jsonlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import Device, Dtype, Json, Model, app
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.checkpoints.hub import ModelInfo


@app.command()
def models(
    *,
    action: Annotated[str, typer.Argument(help="list or fetch")] = "list",
    name: Annotated[str | None, typer.Argument(help="Which model to fetch.")] = None,
    json: Json = False,
) -> None:
    """List the models, or fetch one so that it is there offline."""
    if action not in ("list", "fetch") or (action == "fetch") != (name is not None):
        raise InputError("use `masklet models list` or `masklet models fetch NAME`")
    from masklet.checkpoints.hub import describe_models
    from masklet.checkpoints.hub import fetch as fetch_weights

    if name is not None:
        path = fetch_weights(name)
        typer.echo(jsonlib.dumps({"name": name, "path": str(path)}) if json else f"{name}: {path}")
        return
    known = describe_models()
    if json:
        typer.echo(jsonlib.dumps([_plain(each) for each in known]))
        return
    for each in known:
        where = each.location or "not fetched"
        size = "" if each.size_mb is None else f"{each.size_mb:.1f} MB"
        typer.echo(f"{each.name:8} {size:>10}  {where}  ({each.note})")


def _plain(info: "ModelInfo") -> dict[str, Any]:
    """A model's description as JSON can hold it."""
    return {**asdict(info), "location": info.location and str(info.location)}


@app.command()
def convert(
    *,
    path_in: Annotated[
        str, typer.Argument(metavar="IN", show_default=False, help="A file, a folder of shards, or tiny.")
    ],
    path_out: Annotated[Path, typer.Argument(metavar="OUT", show_default=False)],
    to: Annotated[str, typer.Option(help="masklet, official or transformers")] = "masklet",
    json: Json = False,
) -> None:
    """Rewrite weights in another format."""
    if to not in ("masklet", "official", "transformers"):
        raise InputError(f"unknown format {to!r}: choose from masklet, official, transformers")
    from masklet.checkpoints.convert import convert as convert_weights

    convert_weights(path_in, path_out, to)
    typer.echo(jsonlib.dumps({"path": str(path_out), "format": to}) if json else f"wrote {path_out} as {to}")


@app.command()
def doctor(*, model: Model = "tiny", device: Device = "auto", dtype: Dtype = "auto", json: Json = False) -> None:
    """Say what is installed, what it will run on, and how fast."""
    from masklet.workflows.machine import describe, examine

    report = examine(model, device, dtype)
    typer.echo(jsonlib.dumps(report) if json else "\n".join(describe(report)))
    if "problem" in report:
        raise typer.Exit(1)
