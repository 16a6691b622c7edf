"""`masklet engine run` and `masklet engine stats`."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.app import MODEL, Device, Dtype, Json, Stopped
from masklet.cli.display import Display
from masklet.cli.engine.commands import ProjectFolder, engine_command, opened, tell

if TYPE_CHECKING:
    from masklet.engine.verify.by_language import LanguageTalk
    from masklet.workflows.engine.cost import Cost
    from masklet.workflows.engine.run import EngineResult


ProjectModel = Annotated[
    str | None,
    typer.Option(help="Name or path; by default the project's own, or tiny.", metavar="NAME", rich_help_panel=MODEL),
]
Llm = Annotated[
    str | None, typer.Option(metavar="URL", help="A language model that verifies, and tells phrases if none.")
]
LlmModel = Annotated[str, typer.Option(metavar="NAME", help="The server's model.")]
AllowRemote = Annotated[bool, typer.Option("--allow-remote", help="Let photos leave this network.")]


@engine_command(
    "run",
    'engine run PHOTOS --phrases "coin, cat, red mug" --out project',
    "engine run PHOTOS --labels annotations.json --out project",
    "engine run PHOTOS --out project --llm http://127.0.0.1:8080/v1",
)
def run(  # noqa: PLR0913 - one argument for each option
    *,
    photos: Annotated[Path, typer.Argument(help="Folder of photos.", show_default=False)],
    phrases: Annotated[str, typer.Option(help="What to look for, with commas between.")] = "",
    out: Annotated[Path, typer.Option(help="Folder of the project; an existing one is continued.")] = Path("project"),
    labels: Annotated[Path | None, typer.Option(help="Labels to check, in any layout that `train` reads.")] = None,
    captions: Annotated[Path | None, typer.Option(help="Lines of FILE<tab>caption to take phrases from.")] = None,
    negatives: Annotated[int, typer.Option(help="Look-alikes to ask of each image that shows something.", min=0)] = 0,
    harder: Annotated[
        bool, typer.Option("--harder", help="Try weak phrases again, by an example and by broader names.")
    ] = False,
    licence: Annotated[
        str, typer.Option(help="Of the photos, such as CC-BY-4.0; or FOLDER=CC-BY-4.0, with commas between.")
    ] = "unknown",
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
    llm: Llm = None,
    llm_model: LlmModel = "default",
    allow_remote: AllowRemote = False,
    model: ProjectModel = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Label all photos of a folder: masks, verification, a snapshot, and a page that shows what is left for people."""
    from masklet.workflows.engine.folder import parse_phrase_list
    from masklet.workflows.engine.run import EngineJob, run_engine

    job = EngineJob(
        photos=photos,
        folder=out,
        phrases=parse_phrase_list(phrases),
        labels=labels,
        captions=captions,
        licence=licence,
        negatives=negatives,
        harder=harder,
        model=model,
        device=device,
        dtype=dtype,
    )
    language = _language_at(llm, llm_model, allow_remote=allow_remote)

    def confirm(cost: "Cost") -> bool:
        typer.echo(str(cost))
        return yes or typer.confirm("Start?", default=True)

    with Display() as display:
        result = run_engine(job, display, confirm=confirm, language=language)
    if result is None:
        raise Stopped("not started")
    _tell(result, language)


@engine_command("resume", "engine resume project", "engine resume project --llm http://127.0.0.1:8080/v1")
def resume(
    project: ProjectFolder, *, llm: Llm = None, llm_model: LlmModel = "default", allow_remote: AllowRemote = False
) -> None:
    """Go on with a project as it was last run, after people have answered; takes a new snapshot."""
    from masklet.workflows.engine.run import resume_engine

    language = _language_at(llm, llm_model, allow_remote=allow_remote)
    with Display() as display:
        _tell(resume_engine(project, display, language=language), language)


def _language_at(url: str | None, model: str, *, allow_remote: bool) -> "LanguageTalk | None":
    if url is None:
        return None
    from masklet.workflows.asking.ask_agent import Planner
    from masklet.workflows.engine.language import open_language_model

    return open_language_model(Planner(url=url, model=model, allow_remote=allow_remote))


def _tell(result: "EngineResult", language: "LanguageTalk | None") -> None:
    spent = result.spent
    used = [f"language model: {spent.requests} requests, {spent.prompt_tokens + spent.completion_tokens} tokens"]
    tell([*result.stats.lines(), *(used if language else []), f"next: {result.next_step}", f"-> {result.page}"])
    if not result.is_complete:
        raise Stopped(f"stopped; the same command goes on where {result.folder} stands")


@engine_command("stats", "engine stats project", "engine stats project --json")
def stats(project: ProjectFolder, *, json: Json = False) -> None:
    """Show where pairs stand, who answered what, and how far people and models agree."""
    from masklet.engine.project.statistics import next_step, statistics

    found = statistics(opened(project).view)
    tell(
        [jsonlib.dumps(found.to_json())] if json else [*found.lines(), f"next: {next_step(found.states, str(project))}"]
    )
