"""Training from a recipe: the data is examined first, weights are validated on the way, and a report is written."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from masklet.data.doctor import Findings
from masklet.errors import InputError
from masklet.train.recipes.schema import Recipe, load_recipe
from masklet.train.run import loop
from masklet.train.run.data_check import DataCheck
from masklet.train.run.estimate import Estimate
from masklet.train.run.observers import Observer, boards
from masklet.train.run.optim import highest_factor
from masklet.train.run.validator import best_validation, read_validations, validation_images
from masklet.workflows.observer import SILENT, JobObserver, stage
from masklet.workflows.training.processes import is_first_process
from masklet.workflows.training.train_report import REPORT, ReportJob, TrainReport, report_training
from masklet.workflows.training.train_validation import open_validation

SHEET = "data.png"
LEAST_PEAK = 0.8  # of the peak rates
LEAST_VALIDATED = 5  # images


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """A recipe by its name or file, overrides "key.sub=value", and the folder of the run.

    `resume` continues the run in the folder. `report` writes a report at the end of a run that was validated.
    """

    recipe: str
    overrides: tuple[str, ...] = ()
    out: Path = Path("run")
    resume: bool = False
    report: bool = True

    def load_recipe(self) -> Recipe:
        """The recipe with its overrides. Raises: InputError when it does not fit."""
        return load_recipe(self.recipe, self.overrides)


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """A run that is complete, or stopped and can be resumed; its validations of the base and of the best weights."""

    out: Path
    complete: bool
    base: dict[str, Any] | None
    best: dict[str, Any] | None
    report: TrainReport | None = None

    def to_json(self) -> dict[str, Any]:
        """The result for programs."""
        page = self.out / REPORT
        return {
            "out": str(self.out),
            "complete": self.complete,
            "best_step": self.best and self.best["step"],
            "cgF1_before": self.base and self.base["metrics"]["cgF1"],
            "cgF1_after": self.best and self.best["metrics"]["cgF1"],
            "report": str(page) if page.is_file() else None,
        }

    def __str__(self) -> str:
        return f"finished: {self.out}{self._comparison()}"

    def _comparison(self) -> str:
        if self.best is None:
            return ""
        after, step = self.best["metrics"], self.best["step"]
        if self.base is None:
            return f" (best after {step} updates: cgF1 {100 * after['cgF1']:.1f})"
        before = self.base["metrics"]
        better = (after["cgF1"], after["pmF1"]) > (before["cgF1"], before["pmF1"])
        remark = "" if better else "; the base was as good or better"
        return f" (cgF1 {100 * before['cgF1']:.1f} before, {100 * after['cgF1']:.1f} after {step} updates{remark})"


@dataclass(frozen=True)
class CheckedData:
    """What is wrong with the data of a recipe, and a drawing of some of it."""

    findings: Findings
    sheet: Path
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The findings for programs."""
        return {
            "sources": {name: asdict(tally) for name, tally in self.findings.tallies.items()},
            "findings": [asdict(finding) for finding in self.findings.findings],
            "sheet": str(self.sheet),
            "notes": list(self.notes),
        }


def train(job: TrainJob, observer: JobObserver = SILENT, callbacks: Sequence[Observer] = ()) -> TrainResult:
    """Trains to the end of the recipe or until the process is interrupted; `callbacks` follow every update.

    A new run first examines a sample of the data. Of several processes the first one examines, reports and notes.

    Raises: InputError when the recipe, its data or its weights cannot be used.
    """
    recipe = job.load_recipe()
    observer = observer if is_first_process() else SILENT
    if not job.resume and is_first_process():
        _check_sample(recipe, observer)

    # Train with validation
    validate = open_validation(recipe, job.out)
    for line in describe_split(recipe) if not job.resume else ():
        observer.noted(line)
    complete = loop.run(
        job.recipe,
        job.overrides,
        job.out,
        resume=job.resume,
        observers=[*boards(job.out), *callbacks],
        validate=validate,
        announce=lambda estimate: observer.noted(str(estimate)),
    )

    # Report
    validations = read_validations(job.out)
    report = None
    if complete and validations and job.report and is_first_process():
        report = report_training(ReportJob(out=job.out), observer)
    return TrainResult(
        out=job.out,
        complete=complete,
        base=next((line for line in validations if line["step"] == 0), None),
        best=best_validation(validations),
        report=report,
    )


def estimate_training(job: TrainJob) -> Estimate:
    """Memory and time that the run would take; nothing is written."""
    return loop.estimate_run(job.load_recipe())


def check_data(job: TrainJob, observer: JobObserver = SILENT) -> CheckedData:
    """Examines all data of the recipe, and draws some of it into the folder of the run."""
    recipe = job.load_recipe()
    checked = DataCheck(recipe, whole=True)
    findings = _examine(checked, observer)
    checked.write_sheet(job.out / SHEET)
    return CheckedData(findings, job.out / SHEET, (*describe_split(recipe), *describe_schedule(recipe)))


def _check_sample(recipe: Recipe, observer: JobObserver) -> None:
    """Warns of what is wrong with a sample of the data. Raises: InputError when there are errors."""
    checked = DataCheck(recipe, whole=False)
    for line in describe_schedule(recipe):
        observer.warned(line)
    findings = _examine(checked, observer)
    for line in describe_findings(findings) if findings.findings else ():
        observer.warned(line)
    if findings.has_errors:
        raise InputError(
            "the data has errors, so the run did not begin; `masklet train RECIPE --check` looks at all of it"
        )


def _examine(checked: DataCheck, observer: JobObserver) -> Findings:
    with stage(observer, len(checked), "images") as advance:
        return checked.examine(advance)


def describe_schedule(recipe: Recipe) -> list[str]:
    """A line for each schedule whose rates stay far below their peak, as when a run is made much shorter."""
    lines, first = [], 0
    while first < recipe.total_steps:
        _, total, _ = recipe.schedule_at(first)
        highest = highest_factor(total, recipe.optim)
        if highest < LEAST_PEAK:
            lines.append(
                f"warning: in {total} updates the learning rates reach {100 * highest:.0f} % of their peak at most; "
                "shares of the run follow its length: optim.warmup_steps=0.05 optim.cooldown_steps=0.05 "
                "optim.timescale=0.05"
            )
        first += total
    return lines


def describe_split(recipe: Recipe) -> list[str]:
    """How many images are learnt from and how many are held out, and what so few cannot say."""
    if recipe.validation is None:
        return []
    found = validation_images(recipe)
    count = 0 if found is None else len(found[1])
    if count >= LEAST_VALIDATED:
        return [f"validation: on {count} images that are held out"]
    if not count:
        return ["warning: no validation: the data holds no images out; give some with validation.source"]
    what = f"{count} image{'s' * (count > 1)} alone"
    return [f"warning: validation is on {what}: its figures say little; give more with validation.source"]


def describe_findings(findings: Findings) -> list[str]:
    """Lines of text: what each source holds, then what is wrong."""
    lines = []
    for name, tally in findings.tallies.items():
        negatives = tally.negatives / max(1, tally.examined)
        examined = "" if tally.examined == tally.pictures else f" ({tally.examined} examined)"
        lines.append(
            f"{name}: {tally.pictures} images{examined}, {tally.phrases} phrases, {tally.objects} objects "
            f"({tally.masks} with masks), {negatives:.1f} negatives an image"
        )
    for finding in findings.findings:
        lines.append(f"{finding.severity}: {finding.source}: {finding.count} {finding.sentence}")
        lines += [f"    {example}" for example in finding.examples if example != finding.source]
    return lines
