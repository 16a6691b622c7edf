"""`masklet eval coco`: average precision where the categories are a fixed list."""

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device, Dtype, Json, command
from masklet.cli.evaluation.evaluate import Asked, Cache, Images, Out, Overlap, asked_model, eval_app, run


@command(
    "coco",
    "eval coco --gt labels.json --pred results.json",
    "eval coco --gt labels.json --images images --model tiny",
    of=eval_app,
)
def coco(  # noqa: PLR0913 - one argument for each option
    *,
    gt: Annotated[Path, typer.Option(help="Labels in COCO's or LVIS's layout.", show_default=False)],
    pred: Annotated[Path | None, typer.Option(help="Results in COCO's layout.")] = None,
    model: Asked = None,
    images: Images = None,
    iou: Overlap = "boxes",
    lvis: Annotated[bool, typer.Option("--lvis", help="LVIS rules: AP fixed, rare, common and frequent.")] = False,
    present_only: Annotated[
        bool, typer.Option("--present-only", help="AP+: leave out results where a category is absent.")
    ] = False,
    cache: Cache = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Out = None,
    json: Json = False,
) -> None:
    """Average precision of COCO and LVIS, over a fixed list of categories."""
    target = out or (None if json else Path("out"))
    asked = asked_model(pred, model, images, target, device=device, dtype=dtype, cache=cache)
    from masklet.workflows.evaluation.coco import CocoJob, evaluate_coco

    job = CocoJob(gt=gt, pred=pred, model=asked, iou=iou, lvis=lvis, present_only=present_only, out=target)
    run(evaluate_coco, job, json=json)
