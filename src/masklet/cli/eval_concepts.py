"""`masklet eval concepts`: cgF1 and its parts, of a file of predictions or of a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from masklet.cli.app import Device, Dtype, Json, complain, progress_bar
from masklet.cli.evaluate import (
    Asked,
    Cache,
    Images,
    Out,
    Overlap,
    Processes,
    ask,
    check_asked,
    eval_app,
    finish,
    kinds_of,
    load,
    table_lines,
)
from masklet.eval.concepts.outcomes import RunFiles

if TYPE_CHECKING:
    from masklet.eval.concepts.tally import Tally
    from masklet.eval.reports.page import Report
    from masklet.formats.saco import Subset

COLUMNS = {
    "cgF1": "cgF1",
    "IL_MCC": "IL_MCC",
    "positive_micro_F1": "pmF1",
    "positive_micro_F1@0.5": "pmF1@0.5",
    "positive_macro_F1": "macro F1",
    "IL_precision": "IL prec.",
    "IL_recall": "IL recall",
    "count_MAE": "count MAE",
}
AS_THEY_ARE = frozenset({"IL_MCC", "count_MAE"})  # the others are shown as percentages, as in published tables
HELP_GT = "SA-Co labels: a file, FILE,FILE,FILE of several annotators, or a folder of published files; repeatable."


@eval_app.command("concepts")
def concepts(  # noqa: PLR0913 - one argument for each option
    *,
    gt: Annotated[list[str], typer.Option(help=HELP_GT, show_default=False)],
    pred: Annotated[
        list[str] | None, typer.Option(help="Predictions: a file for each subset, or a folder of <subset>.json.")
    ] = None,
    model: Asked = None,
    images: Images = None,
    iou: Overlap = "both",
    processes: Processes = 1,
    cache: Cache = None,
    device: Device = "auto",
    dtype: Dtype = "auto",
    out: Out = None,
    json: Json = False,
) -> None:
    """Score what was found for phrases: is the concept there, and are its instances found."""
    from masklet.formats.saco import find_predictions, find_subsets

    kinds = kinds_of(iou)
    target = out or (None if json else Path("out"))
    check_asked(pred, model, images, target)
    subsets = find_subsets(gt)
    if model is not None and target is not None:
        predictions = _predict(subsets, load(model, device, dtype), images or [], target, cache)
    else:
        predictions = find_predictions(pred or [], subsets)
    settings = {
        "gt": [[str(file) for file in subset.files] for subset in subsets],
        "pred": [str(path) for path in predictions],
        "model": model,
        "images": [str(folder) for folder in images or []],
        "iou": iou,
    }
    scores = _score(subsets, predictions, kinds, processes, target, settings)
    for note in _notes(scores["notes"]):
        complain(note)
    finish(target, scores, _table(scores), lambda: _page(target, images or []), json=json)


def _page(target: Path | None, images: list[Path]) -> "Report":
    from masklet.eval.reports.concept_report import build_concept_report

    return build_concept_report(RunFiles(target or Path()), images)


def _predict(subsets: "list[Subset]", model: Any, images: list[Path], target: Path, cache: Path | None) -> list[Path]:
    """Asks the model for every pair and writes its predictions, subset by subset."""
    from masklet.eval.predict.predict import Request, write_predictions
    from masklet.formats.saco import read_pairs

    files = []
    for subset in subsets:
        requests = [Request(pair.file_name, pair.id, pair.text_input) for pair in read_pairs(subset.files[0])]
        with progress_bar(len(requests), "pairs") as advance:
            answers = ask(model, requests, images, cache, advance)
            files.append(RunFiles(target).predictions(subset.name))
            write_predictions(answers, files[-1])
    return files


def _score(
    subsets: "list[Subset]",
    predictions: list[Path],
    kinds: Any,
    processes: int,
    target: Path | None,
    settings: dict[str, Any],
) -> dict[str, Any]:
    from masklet.eval.concepts.buckets import Source
    from masklet.eval.concepts.concept_run import ConceptEvaluation, summarise

    sources = tuple(map(Source.of, subsets, predictions))
    evaluation = ConceptEvaluation(
        sources=sources, kinds=kinds, processes=processes, outcomes=RunFiles(target).outcomes if target else None
    )
    tallies: dict[str, Tally] = {}
    for step in evaluation.run():
        tallies[step.subset] = step.tally
        if step.share < 1:
            figure = step.tally.kinds[kinds[0]].metrics()["cgF1"]
            typer.echo(f"{step.subset}: {step.share:.0%} scored, cgF1 so far {100 * figure:.2f}", err=True)
    return summarise(tallies, settings)


def _notes(notes: dict[str, int]) -> list[str]:
    lines = []
    if notes["unknown_pairs"]:
        lines.append(f"{notes['unknown_pairs']} predictions belong to no pair of the labels and were left out")
    if notes["unknown_categories"]:
        lines.append(
            f"{notes['unknown_categories']} predictions have a category_id that the labels do not name; left out"
        )
    return lines


def _table(scores: dict[str, Any]) -> list[str]:
    """A line for each subset and way of overlap, and one for their mean."""
    rows = []
    for kind, means in scores["metrics"].items():
        named = [(name, subset[kind], subset["pairs"]) for name, subset in scores["subsets"].items()]
        if len(named) > 1:
            named.append(("mean of subsets", means, sum(pairs for *_, pairs in named)))
        for name, figures, pairs in named:
            shown = [_shown(figures[key], key) for key in COLUMNS]
            rows.append([name, {"segm": "masks", "bbox": "boxes"}[kind], str(pairs), *shown])
    return table_lines(["subset", "by", "pairs", *COLUMNS.values()], rows)


def _shown(value: float, name: str) -> str:
    if name.startswith("positive_macro") and value == -1:
        return "-"
    return f"{value:.3f}" if name in AS_THEY_ARE else f"{100 * value:.2f}"
