"""The family of commands of the data engine, and what they share."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.app import app, command

if TYPE_CHECKING:
    from masklet.engine.stages.stage import Project

engine_app = typer.Typer(
    no_args_is_help=True, help="From a folder of photos to a verified data set: propose, verify, correct, ask why."
)
app.add_typer(engine_app, name="engine")
engine_command = partial(command, of=engine_app)

ProjectFolder = Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder of a project.", show_default=False)]
Person = Annotated[str, typer.Option("--name", help="In whose name.", show_default=False)]


def opened(folder: Path) -> "Project":
    """The project in a folder. Raises: InputError when it is none."""
    from masklet.workflows.engine.folder import open_project

    return open_project(folder)


def tell(lines: list[str]) -> None:
    """Prints lines, or says that there are none."""
    typer.echo("\n".join(lines) if lines else "nothing")
