"""`masklet engine run` and `masklet engine stats`."""

import json as jsonlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.app import MODEL, Device, Dtype, Json, Stopped, usage
from masklet.cli.display import Display
from masklet.cli.engine.commands import ProjectFolder, engine_command, opened, tell
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.engine.verify.by_language import LanguageTalk
    from masklet.workflows.engine.cost import Cost
    from masklet.workflows.engine.run import EngineResult

BUDGET_USED_UP, POISONED = 3, 4  # exit statuses
ProjectModel = Annotated[
    str | None,
    typer.Option(help="Name or path; by default the project's own, or tiny.", metavar="NAME", rich_help_panel=MODEL),
]
Llm = Annotated[
    str | None, typer.Option(metavar="URL", help="A language model that verifies, and tells phrases if none.")
]
LlmModel = Annotated[str, typer.Option(metavar="NAME", help="The server's model.")]
LlmBudget = Annotated[
    str | None,
    typer.Option("--llm-budget", metavar="KEY=N,...", help="Limits: requests, tokens, seconds, money."),
]
LlmPrice = Annotated[
    str | None, typer.Option("--llm-price", metavar="IN,OUT", help="Of a million tokens, of prompts and of answers.")
]
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
    walk: Annotated[
        bool, typer.Option("--walk", help="Also ask what else is in the photos, down the ontology.")
    ] = False,
    ontology: Annotated[
        Path | None, typer.Option(help="Concepts of your own: CSV, YAML, or lines of Wikidata's JSON.")
    ] = None,
    cap: Annotated[
        int,
        typer.Option(help="Leave phrases out that have so many positives, or that audits show to be solved.", min=0),
    ] = 0,
    people: Annotated[
        bool, typer.Option("--people", help="Ask people about everything, until `train-verifier` has learnt from them.")
    ] = False,
    licence: Annotated[
        str | None,
        typer.Option(
            help="Of the photos, such as CC-BY-4.0; or FOLDER=CC-BY-4.0, with commas between.", show_default=False
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start without asking.")] = False,
    llm: Llm = None,
    llm_model: LlmModel = "default",
    llm_budget: LlmBudget = None,
    llm_price: LlmPrice = None,
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
        walk=walk,
        cap=cap,
        people=people,
        ontology=ontology,
        model=model,
        device=device,
        dtype=dtype,
    )
    language = _language_at(llm, llm_model, llm_budget, llm_price, allow_remote=allow_remote)

    def confirm(cost: "Cost") -> bool:
        typer.echo(str(cost))
        return yes or typer.confirm("Start?", default=True)

    with _poison_told(), Display() as display:
        result = run_engine(job, display, confirm=confirm, language=language)
    if result is None:
        raise Stopped("not started")
    _tell(result, language)


@engine_command("resume", "engine resume project", "engine resume project --llm http://127.0.0.1:8080/v1")
def resume(
    project: ProjectFolder,
    *,
    llm: Llm = None,
    llm_model: LlmModel = "default",
    llm_budget: LlmBudget = None,
    llm_price: LlmPrice = None,
    allow_remote: AllowRemote = False,
) -> None:
    """Go on with a project as it was last run, after people have answered; takes a new snapshot."""
    from masklet.workflows.engine.run import resume_engine

    language = _language_at(llm, llm_model, llm_budget, llm_price, allow_remote=allow_remote)
    with _poison_told(), Display() as display:
        _tell(resume_engine(project, display, language=language), language)


@contextmanager
def _poison_told() -> Iterator[None]:
    from masklet.engine.runner import PoisonError

    try:
        yield
    except PoisonError as error:
        raise Stopped(str(error), POISONED) from error


def _language_at(
    url: str | None, model: str, budget: str | None, price: str | None, *, allow_remote: bool
) -> "LanguageTalk | None":
    from masklet.llm.allowance import Allowance
    from masklet.workflows.asking.ask_agent import Planner
    from masklet.workflows.engine.language import open_language_model

    with usage():
        allowance = Allowance.read(budget, price)
        if url is None and (budget or price):
            raise InputError("--llm-budget and --llm-price are of a language model: name its server with --llm URL")
    if url is None:
        return None
    talk = open_language_model(Planner(url=url, model=model, allow_remote=allow_remote))
    talk.allowance = allowance
    return talk


def _tell(result: "EngineResult", language: "LanguageTalk | None") -> None:
    spent = result.spent
    used = [f"language model: {spent.requests} requests, {spent.prompt_tokens + spent.completion_tokens} tokens"]
    tell([*result.stats.lines(), *(used if language else []), f"next: {result.next_step}", f"-> {result.page}"])
    if result.used_up:
        raise Stopped(f"{result.used_up}; what is done stays done, the same command goes on from there", BUDGET_USED_UP)
    if not result.is_complete:
        raise Stopped(f"stopped; the same command goes on where {result.folder} stands")


@engine_command("stats", "engine stats project", "engine stats project --json")
def stats(
    project: ProjectFolder,
    *,
    channels: Annotated[
        bool, typer.Option("--channels", help="Also what became of the phrases of each origin.")
    ] = False,
    json: Json = False,
) -> None:
    """Show where pairs stand, who answered what, and how far people and models agree."""
    from masklet.engine.project.statistics import CHANNEL_COLUMNS, next_step, statistics
    from masklet.engine.project.statistics import channels as outcomes_of

    view = opened(project).view
    found, rows = statistics(view), outcomes_of(view) if channels else []
    if json:
        more = {"channels": [dict(zip(CHANNEL_COLUMNS, row, strict=True)) for row in rows]} if channels else {}
        tell([jsonlib.dumps(found.to_json() | more)])
        return
    told = [
        f"{origin}: {', '.join(f'{n} {what}' for n, what in zip(counts, CHANNEL_COLUMNS[1:], strict=True) if n)}"
        for origin, *counts in rows
    ]
    tell([*found.lines(), *told, f"next: {next_step(found.states, str(project))}"])
