"""`masklet eval coco`: average precision where the categories are a fixed list."""

import json as jsonlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import Device, Dtype, Json, progress_bar
from masklet.cli.evaluate import (
    Asked,
    Cache,
    Images,
    Out,
    Overlap,
    ask,
    check_asked,
    eval_app,
    finish,
    kinds_of,
    load,
    table_lines,
)
from masklet.files import write_atomically

if TYPE_CHECKING:
    from masklet.eval.reports.page import Report
    from masklet.eval.tasks.detection import DetectionTruth

SHOWN = ("AP_all", "AP_50", "AP_75", "AP_small", "AP_medium", "AP_large", "APr", "APc", "APf", "AR_all")


@eval_app.command("coco")
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
    check_asked(pred, model, images, target)
    kinds = kinds_of(iou)
    from masklet.eval.tasks.detection import DetectionProtocol, DetectionTruth
    from masklet.formats.coco import read_results

    truth = DetectionTruth.read(gt)
    if pred is None and target is not None:
        pred = _predict(truth, load(model or "", device, dtype), images or [], target, cache)
    protocol = DetectionProtocol(kinds=kinds, lvis=lvis, present_only=present_only)
    metrics = protocol.score(truth, read_results(Path(pred or ""), truth.labels))
    settings = {
        "gt": str(gt),
        "pred": str(pred),
        "model": model,
        "iou": iou,
        "lvis": lvis,
        "present_only": present_only,
    }
    scores = {"format": "masklet-eval-coco", "version": 1, "settings": settings, "metrics": metrics}
    rows = [_row(kind, figures, metrics) for kind, figures in metrics.items()]
    lines = table_lines(["by", *_columns(metrics)], rows)
    finish(target, scores, lines, lambda: _page(scores), json=json)


def _predict(truth: "DetectionTruth", model: Any, images: list[Path], target: Path, cache: Path | None) -> Path:
    from masklet.eval.tasks.detection import requests_of, results_of
    from masklet.formats.records import to_json

    requests = requests_of(truth)
    with progress_bar(len(requests), "questions") as advance:
        results = [to_json(each) for each in results_of(ask(model, requests, images, cache, advance), truth)]
    return write_atomically(target / "results.json", jsonlib.dumps(results))


def _columns(metrics: dict[Any, dict[str, float]]) -> list[str]:
    figures = next(iter(metrics.values()))
    return [name for name in SHOWN if name in figures]


def _row(kind: str, figures: dict[str, float], metrics: dict[Any, dict[str, float]]) -> list[str]:
    shown = ["-" if figures[name] == -1 else f"{100 * figures[name]:.2f}" for name in _columns(metrics)]
    return [{"segm": "masks", "bbox": "boxes"}[kind], *shown]


def _page(scores: dict[str, Any]) -> "Report":
    from masklet.eval.reports.page import Figure, Report, Table

    metrics = scores["metrics"]
    columns = _columns(metrics)
    rows = [_row(kind, figures, metrics) for kind, figures in metrics.items()]
    first = next(iter(metrics.values()))
    return Report(
        title="Average precision",
        subtitle=f"{scores['settings']['pred']} against {scores['settings']['gt']}",
        figures=[Figure(name, 100 * first[name], unit="%") for name in columns[:3]],
        sections=[Table("AP and AR", ["by", *columns], rows, note="Percent; - where nothing is there to be found.")],
    )
