"""`masklet eval video` and `masklet eval vos`."""

import json as jsonlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import Json, progress_bar
from masklet.cli.evaluate import eval_app
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.eval.report import Report

Out = Annotated[Path | None, typer.Option(help="Folder for scores.json and report.html.")]


@eval_app.command()
def video(
    *,
    gt: Annotated[Path, typer.Option(help="SA-Co/VEval annotations, or YouTube-VIS ones.")],
    pred: Annotated[Path, typer.Option(help="A list of predicted masklets.")],
    processes: Annotated[int, typer.Option(help="Videos to score at a time.", min=1)] = 1,
    out: Out = None,
    json: Json = False,
) -> None:
    """Score masklets of phrases: cgF1, pHOTA, TETA and AP, by masks and by boxes, as published."""
    _must_exist(gt, pred)
    from masklet.eval.video import score_videos
    from masklet.eval.video_files import read_predictions, read_truth
    from masklet.eval.video_report import describe, main_figures, make_report

    truth = read_truth(gt)
    predictions = read_predictions(pred, truth.videos)
    with progress_bar(len(truth.videos), "videos") as advance:
        scores = score_videos(truth, predictions, processes, advance)
    described = describe(scores, truth, {"gt": str(gt), "pred": str(pred)})
    if out is not None:
        _write(out, described, make_report(scores, truth, f"{gt.name}, {pred.name}"))
    if json:
        typer.echo(jsonlib.dumps(described["metrics"]))
        return
    rows = [[each.name, each.show(each.by_mask), each.show(each.by_box)] for each in main_figures(described["metrics"])]
    typer.echo(_table([["", "masks", "boxes"], *rows]))


@eval_app.command()
def vos(
    *,
    gt: Annotated[
        Path, typer.Option(help="A folder with one of indexed pictures for each video, or a YouTube-VIS file.")
    ],
    pred: Annotated[Path, typer.Option(help="The same with what was predicted.")],
    all_frames: Annotated[bool, typer.Option("--all-frames", help="Count the first and the last frame too.")] = False,
    processes: Annotated[int, typer.Option(help="Videos to score at a time.", min=1)] = 1,
    out: Out = None,
    json: Json = False,
) -> None:
    """Score objects that were given and followed: J&F, as DAVIS does."""
    _must_exist(gt, pred)
    from masklet.eval.vos_files import find_videos, score_followed
    from masklet.eval.vos_report import describe, make_report

    videos = find_videos(gt, pred, all_frames=all_frames)
    with progress_bar(len(videos), "videos") as advance:
        scores = score_followed(videos, processes, advance)
    described = describe(videos, scores, {"gt": str(gt), "pred": str(pred), "all_frames": all_frames})
    if out is not None:
        _write(out, described, make_report(described, f"{gt.name}, {pred.name}"))
    if json:
        typer.echo(jsonlib.dumps(described["metrics"]))
        return
    names = "J&F", "J", "F"
    rows = [
        [each["video"], *(f"{100 * each[name]:.1f}" for name in names)]
        for each in (*described["videos"], {"video": "all objects", **described["metrics"]})
    ]
    typer.echo(_table([["", *names], *rows]))


def _write(out: Path, described: dict[str, Any], report: "Report") -> None:
    from masklet.eval.outcomes import RunFiles
    from masklet.eval.report import write_report
    from masklet.files import write_atomically

    files = RunFiles(out)
    write_atomically(files.scores, jsonlib.dumps(described, indent=1) + "\n")
    write_report(report, files.report)


def _must_exist(*paths: Path) -> None:
    for path in paths:
        if not path.exists():
            raise InputError(f"no such file or folder: {path}")


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, the first to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )
