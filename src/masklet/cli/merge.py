"""`masklet merge`."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Json, WrongUsage, command
from masklet.cli.arguments import parse_share


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
