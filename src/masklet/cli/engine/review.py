"""`masklet engine review`, `review-import` and `correct-import`: people answer and correct, without a server."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device
from masklet.cli.engine.commands import Person, ProjectFolder, engine_command, opened, tell


@engine_command(
    "review",
    "engine review project --task masks --out sheet.html",
    "engine review project --task exhaustivity --order uncertainty",
)
def review(
    project: ProjectFolder,
    *,
    task: Annotated[str, typer.Option(help="masks, exhaustivity (of it: recheck, negatives) or audit.")] = "masks",
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("sheet.html"),
    limit: Annotated[int, typer.Option(help="At most so many questions.", min=1)] = 500,
    order: Annotated[
        str, typer.Option(help="What comes first: strange, random, uncertainty, disagreement, coreset.")
    ] = "strange",
    known: Annotated[bool, typer.Option("--known/--no-known", help="Hide some known questions among them.")] = True,
) -> None:
    """Write a page of questions for people, strange ones first; it works without network and downloads the answers."""
    from masklet.engine.review.people import hidden_items, hide_among
    from masklet.engine.review.queues import queue
    from masklet.engine.review.selection import ordered
    from masklet.engine.review.sheet import write_sheet

    work = opened(project)
    items = ordered(work, queue(work, task), order)
    shown = items[:limit]
    if known and task == "masks" and shown:
        shown = hide_among(shown, hidden_items(work, len(shown)))
    write_sheet(work, shown, out)
    tell([f"{min(limit, len(items))} of {len(items)} questions -> {out}"])


@engine_command("people", "engine people project")
def people(project: ProjectFolder) -> None:
    """Show how fast everybody answers, and how often they are right on known questions hidden in their sheets."""
    from masklet.engine.review.people import people_scores

    tell([score.line() for score in people_scores(opened(project).view)] or ["nobody has answered yet"])


@engine_command("review-import", "engine review-import project verdicts-masks.json --name Ada")
def review_import(
    project: ProjectFolder,
    file: Annotated[Path, typer.Argument(help="The file that a sheet gave.", show_default=False)],
    *,
    name: Person,
) -> None:
    """Take in the answers of a page of questions, and go on with what they decided."""
    from masklet.engine.review.intake import take_in
    from masklet.engine.review.verdict_file import read_verdicts

    counts = take_in(opened(project), read_verdicts(file), name)
    tell([counted(counts), "go on: masklet engine resume " + str(project)])


@engine_command("correct-import", "engine correct-import project annotations.xml --name Ada --all-done")
def correct_import(
    project: ProjectFolder,
    file: Annotated[Path, typer.Argument(help="Labels from Label Studio, CVAT, LabelMe, COCO.", show_default=False)],
    *,
    name: Person,
    all_done: Annotated[bool, typer.Option(help="Pairs that came back unchanged were looked at, too.")] = False,
    also_final: Annotated[
        bool, typer.Option(help="The file holds all labels of its images; correct what models decided, too.")
    ] = False,
) -> None:
    """Take in labels that were corrected in another tool; see `masklet engine export --for-correction`."""
    from masklet.data.labels.layouts import recognise
    from masklet.engine.clips.exchange import import_clip_corrections
    from masklet.engine.review.corrections import import_corrections

    if recognise(file) == "ytvis":
        counts = import_clip_corrections(opened(project), file, name, all_done=all_done)
    else:
        counts = import_corrections(opened(project), file, name, all_done=all_done, also_final=also_final)
    tell([counted(counts), "go on: masklet engine resume " + str(project)])


def counted(counts: Mapping[str, int]) -> str:
    """Numbers with what they count."""
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "nothing was in it"


@engine_command("train-verifier", "engine train-verifier project --most-false 0.02")
def train_verifier(
    project: ProjectFolder,
    *,
    most_false: Annotated[float, typer.Option(help="Share of wrong answers to let pass.", min=0.001, max=0.5)] = 0.05,
    device: Device = "auto",
) -> None:
    """Train the project's own verifier from what people answered; later runs ask it before they ask people."""
    from masklet.workflows.engine.verifier import train_project_verifier

    tell(train_project_verifier(project, most_false=most_false, device=device))


@engine_command("verifier-eval", "engine verifier-eval project --gt holdout.json --images images")
def verifier_eval(
    project: ProjectFolder,
    *,
    gt: Annotated[Path, typer.Option(help="Held-out labels, in any layout.", show_default=False)],
    images: Annotated[Path, typer.Option(help="Folder of their images.", show_default=False)],
    limit: Annotated[int | None, typer.Option(help="At most so many images.", min=1)] = None,
) -> None:
    """Measure the model alone and with the project's verifier behind it, as two systems, on held-out labels."""
    from masklet.cli.display import Display
    from masklet.workflows.engine.verified import compare_verified

    with Display() as display:
        lines = compare_verified(project, gt, images, limit=limit, observer=display)
    tell(lines)


@engine_command("errors", "engine errors project --out errors.html")
def errors(
    project: ProjectFolder,
    *,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("errors.html"),
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 200,
) -> None:
    """Rank what is wrong in the labels that came in with --labels: overlooked, wrong name, badly outlined, doubled."""
    from masklet.workflows.engine.page import write_errors

    counts = write_errors(opened(project), out, limit)
    tell([f"{counted(counts)} -> {out}"])
