"""`masklet eval counting`, `semantic` and `verdicts`: scored by a number an image, a class a pixel, a word an item."""

from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import Device, Dtype, Json, progress_bar
from masklet.cli.evaluate import Asked, Cache, Images, Out, ask, check_asked, eval_app, finish, load, table_lines
from masklet.errors import InputError

if TYPE_CHECKING:
    from masklet.eval.reports.page import Report


@eval_app.command("counting")
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
    """How many are there: mean absolute error, and the share counted exactly."""
    target = out or (None if json else Path("out"))
    check_asked(pred, model, images, target)
    from masklet.eval.concepts.outcomes import RunFiles
    from masklet.eval.predict.predict import Request, write_predictions
    from masklet.eval.tasks.counting import score_counts
    from masklet.formats.benchmarks import read_questions

    questions = read_questions(gt)
    if pred is None and target is not None:
        requests = [Request(each.file_name, key, each.text_input) for key, each in questions.items()]
        with progress_bar(len(requests), "questions") as advance:
            pred = RunFiles(target).predictions("counting")
            asked = load(model or "", device, dtype)
            write_predictions(ask(asked, requests, images or [], cache, advance, assume_present=True), pred)
    tally, found = score_counts(questions, Path(pred or ""))
    counts = [[each.text_input, each.file_name, each.count, found[key]] for key, each in questions.items()]
    scores = _scores("counting", {"gt": str(gt), "pred": str(pred), "model": model}, tally.metrics())
    worst = sorted(counts, key=lambda row: -abs(row[2] - row[3]))[:200]
    columns = ["phrase", "file", "there are", "found"]
    finish(target, scores, _lines(scores), lambda: _page("Counting", scores, "Worst first", columns, worst), json=json)


@eval_app.command("semantic")
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
    """Which class each pixel has: mean IoU over classes."""
    target = out or (None if json else Path("out"))
    check_asked(pred, model, images, target)
    for folder in (gt, pred or gt):
        if not folder.is_dir():
            raise InputError(f"no such folder: {folder}")
    if model is not None and classes is None:
        raise InputError("--model needs --classes: the names that it is asked for")
    from masklet.eval.tasks.semantic import score_folders
    from masklet.formats.benchmarks import read_classes

    names = read_classes(classes) if classes else {}
    if pred is None and target is not None:
        pred = _paint(gt, names, load(model or "", device, dtype), images or [], target / "labels", cache)
    tallies = [tally for _, tally in score_folders(gt, Path(pred or ""))]
    total = sum(tallies[1:], tallies[0])
    by_class = {names.get(key, str(key)): value for key, value in total.iou().items()}
    scores = _scores("semantic", {"gt": str(gt), "pred": str(pred), "model": model}, total.metrics())
    worst = [[name, round(100 * value, 2)] for name, value in sorted(by_class.items(), key=lambda each: each[1])]
    columns = ["class", "IoU %"]
    page = partial(_page, "Semantic segmentation", scores, "Classes, worst first", columns, worst)
    finish(target, scores | {"classes": by_class}, _lines(scores), page, json=json)


def _paint(gt: Path, names: dict[int, str], model: Any, images: list[Path], labels: Path, cache: Path | None) -> Path:
    """Label maps of the model's answers, under the names of the true ones."""
    from masklet.eval.predict.predict import Request
    from masklet.eval.tasks.semantic import image_of, paint
    from masklet.formats.benchmarks import write_label_map

    maps = sorted(path.relative_to(gt) for path in gt.rglob("*.png"))
    numbers = list(names)
    requests = [
        Request(image_of(name, images), place * len(numbers) + index, names[number])
        for place, name in enumerate(maps)
        for index, number in enumerate(numbers)
    ]
    with progress_bar(len(requests), "questions") as advance:
        answers = ask(model, requests, images, cache, advance)
        for name in maps:
            write_label_map(labels / name, paint(list(zip(numbers, islice(answers, len(numbers)), strict=True))))
    return labels


@eval_app.command("verdicts")
def verdicts(
    *,
    gt: Annotated[Path, typer.Option(help="What people said: a list of id and verdict.", show_default=False)],
    pred: Annotated[Path, typer.Option(help="What the verifier said, in the same layout.", show_default=False)],
    out: Out = None,
    json: Json = False,
) -> None:
    """How far a verifier can be trusted: precision and recall of what it rejects."""
    from masklet.eval.tasks.verdicts import score_verdicts

    target = out or (None if json else Path("out"))
    scores = _scores("verdicts", {"gt": str(gt), "pred": str(pred)}, score_verdicts(gt, pred))
    rows = [[name, value] for name, value in scores["metrics"].items()]
    columns = ["figure", "value"]
    finish(target, scores, _lines(scores), lambda: _page("Verdicts", scores, "All", columns, rows), json=json)


def _scores(task: str, settings: dict[str, Any], metrics: dict[str, float]) -> dict[str, Any]:
    return {"format": f"masklet-eval-{task}", "version": 1, "settings": settings, "metrics": metrics}


def _lines(scores: dict[str, Any]) -> list[str]:
    return table_lines(["figure", "value"], [[name, f"{value:.4g}"] for name, value in scores["metrics"].items()])


def _page(title: str, scores: dict[str, Any], table: str, columns: list[str], rows: list[list[Any]]) -> "Report":
    from masklet.eval.reports.page import Figure, Report, Table

    settings = scores["settings"]
    figures = [Figure(name, value) for name, value in list(scores["metrics"].items())[:6]]
    subtitle = f"{settings['pred']} against {settings['gt']}"
    return Report(title=title, subtitle=subtitle, figures=figures, sections=[Table(table, columns, rows)])
