"""The family of commands of the data engine, and what they share."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.app import Stopped, app, command

if TYPE_CHECKING:
    from masklet.engine.stages.stage import Project
    from masklet.engine.verify.by_language import LanguageTalk
    from masklet.workflows.engine.run import EngineResult

engine_app = typer.Typer(
    no_args_is_help=True, help="From a folder of photos to a verified data set: propose, verify, correct, ask why."
)
app.add_typer(engine_app, name="engine")
engine_command = partial(command, of=engine_app)

ProjectFolder = Annotated[Path, typer.Argument(metavar="PROJECT", help="Folder of a project.", show_default=False)]
Llm = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="A language model that sees verifies; without --phrases it also tells what is in each photo.",
    ),
]
LlmModel = Annotated[str, typer.Option(metavar="NAME", help="The server's model.")]
AllowRemote = Annotated[bool, typer.Option("--allow-remote", help="Let photos leave this network.")]
Person = Annotated[str, typer.Option("--name", help="In whose name.", show_default=False)]


def opened(folder: Path) -> "Project":
    """The project in a folder. Raises: InputError when it is none."""
    from masklet.workflows.engine.folder import open_project

    return open_project(folder)


def tell(lines: list[str]) -> None:
    """Prints lines, or says that there are none."""
    typer.echo("\n".join(lines) if lines else "nothing")


def language_at(url: str | None, model: str, *, allow_remote: bool) -> "LanguageTalk | None":
    """The language model behind a server, tried; None without an address. Raises: InputError when it cannot be used."""
    if url is None:
        return None
    from masklet.workflows.ask_agent import Planner
    from masklet.workflows.engine.language import open_language_model

    return open_language_model(Planner(url=url, model=model, allow_remote=allow_remote))


def tell_result(result: "EngineResult", again: str, *, with_language: bool) -> None:
    """Prints how a project stands after a run. Raises: Stopped, with `again`, when it was stopped."""
    spent = result.spent
    used = [f"language model: {spent.requests} requests, {spent.prompt_tokens + spent.completion_tokens} tokens"]
    tell([*result.stats.lines(), *(used if with_language else []), f"next: {result.next_step}", f"-> {result.page}"])
    if not result.is_complete:
        raise Stopped(again)
