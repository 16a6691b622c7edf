"""`masklet eval report` and `masklet eval compare`: pages made from runs of `masklet eval concepts`."""

import json as jsonlib
from pathlib import Path
from typing import Annotated, Any

import typer

from masklet.cli.app import Json
from masklet.cli.evaluate import eval_app, table_lines
from masklet.errors import InputError
from masklet.eval.concepts.outcomes import RunFiles

Images = Annotated[list[Path] | None, typer.Option(help="Where the images are; may be repeated.")]
Run = Annotated[Path, typer.Argument(help="Folder of an evaluation.", show_default=False)]


@eval_app.command("report")
def report(*, run: Run, images: Images = None, json: Json = False) -> None:
    """Write the page of an evaluation of concepts anew: what goes wrong, where, and what it looks like."""
    from masklet.eval.reports.concept_report import build_concept_report, read_scores
    from masklet.eval.reports.page import write_report

    files = _run_files(run)
    folders = _folders(images, read_scores(files)["settings"])
    path = write_report(build_concept_report(files, folders), files.report)
    typer.echo(jsonlib.dumps({"report": str(path)}) if json else f"report: {path}")


@eval_app.command("compare")
def compare(
    *,
    run_a: Run,
    run_b: Annotated[Path, typer.Argument(help="Folder of another one over the same pairs.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="Folder for results; `out` unless --json.")] = None,
    images: Images = None,
    seed: Annotated[int, typer.Option(help="Of the random weights and swaps.")] = 0,
    json: Json = False,
) -> None:
    """Say what changed from one evaluation of concepts to another, and whether that is more than luck."""
    from masklet.eval.analysis.compare import compare_runs
    from masklet.eval.reports.compare_report import build_compare_report, comparison_scores
    from masklet.eval.reports.concept_report import read_scores
    from masklet.eval.reports.page import write_report
    from masklet.files import write_atomically

    first, second = _run_files(run_a), _run_files(run_b)
    scores = read_scores(first), read_scores(second)
    kinds = [next(iter(each["metrics"]), None) for each in scores]
    if kinds[0] != kinds[1]:
        raise InputError(f"the runs differ: {first.scores} compares by {kinds[0]}, {second.scores} by {kinds[1]}")
    folders = _folders(images, scores[0]["settings"])
    names = _names(run_a, run_b)
    found = compare_runs(first, second, seed=seed)
    figures = comparison_scores(found, names)
    typer.echo(jsonlib.dumps(figures) if json else "\n".join(_table(figures)))
    target = out or (None if json else Path("out"))
    if target is not None:
        write_atomically(RunFiles(target).scores, jsonlib.dumps(figures, indent=1) + "\n")
        path = write_report(build_compare_report(found, names, folders), RunFiles(target).report)
        if not json:
            typer.echo(f"report: {path}")


def _run_files(folder: Path) -> RunFiles:
    files = RunFiles(folder)
    for path in (files.scores, files.outcomes):
        if not path.is_file():
            raise InputError(f"{folder} holds no evaluation of concepts: there is no {path.name}")
    return files


def _folders(given: list[Path] | None, settings: dict[str, Any]) -> list[Path]:
    """The folders asked for, or those that the run itself was given."""
    for folder in given or []:
        if not folder.is_dir():
            raise InputError(f"no such folder: {folder}")
    known = settings.get("images")
    return given or [Path(folder) for folder in (known if isinstance(known, list) else []) if isinstance(folder, str)]


def _names(run_a: Path, run_b: Path) -> tuple[str, str]:
    """Folder names where they differ, paths where they do not."""
    if run_a.resolve().name != run_b.resolve().name:
        return run_a.resolve().name, run_b.resolve().name
    return str(run_a), str(run_b)


def _table(figures: dict[str, Any]) -> list[str]:
    from masklet.eval.reports.compare_report import p_text
    from masklet.eval.reports.concept_report import HEADLINE, scaled

    rows = []
    for name, each in figures["figures"].items():
        digits = 3 if name == "IL_MCC" else 2
        numbers = [scaled(name, each[key]) for key in ("first", "second", "difference", "low", "high")]
        shown = ["-" if number is None else f"{number:.{digits}f}" for number in numbers]
        rows.append([HEADLINE[name], *shown[:3], f"{shown[3]} to {shown[4]}", p_text(each["p_value"])])
    first, second = figures["runs"]
    counts = f"{figures['pairs']} pairs: {figures['better']} got better, {figures['worse']} got worse"
    return [*table_lines(["figure", first, second, "change", "95 % interval", "p"], rows), counts]
