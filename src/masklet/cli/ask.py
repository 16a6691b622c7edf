"""`masklet ask`."""

import json as json_module
from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device, Dtype, Json, Model, command
from masklet.cli.arguments import parse_formats
from masklet.inference.output.registry import IMAGE_FORMATS
from masklet.workflows.ask_image import Asked, AskJob, ask_images
from masklet.workflows.model_choice import ModelChoice


@command(
    "ask",
    "ask photo.jpg 'the three leftmost coins'",
    "ask photo.jpg 'the cup on the table, not the one in the box' --explain",
)
def ask(  # noqa: PLR0913 - one argument for each option
    *,
    image: Annotated[Path, typer.Argument(help="An image.", show_default=False)],
    question: Annotated[str, typer.Argument(help="What to find, in English.", show_default=False)],
    threshold: Annotated[float, typer.Option(help="Keep answers of at least this probability.")] = 0.5,
    explain: Annotated[bool, typer.Option("--explain", help="Tell what was found and left out, and why.")] = False,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for results; `out` unless --json.")] = None,
    format: Annotated[str, typer.Option(help=f"Any of {','.join(IMAGE_FORMATS)}.")] = "overlay",
    json: Json = False,
) -> None:
    """Answer a compound question, such as "the cups on the table, not the one in the box".

    No language model takes part: docs/query.md has the grammar.
    """
    job = AskJob(
        images=(image,),
        question=question,
        threshold=threshold,
        model=ModelChoice(name=model, device=device, dtype=dtype),
        formats=tuple(parse_formats(format, IMAGE_FORMATS)),
        folder=out or (None if json else Path("out")),
    )
    for asked in ask_images(job):
        typer.echo(json_module.dumps(_plain(asked)) if json else _shown(asked, explain=explain))


def _shown(asked: Asked, *, explain: bool) -> str:
    scores = ", ".join(f"{score:.2f}" for score in asked.answer.scores) or "nothing found"
    lines = [f"{asked.path}: {len(asked.answer)} ({scores})", f"read as {asked.readings[0]}"]
    lines += [f"could also be read as {other}" for other in asked.readings[1:3]]
    lines += [asked.answer.explain()] if explain else []
    return "\n".join([*lines, *(f"-> {file}" for file in asked.files)])


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
