"""`masklet eval video` and `masklet eval vos`."""

import json as jsonlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.app import Json, progress_bar
from masklet.cli.evaluate import eval_app
from masklet.errors import InputError

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
        from masklet.eval.outcomes import RunFiles
        from masklet.eval.report import write_report
        from masklet.files import write_atomically

        files = RunFiles(out)
        write_atomically(files.scores, jsonlib.dumps(described, indent=1) + "\n")
        write_report(make_report(scores, truth, f"{gt.name}, {pred.name}"), files.report)
    if json:
        typer.echo(jsonlib.dumps(described["metrics"]))
        return
    rows = [[each.name, each.show(each.by_mask), each.show(each.by_box)] for each in main_figures(described["metrics"])]
    typer.echo(_table([["", "masks", "boxes"], *rows]))


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
