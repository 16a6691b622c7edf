"""`masklet eval video` and `masklet eval vos`: phrases tracked through videos, and given objects."""

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Device, Dtype, Json, command
from masklet.cli.evaluation.evaluate import Asked, Cache, Out, Processes, asked_model, eval_app, run


@command(
    "video",
    "eval video --gt labels.json --pred masklets.json",
    "eval video --gt labels.json --videos frames --model tiny",
    of=eval_app,
)
def video(  # noqa: PLR0913 - one argument for each option
    *,
    gt: Annotated[Path, typer.Option(help="SA-Co/VEval annotations, or YouTube-VIS ones.", show_default=False)],
    pred: Annotated[Path | None, typer.Option(help="A list of predicted masklets.")] = None,
    model: Asked = None,
    videos: Annotated[Path | None, typer.Option(help="Where the frames are that the annotations name.")] = None,
    processes: Processes = 1,
    cache: Cache = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Out = None,
    json: Json = False,
) -> None:
    """Score phrases tracked through videos: cgF1, pHOTA, TETA and AP, by masks and by boxes, as published."""
    target = out or (None if json else Path("out"))
    folders = None if videos is None else [videos]
    asked = asked_model(pred, model, folders, target, device=device, dtype=dtype, cache=cache, option="--videos")
    from masklet.workflows.evaluation.videos import VideoJob, evaluate_video

    job = VideoJob(gt=gt, pred=pred, model=asked, videos=videos, processes=processes, out=target)
    run(evaluate_video, job, json=json)


@command(
    "vos",
    "eval vos --gt Annotations --pred masks",
    "eval vos --gt Annotations --videos JPEGImages --model tiny",
    of=eval_app,
)
def vos(  # noqa: PLR0913 - one argument for each option
    *,
    gt: Annotated[
        Path, typer.Option(help="A folder with a folder of indexed images for each video; or a YouTube-VIS file.")
    ],
    pred: Annotated[Path | None, typer.Option(help="The same with what was predicted.")] = None,
    model: Asked = None,
    videos: Annotated[
        Path | None, typer.Option(help="Where the frames are, a folder for each video; of GT as a folder.")
    ] = None,
    all_frames: Annotated[bool, typer.Option("--all-frames", help="Count the first and the last frame too.")] = False,
    processes: Processes = 1,
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Out = None,
    json: Json = False,
) -> None:
    """Score the tracking of objects that are given by their first mask: J&F, as in DAVIS."""
    target = out or (None if json else Path("out"))
    folders = None if videos is None else [videos]
    asked = asked_model(pred, model, folders, target, device=device, dtype=dtype, cache=None, option="--videos")
    from masklet.workflows.evaluation.videos import VosJob, evaluate_vos

    job = VosJob(gt=gt, pred=pred, model=asked, videos=videos, all_frames=all_frames, processes=processes, out=target)
    run(evaluate_vos, job, json=json)
