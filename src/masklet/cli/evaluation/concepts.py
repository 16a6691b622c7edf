"""`masklet eval concepts`: cgF1 and its parts, of a file of predictions or of a model."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device, Dtype, Json, WithVerifier, WrongUsage, command
from masklet.cli.evaluation.evaluate import Asked, Cache, Images, Out, Overlap, Processes, asked_model, eval_app, run

HELP_GT = (
    "Labels in any layout that `masklet convert-labels` reads; of SA-Co also FILE,FILE,FILE of several annotators, "
    "or a folder of published files. Repeatable."
)


@command(
    "concepts",
    "eval concepts --gt labels.json --pred predictions.json --images images",
    "eval concepts --gt labels.json --images images --model tiny",
    of=eval_app,
)
def concepts(  # noqa: PLR0913 - one argument for each option
    *,
    gt: Annotated[list[str], typer.Option(metavar="LABELS", help=HELP_GT, show_default=False)],
    pred: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FILE",
            help="Predictions: a file for each subset, as published or from `segment --format coco`, or a folder.",
        ),
    ] = None,
    model: Asked = None,
    with_verifier: WithVerifier = None,
    images: Images = None,
    iou: Overlap = "both",
    processes: Processes = 1,
    cache: Cache = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Out = None,
    json: Json = False,
) -> None:
    """Score predictions for phrases: is the concept present, and are its instances found."""
    target = out or (None if json else Path("out"))
    asked = asked_model(pred, model, images, target, device=device, dtype=dtype, cache=cache)
    if with_verifier is not None:
        if asked is None:
            raise WrongUsage("--with-verifier judges what a model finds: give --model in place of --pred")
        asked = replace(asked, verifier=with_verifier)
    from masklet.workflows.evaluation.concepts import ConceptsJob, evaluate_concepts

    job = ConceptsJob(
        gt=tuple(gt),
        pred=None if pred is None else tuple(pred),
        model=asked,
        images=tuple(images or ()),
        iou=iou,
        processes=processes,
        out=target,
    )
    run(evaluate_concepts, job, json=json)
