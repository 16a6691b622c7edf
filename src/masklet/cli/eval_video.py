"""`masklet eval video` and `masklet eval vos`: phrases followed through videos, and objects that were given."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import Device, Dtype, Json, progress_bar
from masklet.cli.evaluate import (
    Asked,
    Cache,
    Out,
    Processes,
    check_asked,
    default_cache,
    eval_app,
    finish,
    load,
    table_lines,
)
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.eval.videos.video_files import VideoTruth


@eval_app.command("video")
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
    """Score phrases followed through videos: cgF1, pHOTA, TETA and AP, by masks and by boxes, as published."""
    target = out or (None if json else Path("out"))
    check_asked(pred, model, videos and [videos], target, "--videos")
    _check_there(gt, *([pred] if pred else []))
    from masklet.eval.reports.video_report import describe, main_figures, make_report
    from masklet.eval.videos.video_files import read_predictions, read_truth
    from masklet.eval.videos.video_scores import score_videos

    truth = read_truth(gt)
    if pred is None:
        pred = _predict(truth, load(model or "", device, dtype), videos or Path(), target or Path(), cache)
    predictions = read_predictions(pred, truth.videos)
    with progress_bar(len(truth.videos), "videos") as advance:
        scores = score_videos(truth, predictions, processes, advance)
    settings = {"gt": str(gt), "pred": str(pred), "model": model, "videos": videos and str(videos)}
    described = describe(scores, truth, settings)
    rows = [[each.name, each.show(each.by_mask), each.show(each.by_box)] for each in main_figures(described["metrics"])]
    subtitle = f"{gt.name}, {model or pred.name}"
    lines = table_lines(["", "masks", "boxes"], rows)
    finish(target, described, lines, lambda: make_report(scores, truth, subtitle), json=json)


def _check_there(*paths: Path) -> None:
    for path in paths:
        if not path.exists():
            raise InputError(f"no such file or folder: {path}")


def _predict(truth: "VideoTruth", model: Any, videos: Path, target: Path, cache: Path | None) -> Path:
    from masklet.eval.predict.predict_video import predict_videos, write_predictions

    with progress_bar(len(truth.videos), "videos") as advance:
        records = predict_videos(truth, videos, model, cache or default_cache(), advance)
        return write_predictions(records, target / "predictions.json")


@eval_app.command("vos")
def vos(
    *,
    gt: Annotated[
        Path, typer.Option(help="A folder of indexed pictures for each video, in one; or a YouTube-VIS file.")
    ],
    pred: Annotated[Path, typer.Option(help="The same with what was predicted.")],
    all_frames: Annotated[bool, typer.Option("--all-frames", help="Count the first and the last frame too.")] = False,
    processes: Processes = 1,
    out: Out = None,
    json: Json = False,
) -> None:
    """Score objects that were given and followed: J&F, as DAVIS does."""
    _check_there(gt, pred)
    from masklet.eval.reports.vos_report import describe, make_report
    from masklet.eval.videos.vos_files import find_videos, score_followed

    target = out or (None if json else Path("out"))
    videos = find_videos(gt, pred, all_frames=all_frames)
    with progress_bar(len(videos), "videos") as advance:
        scores = score_followed(videos, processes, advance)
    described = describe(videos, scores, {"gt": str(gt), "pred": str(pred), "all_frames": all_frames})
    names = ("J&F", "J", "F")
    rows = [
        [each["video"], *(f"{100 * each[name]:.1f}" for name in names)]
        for each in (*described["videos"], {"video": "all objects", **described["metrics"]})
    ]
    subtitle = f"{gt.name}, {pred.name}"
    finish(target, described, table_lines(["", *names], rows), lambda: make_report(described, subtitle), json=json)
