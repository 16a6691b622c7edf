"""`masklet ask`."""

import json as json_module
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from masklet.cli.app import Device, Dtype, Json, Model, WrongUsage, command
from masklet.cli.arguments import parse_boxes, parse_formats
from masklet.cli.display import Display
from masklet.cli.track import report_video
from masklet.inference.output.registry import IMAGE_FORMATS, VIDEO_FORMATS
from masklet.media.suffixes import MOVING_SUFFIXES, is_image
from masklet.workflows.asking.ask_image import Asked, AskJob, ask_images
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import Product

if TYPE_CHECKING:
    from masklet.workflows.asking.ask_agent import Planner

MODES = ("two-call", "free", "classic")
EFFORTS = ("normal", "high")
FORMATS = f"{','.join(IMAGE_FORMATS)}, of a video {','.join(VIDEO_FORMATS)}"

AGENT = "Agent"
CheckUrl = Annotated[
    str | None,
    typer.Option(
        "--check", metavar="URL", help="Find out what a server's language model can do.", rich_help_panel=AGENT
    ),
]
PlannerUrl = Annotated[
    str | None,
    typer.Option(
        metavar="rules|URL",
        help="Let the agent answer: by rules, or by the language model of a server.",
        rich_help_panel=AGENT,
    ),
]
Llm = Annotated[str, typer.Option(metavar="NAME", help="The server's model.", rich_help_panel=AGENT)]
CallMode = Annotated[
    str,
    typer.Option(
        metavar="|".join(MODES),
        help="two-call suits models below 8 B; classic is the published loop.",
        rich_help_panel=AGENT,
    ),
]
EffortLevel = Annotated[
    str,
    typer.Option(
        "--effort",
        metavar="|".join(EFFORTS),
        help="high has several readings segmented and compared in pairs.",
        rich_help_panel=AGENT,
    ),
]
VerifierOf = Annotated[
    Path | None,
    typer.Option(
        "--verifier",
        metavar="PROJECT",
        help="Let the verifier of a data-engine project judge masks.",
        rich_help_panel=AGENT,
    ),
]
Limits = Annotated[
    str | None,
    typer.Option("--budget", metavar="KEY=N,...", help="Limits, such as rounds=6,seconds=60.", rich_help_panel=AGENT),
]
Replay = Annotated[
    Path | None,
    typer.Option(
        "--replay", metavar="TRACE", help="Run a trace on its image again, without a server.", rich_help_panel=AGENT
    ),
]
Story = Annotated[
    Path | None, typer.Option("--show", metavar="TRACE", help="Write a page of a trace.", rich_help_panel=AGENT)
]
Remote = Annotated[bool, typer.Option("--allow-remote", help="Let images leave this network.", rich_help_panel=AGENT)]
Record = Annotated[
    Path | None, typer.Option(metavar="FOLDER", help="Keep a trace of what happened.", rich_help_panel=AGENT)
]
ToolsSchema = Annotated[
    bool, typer.Option("--tools-schema", help="Print masklet's tools as OpenAI-style JSON.", rich_help_panel=AGENT)
]


@command(
    "ask",
    "ask photo.jpg 'the three leftmost coins'",
    "ask photo.jpg 'the cup on the table, not the one in the box' --explain",
    "ask clip.mp4 'the two leftmost cars'",
    "ask photo.jpg 'what one drinks from' --planner http://127.0.0.1:8080/v1",
    "ask --check http://127.0.0.1:8080/v1",
    "ask photo.jpg --replay traces/photo.jsonl",
)
def ask(  # noqa: PLR0913 - one argument for each option
    *,
    image: Annotated[Path | None, typer.Argument(help="An image, or a video.", show_default=False)] = None,
    question: Annotated[str | None, typer.Argument(help="What to find, in English.", show_default=False)] = None,
    threshold: Annotated[float, typer.Option(help="Keep answers of at least this probability.")] = 0.5,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="[PHRASE=]BOX", help="Example of a concept: cup=x0,y0,x1,y1 in pixels; repeatable."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Tell and draw what was found, left out, and why.")
    ] = False,
    planner: PlannerUrl = None,
    llm: Llm = "default",
    mode: CallMode = "two-call",
    effort: EffortLevel = "normal",
    verifier: VerifierOf = None,
    budget: Limits = None,
    allow_remote: Remote = False,
    record: Record = None,
    replay: Replay = None,
    show: Story = None,
    check: CheckUrl = None,
    tools_schema: ToolsSchema = False,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for results; `out` unless --json.")] = None,
    format: Annotated[str, typer.Option(help=f"Any of {FORMATS}.")] = "overlay",
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run of a video in the folder.")] = False,
    json: Json = False,
) -> None:
    """Answer a compound question, such as "the cups on the table, not the one in the box".

    A video is answered frame by frame, by identities that do not flicker.
    By itself no language model takes part: docs/query.md has the grammar. With --planner the agent answers, which may
    ask a language model for what the grammar does not hold: docs/agent.md.
    """
    if tools_schema:
        from masklet.mcp.requests import openai_tools

        typer.echo(json_module.dumps(openai_tools(), indent=2))
        return
    if show is not None:
        from masklet.workflows.asking.ask_agent import shown

        typer.echo(f"-> {shown(show)}")
        return
    if replay is not None:
        _replay(replay, image, json=json)
        return
    if check is not None:
        _check(check, llm, allow_remote=allow_remote, json=json)
        return
    if image is None or question is None:
        raise WrongUsage("ask needs an image and a question, such as: masklet ask photo.jpg 'the leftmost cup'")
    choice, folder = ModelChoice(name=model, device=device, dtype=dtype), out or (None if json else Path("out"))
    if is_video(image):
        if planner is not None:
            raise WrongUsage("the agent answers images only: ask a video without --planner")
        if box:
            raise WrongUsage("a video is asked by phrases alone: --box is for images")
        _ask_video(image, question, choice, folder, format, explain=explain, resume=resume, json=json)
        return
    if planner is not None:
        _ask_agent(
            image,
            question,
            planner_of(planner, llm, mode, effort, verifier, budget, allow_remote=allow_remote),
            choice,
            folder,
            record,
            json=json,
        )
        return
    job = AskJob(
        images=(image,),
        question=question,
        threshold=threshold,
        examples=tuple(map(_example, box or [])),
        model=choice,
        formats=tuple(parse_formats(format, IMAGE_FORMATS)),
        folder=folder,
        explain=explain,
    )
    for asked in ask_images(job):
        typer.echo(json_module.dumps(_plain(asked)) if json else _shown(asked, explain=explain))


def _example(text: str) -> tuple[str, tuple[int, int, int, int]]:
    """A box with the phrase that it shows, "" where none is given."""
    phrase, _, rest = text.rpartition("=")
    x0, y0, x1, y1 = (round(value) for value in parse_boxes([rest])[0])
    return " ".join(phrase.split()), (x0, y0, x1, y1)


def is_video(path: Path) -> bool:
    """Whether what is asked moves: a video, an animated image or a folder of frames; what is missing is no video."""
    return path.is_dir() or path.suffix.lower() in MOVING_SUFFIXES or (path.is_file() and not is_image(path))


def _ask_video(
    video: Path,
    question: str,
    model: ModelChoice,
    folder: Path | None,
    format: str,
    *,
    explain: bool,
    resume: bool,
    json: bool,
) -> None:
    from masklet.workflows.asking.ask_video import AnswerSpans, FrameAnswer, VideoQuestion, ask_video

    spans = AnswerSpans()

    class Answers(Display):
        def produced(self, product: Product) -> None:
            if isinstance(product, FrameAnswer) and spans.follow(product) and explain and not json:
                typer.echo(product.explain())
            super().produced(product)

    formats = tuple(parse_formats(format, VIDEO_FORMATS))
    asked = VideoQuestion(
        video=str(video), question=question, model=model, formats=formats, folder=folder, resume=resume
    )
    with Answers(json=json, stoppable=True) as display:
        readings, tracked = ask_video(asked, display)
    if not json:
        typer.echo(_read_as(readings))
    report_video(tracked, spans.told(), len(formats), json=json)


