"""`masklet eval counting`, `semantic` and `verdicts`."""

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device, Dtype, Json, command
from masklet.cli.evaluation.evaluate import Asked, Cache, Images, Out, asked_model, eval_app, run


@command("counting", "eval counting --gt counts.json --images images --model tiny", of=eval_app)
def counting(  # noqa: PLR0913 - one argument for each option
    *,
    gt: Annotated[Path, typer.Option(help="A list of id, file_name, text_input and count.", show_default=False)],
    pred: Annotated[Path | None, typer.Option(help="Predictions in SA-Co's layout; image_id is the id.")] = None,
    model: Asked = None,
    images: Images = None,
    cache: Cache = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Out = None,
    json: Json = False,
) -> None:
    """Score counts: mean absolute error, and the share counted exactly."""
    target = out or (None if json else Path("out"))
    asked = asked_model(pred, model, images, target, device=device, dtype=dtype, cache=cache)
    from masklet.workflows.evaluation.tasks import CountingJob, evaluate_counting

    run(evaluate_counting, CountingJob(gt=gt, pred=pred, model=asked, out=target), json=json)


@command("semantic", "eval semantic --gt maps --pred predicted --classes classes.json", of=eval_app)
def semantic(  # noqa: PLR0913 - one argument for each option
    *,
    gt: Annotated[Path, typer.Option(help="A folder of label maps (PNG; 255 is not judged).", show_default=False)],
    pred: Annotated[Path | None, typer.Option(help="A folder of label maps of the same names.")] = None,
    model: Asked = None,
    images: Images = None,
    classes: Annotated[Path | None, typer.Option(help='Names of classes: {"3": "tree", ...}.')] = None,
    cache: Cache = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Out = None,
    json: Json = False,
) -> None:
    """Score label maps: mean IoU over classes."""
    target = out or (None if json else Path("out"))
    asked = asked_model(pred, model, images, target, device=device, dtype=dtype, cache=cache)
    from masklet.workflows.evaluation.tasks import SemanticJob, evaluate_semantic

    run(evaluate_semantic, SemanticJob(gt=gt, pred=pred, model=asked, classes=classes, out=target), json=json)


@command("verdicts", "eval verdicts --gt people.json --pred verifier.json", of=eval_app)
def verdicts(
    *,
    gt: Annotated[Path, typer.Option(help="What people said: a list of id and verdict.", show_default=False)],
    pred: Annotated[Path, typer.Option(help="What the verifier said, in the same layout.", show_default=False)],
    out: Out = None,
    json: Json = False,
) -> None:
    """Score a verifier: precision and recall of its rejections."""
    from masklet.workflows.evaluation.tasks import VerdictsJob, evaluate_verdicts

    target = out or (None if json else Path("out"))
    run(evaluate_verdicts, VerdictsJob(gt=gt, pred=pred, out=target), json=json)
