"""Pages made from runs of the evaluation of concepts: that of one run, and the comparison of two."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from masklet.errors import InputError
from masklet.eval.analysis.compare import compare_runs
from masklet.eval.concepts.outcomes import RunFiles
from masklet.eval.reports.compare_report import build_compare_report, comparison_scores, comparison_table
from masklet.eval.reports.concept_report import Scores, build_concept_report, read_scores
from masklet.eval.reports.page import write_report
from masklet.workflows.evaluation.evaluate import Evaluation, finish
from masklet.workflows.observer import SILENT, JobObserver


@dataclass(frozen=True, kw_only=True)
class PageJob:
    """The folder of an evaluation of concepts, and those of its images; by default those that it was given."""

    run: Path
    images: tuple[Path, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CompareJob:
    """Two evaluations of concepts over the same pairs; `seed` is that of the random weights and swaps."""

    first: Path
    second: Path
    images: tuple[Path, ...] = ()
    seed: int = 0
    out: Path | None = None


def write_page(job: PageJob) -> Path:
    """Writes the page of an evaluation again. Raises: InputError when a file of the run cannot be read."""
    files = _run_files(job.run)
    folders = _folders(job.images, read_scores(files))
    return write_report(build_concept_report(files, folders), files.report)


def compare_evaluations(job: CompareJob, observer: JobObserver = SILENT) -> Evaluation:
    """What changed from the first run to the second, and whether chance explains it.

    Raises: InputError when a run cannot be read, or the pairs differ.
    """
    first, second = _run_files(job.first), _run_files(job.second)
    scores = read_scores(first), read_scores(second)
    kinds = [next(iter(each["metrics"]), None) for each in scores]
    if kinds[0] != kinds[1]:
        raise InputError(f"the runs differ: {first.scores} compares by {kinds[0]}, {second.scores} by {kinds[1]}")
    folders = _folders(job.images, scores[0])
    names = job.first.resolve().name, job.second.resolve().name
    if names[0] == names[1]:
        names = str(job.first), str(job.second)
    found = compare_runs(first, second, seed=job.seed)
    evaluation = Evaluation(
        scores=comparison_scores(found, names),
        tables=(comparison_table(found, names),),
        remark=f"{found.num_pairs} pairs: {found.num_better} got better, {found.num_worse} got worse",
    )
    return finish(evaluation, partial(build_compare_report, found, names, folders), job.out, observer)


def _run_files(folder: Path) -> RunFiles:
    files = RunFiles(folder)
    for path in (files.scores, files.outcomes):
        if not path.is_file():
            raise InputError(f"{folder} holds no evaluation of concepts: there is no {path.name}")
    return files


def _folders(given: Sequence[Path], scores: Scores) -> list[Path]:
    for folder in given:
        if not folder.is_dir():
            raise InputError(f"no such folder: {folder}")
    known = scores["settings"].get("images")
    return list(given) or [Path(each) for each in (known if isinstance(known, list) else []) if isinstance(each, str)]
