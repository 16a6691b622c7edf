"""`masklet demo`."""

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import OUTPUT, command


@command("demo", "demo", "demo --out pictures")
def demo(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.", rich_help_panel=OUTPUT)] = Path("out"),
) -> None:
    """Segment a photo that comes with masklet, with the built-in model: the first run."""
    from masklet.workflows.demo import run_demo

    typer.echo(str(run_demo(out)))