def planner_of(
    planner: str,
    llm: str,
    mode: str = "two-call",
    effort: str = "normal",
    verifier: Path | None = None,
    budget: str | None = None,
    *,
    allow_remote: bool,
) -> "Planner":
    """Who plans, as it was written. Raises: WrongUsage for a mode, an effort or a budget that there is not."""
    for name, given, known in (("mode", mode, MODES), ("effort", effort, EFFORTS)):
        if given not in known:
            raise WrongUsage(f"unknown {name} {given!r}: choose from {', '.join(known)}")
    from masklet.workflows.asking.ask_agent import Planner, budget_of

    return Planner(
        url=None if planner == "rules" else planner,
        model=llm,
        mode="free" if mode == "free" else "classic" if mode == "classic" else "two-call",
        effort="high" if effort == "high" else "normal",
        project=verifier,
        budget=None if budget is None else budget_of(budget, effort),
        allow_remote=allow_remote,
    )


def _replay(trace: Path, image: Path | None, *, json: bool) -> None:
    if image is None:
        raise WrongUsage("a trace runs again on its image: masklet ask photo.jpg --replay traces/photo.jsonl")
    from masklet.workflows.asking.ask_agent import replayed

    outcome = replayed(trace, image)
    ids = [mark.id for mark in outcome.marks]
    if json:
        typer.echo(json_module.dumps({"trace": str(trace), "status": outcome.status, "ids": ids}))
        return
    told = f"{outcome.status}: {', '.join(ids) or 'nothing'}{f' ({outcome.reason})' if outcome.reason else ''}"
    typer.echo(f"{trace} runs again as it was recorded\n{told}")


def _check(url: str, llm: str, *, allow_remote: bool, json: bool) -> None:
    from masklet.workflows.asking.ask_agent import check_server

    found = check_server(
        planner_of(url, llm, allow_remote=allow_remote),
        lambda line: None if json else typer.echo(line),
    )
    if json:
        plain = {"way": found.way, "sees": found.sees, "notes": list(found.notes), "verdict": found.verdict}
        typer.echo(json_module.dumps(plain))
        return
    typer.echo("\n".join([*(f"  {note}" for note in found.notes), found.verdict]))


def _ask_agent(
    image: Path,
    question: str,
    planner: "Planner",
    model: ModelChoice,
    folder: Path | None,
    record: Path | None,
    *,
    json: bool,
) -> None:
    from masklet.workflows.asking.ask_agent import AgentJob, run_agent

    job = AgentJob(images=(image,), request=question, model=model, planner=planner, folder=folder, record=record)
    for answer in run_agent(job):
        outcome = answer.outcome
        found = [
            {"id": mark.id, "phrase": "/".join(mark.phrases), "score": round(mark.score, 4), "box": list(mark.box)}
            for mark in outcome.marks
        ]
        if json:
            cost = {"rounds": outcome.rounds, "prompts": outcome.prompts, "requests": outcome.usage.requests}
            plain = {"image": str(answer.path), "status": outcome.status, "reason": outcome.reason, "instances": found}
            typer.echo(json_module.dumps({**plain, **cost, "files": [str(file) for file in answer.files]}))
            continue
        told = ", ".join(f"{each['phrase']} {each['score']:.2f}" for each in found) or "nothing"
        typer.echo(f"{answer.path}: {outcome.status}: {told}{f' ({outcome.reason})' if outcome.reason else ''}")
        typer.echo("\n".join(f"-> {file}" for file in answer.files))


def _shown(asked: Asked, *, explain: bool) -> str:
    scores = ", ".join(f"{score:.2f}" for score in asked.answer.scores) or "nothing found"
    lines = [f"{asked.path}: {len(asked.answer)} ({scores})", _read_as(asked.readings)]
    lines += [asked.answer.explain()] if explain else []
    return "\n".join([*lines, *(f"-> {file}" for file in asked.files)])


def _read_as(readings: Sequence[str]) -> str:
    return "\n".join([f"read as {readings[0]}", *(f"could also be read as {other}" for other in readings[1:3])])


def _plain(asked: Asked) -> dict[str, object]:
    answer = asked.answer
    instances = [
        {"phrase": each.phrase, "score": round(each.score, 4), "box": [round(float(value), 1) for value in each.box]}
        for each in answer.instances
    ]
    looked_for = {phrase: round(value, 4) for phrase, value in answer.looked_for.items()}
    return {
        "image": str(asked.path),
        "readings": list(asked.readings),
        "looked_for": looked_for,
        "instances": instances,
        "explanation": answer.explain().splitlines(),
        "files": [str(file) for file in asked.files],
    }
