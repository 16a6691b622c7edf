"""`masklet models`, `convert`, `merge` and `doctor`: known models, their formats, and how fast they are here."""

import json as jsonlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device, Dtype, Json, Model, WrongUsage, command
from masklet.cli.arguments import parse_share
from masklet.workflows.model_choice import ModelChoice


@command("models", "models", "models fetch sam3")
def models(
    *,
    action: Annotated[str, typer.Argument(help="list or fetch")] = "list",
    name: Annotated[str | None, typer.Argument(help="Which model to fetch.")] = None,
    json: Json = False,
) -> None:
    """List the models, or fetch one so that it is there offline."""
    if action not in ("list", "fetch") or (action == "fetch") != (name is not None):
        raise WrongUsage("use `masklet models list` or `masklet models fetch NAME`")
    from masklet.checkpoints.hub import describe_models, fetch

    if name is not None:
        path = fetch(name)
        typer.echo(jsonlib.dumps({"name": name, "path": str(path)}) if json else f"{name}: {path}")
        return
    known = describe_models()
    if json:
        plain = [{**asdict(each), "location": each.location and str(each.location)} for each in known]
        typer.echo(jsonlib.dumps(plain))
        return
    for each in known:
        size = "" if each.size_mb is None else f"{each.size_mb:.1f} MB"
        typer.echo(f"{each.name:8} {size:>10}  {each.location or 'not fetched'}  ({each.note})")


@command("convert", "convert sam3.pt sam3.safetensors", "convert tiny model.safetensors --to transformers")
def convert(
    *,
    path_in: Annotated[
        str, typer.Argument(metavar="IN", show_default=False, help="A file, a folder of shards, or tiny.")
    ],
    path_out: Annotated[Path, typer.Argument(metavar="OUT", show_default=False)],
    to: Annotated[
        str, typer.Option(help="Our own, masklet, or another program's: official, transformers.")
    ] = "masklet",
    json: Json = False,
) -> None:
    """Rewrite weights in another format."""
    from masklet.checkpoints.convert import convert as convert_weights

    convert_weights(path_in, path_out, to)
    typer.echo(jsonlib.dumps({"path": str(path_out), "format": to}) if json else f"wrote {path_out} as {to}")


@command("doctor", "doctor", "doctor --model sam3 --device cuda")
def doctor(*, model: Model = "tiny", device: Device = "auto", dtype: Dtype = "auto", json: Json = False) -> None:
    """Say what is installed, what it will run on, and how fast."""
    from masklet.workflows.machine import examine_machine

    machine = examine_machine(ModelChoice(name=model, device=device, dtype=dtype))
    typer.echo(jsonlib.dumps(machine.to_json()) if json else "\n".join(machine.lines()))
    if machine.problem is not None:
        raise typer.Exit(1)


@command("merge", "merge model.safetensors run/adapter.safetensors=0.5")
def merge(
    *,
    path_out: Annotated[Path, typer.Argument(metavar="OUT", show_default=False)],
    adapters: Annotated[list[str], typer.Argument(metavar="ADAPTER[=SHARE]...", show_default=False)],
    base: Annotated[
        str | None, typer.Option(help="The model they were made for, if it is not where it was: a name or a path.")
    ] = None,
    json: Json = False,
) -> None:
    """Make one model of adapters and their base; a share says how much of an adapter's change is taken, 1 is all."""
    shares = dict(parse_share(adapter) for adapter in adapters)
    if len(shares) < len(adapters):
        raise WrongUsage("an adapter is given twice")
    from masklet.checkpoints.adapters import merge_adapters
    from masklet.checkpoints.hub import find
    from masklet.checkpoints.weights import write

    merged = merge_adapters(shares, None if base is None else find(base))
    write(merged, path_out)
    written = {"path": str(path_out), "shares": {str(path): share for path, share in shares.items()}}
    typer.echo(jsonlib.dumps(written) if json else f"wrote {path_out}")
