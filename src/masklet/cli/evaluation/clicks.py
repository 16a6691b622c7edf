"""`masklet eval clicks`."""

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device, Dtype, Json, Model, command
from masklet.cli.evaluation.evaluate import eval_app, run
from masklet.workflows.model_choice import ModelChoice

HELP_GT = "Labels in COCO or SA-Co JSON; for videos the folder of DAVIS annotations, one folder in it for each."


@command("clicks", "eval clicks --gt labels.json --images images --model tiny", of=eval_app)
def clicks(  # noqa: PLR0913 - one argument for each option
    *,
    gt: Annotated[Path, typer.Option(help=HELP_GT, show_default=False)],
    images: Annotated[Path, typer.Option(help="Folder of the images, or of a folder of frames for each video.")],
    mode: Annotated[str, typer.Option(help="What the user does: images, videos or exemplars.")] = "images",
    rounds: Annotated[int | None, typer.Option(help="Clicks, frames clicked on, or examples.", min=1)] = None,
    limit: Annotated[int | None, typer.Option(help="This many images or objects, drawn by chance.", min=1)] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn by chance.", min=0)] = 0,
    model: Model = "tiny",
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Annotated[Path | None, typer.Option(help="Folder for scores.json, report.html and curve.svg.")] = None,
    json: Json = False,
) -> None:
    """Score a model in the hands of simulated users: clicks on objects of images or videos, examples of concepts."""
    from masklet.workflows.evaluation.clicks import ClicksJob, evaluate_clicks

    job = ClicksJob(
        gt=gt,
        images=images,
        mode=mode,
        rounds=rounds,
        limit=limit,
        seed=seed,
        model=ModelChoice(name=model, device=device, dtype=dtype),
        out=out,
    )
    run(evaluate_clicks, job, json=json)
