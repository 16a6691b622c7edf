"""`masklet engine run`: from a folder of photos to a verified data set, with what it costs said before."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import masklet
from masklet.engine.digests import digest_of
from masklet.engine.project.statistics import EngineStats, next_step, statistics
from masklet.engine.records import Fact
from masklet.engine.runner import Progress, Runner
from masklet.engine.snapshots import Snapshot, export_saco, take_snapshot
from masklet.engine.stages.proposals import ToldPhrases
from masklet.engine.stages.stage import Foretelling, Project, Stage
from masklet.engine.verify.by_language import (
    AllowanceUsedUpError,
    LanguageLookalikes,
    LanguageModelGoneError,
    LanguageTalk,
    LanguageTeller,
    LanguageVerifier,
)
from masklet.errors import InputError
from masklet.llm.messages import Usage
from masklet.protocols import Segmenter
from masklet.workflows.engine.cost import Cost, estimate, estimate_blind
from masklet.workflows.engine.folder import (
    SETTINGS,
    SNAPSHOT,
    ProjectSettings,
    open_project,
    read_photo_settings,
    write_readme,
    write_settings,
)
from masklet.workflows.engine.page import write_page
from masklet.workflows.engine.plan import LateModel, first_verifier, stages_of
from masklet.workflows.engine.verifier import project_verifier
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import SILENT, JobObserver


@dataclass(frozen=True, kw_only=True)
class EngineJob:
    """Photos, what to look for in them, and the folder of the project.

    Without a `model` it is the project's own, which may be one that a round of learning has made, and `tiny` for a new
    project; without a `licence` it is what was named before, if any. Raises: InputError when the photos are no folder,
    or are the project's own.
    """

    photos: Path
    folder: Path
    phrases: tuple[str, ...] = ()
    labels: Path | None = None
    captions: Path | None = None
    licence: str | None = None
    negatives: int = 0
    harder: bool = False
    walk: bool = False
    ontology: Path | None = None
    cap: int = 0
    people: bool = False
    model: str | None = None
    device: str = "auto"
    dtype: str = "auto"

    def __post_init__(self) -> None:
        if not self.photos.is_dir():
            raise InputError(f"{self.photos} is not a folder of photos")
        if self.folder.resolve() == self.photos.resolve():
            raise InputError("the project needs a folder of its own: name another one with --out")

    def settings(self, *, has_language: bool = False) -> ProjectSettings:
        """What is kept of the job; a language model tells phrases where nothing else does."""
        before = read_photo_settings(self.folder) if (self.folder / SETTINGS).is_file() else None
        return ProjectSettings(
            photos=str(self.photos.resolve()),
            phrases=self.phrases,
            labels=str(self.labels.resolve()) if self.labels else None,
            captions=str(self.captions.resolve()) if self.captions else None,
            licence=self.licence or (before.licence if before else "unknown"),
            model=self.model or (before.model if before else ModelChoice().name),
            negatives=self.negatives,
            harder=self.harder,
            walk=self.walk,
            cap=self.cap,
            people=self.people,
            ontology=str(self.ontology.resolve()) if self.ontology else None,
            told=has_language and not (self.phrases or self.captions or self.labels),
        )


@dataclass(frozen=True, kw_only=True)
class EngineResult:
    """How a project stands after a run; no snapshot while nothing is final, `is_complete` False after Ctrl-C.

    `spent` is what the language model took, trial included; `used_up` says which limit of it ended the run.
    """

    folder: Path
    is_complete: bool
    stats: EngineStats
    snapshot: Snapshot | None
    next_step: str
    page: Path
    spent: Usage = field(default_factory=Usage)
    used_up: str = ""


def run_engine(
    job: EngineJob,
    observer: JobObserver = SILENT,
    *,
    confirm: Callable[[Cost], bool] = lambda _: True,
    segmenter: Segmenter | None = None,
    language: LanguageTalk | None = None,
) -> EngineResult | None:
    """Runs a project until nothing is left to do; None when `confirm` said no to what it costs.

    With `language` a language model verifies, and tells what is in the photos where nothing else does. What is done
    stays done, whenever it is stopped. Raises: InputError for photos, labels or a project that cannot be used, or a
    language model that is gone.
    """
    settings = job.settings(has_language=language is not None)
    write_settings(job.folder, settings)
    project = open_project(job.folder)
    model = segmenter or LateModel(ModelChoice(name=settings.model, device=job.device, dtype=job.dtype))
    with _told_when_gone():
        stages = _stages(project, settings, model, job.folder, language)
        cost = _cost_of(project, settings, stages, model, language)
        if cost.photos and not confirm(cost):
            return None
        return _run(project, settings, stages, job.folder, observer, language)


def _cost_of(
    project: Project,
    settings: ProjectSettings,
    stages: Sequence[Stage],
    model: Segmenter,
    language: LanguageTalk | None,
) -> Cost:
    told = next((stage for stage in stages if isinstance(stage, ToldPhrases)), None)
    if told is not None and language is not None:
        return estimate_blind(project, told, language, settings.negatives)
    channels = [stage for stage in stages if isinstance(stage, Foretelling)]
    return estimate(project, channels, model, language, settings.negatives, first_verifier(settings))


@contextmanager
def _told_when_gone() -> Iterator[None]:
    try:
        yield
    except LanguageModelGoneError as error:
        raise InputError(f"{error}; what is done stays done: the same command goes on from there") from error


def resume_engine(
    folder: Path,
    observer: JobObserver = SILENT,
    *,
    segmenter: Segmenter | None = None,
    language: LanguageTalk | None = None,
) -> EngineResult:
    """Goes on with a project as it was last run. Raises: InputError when it is none, or the language model is gone."""
    settings = read_photo_settings(folder)
    model = segmenter or LateModel(ModelChoice(name=settings.model))
    with _told_when_gone():
        project = open_project(folder)
        stages = _stages(project, settings, model, folder, language)
        return _run(project, settings, stages, folder, observer, language)


def _stages(
    project: Project, settings: ProjectSettings, model: Segmenter, folder: Path, language: LanguageTalk | None
) -> list[Stage]:
    verifier = project_verifier(folder, settings.model) if language is None else LanguageVerifier(talk=language)
    teller = None if language is None else LanguageTeller(talk=language)
    lookalikes = None if language is None else LanguageLookalikes(talk=language)
    return stages_of(project, settings, model, verifier, teller, lookalikes)


def _run(
    project: Project,
    settings: ProjectSettings,
    stages: Sequence[Stage],
    folder: Path,
    observer: JobObserver,
    language: LanguageTalk | None,
) -> EngineResult:
    run_id = start_run(project, settings)
    with ExitStack() as stack:
        told = StageProgress(observer)
        stack.callback(told.keep, project, run_id)
        stack.callback(told.end)
        if language is not None:
            stack.callback(_keep_spent, project, run_id, language)
        used_up = ""
        try:
            is_complete = Runner(project, stages, run_id).run(told)
        except AllowanceUsedUpError as error:
            is_complete, used_up = False, str(error)
    result = conclude(project, folder, is_complete=is_complete)
    return result if language is None else replace(result, spent=language.spent, used_up=used_up)


def _keep_spent(project: Project, run_id: str, language: LanguageTalk) -> None:
    """What a run took of a language model is on record however it ended."""
    if language.spent.requests:
        project.view.ledger.add([Fact(table="spent", values={"run_id": run_id} | asdict(language.spent))])


def start_run(project: Project, settings: ProjectSettings) -> str:
    """A new run on record; its id."""
    run_id = digest_of("run", time.time_ns())
    config = digest_of(str(settings))
    values = {"run_id": run_id, "started_at": int(time.time()), "code": masklet.__version__, "config": config}
    project.view.ledger.add([Fact(table="run", values=values)])
    return run_id


def conclude(project: Project, folder: Path, *, is_complete: bool = True) -> EngineResult:
    """Takes a snapshot if anything is final, exports it, and writes the pages of the project anew."""
    stats = statistics(project.view)
    step, snapshot = next_step(stats.states, str(folder)), None
    try:
        snapshot = take_snapshot(project.view) if project.view.annotations() else None
    except InputError as error:  # licences that do not mix, or images that are all of evaluation sets
        step = str(error)
    if snapshot is not None:
        export_saco(project.view, snapshot, folder / SNAPSHOT, originals=project.originals)
    write_readme(folder, [*stats.lines(), f"next: {step}"])
    page = write_page(project, stats, step, folder)
    return EngineResult(
        folder=folder, is_complete=is_complete, stats=stats, snapshot=snapshot, next_step=step, page=page
    )


class StageProgress:
    """The progress of the runner as stages of an observer, and how much work it was."""

    def __init__(self, observer: JobObserver) -> None:
        self.observer, self.stage = observer, ""
        self.units: Counter[str] = Counter()
        self.seconds: dict[str, float] = defaultdict(float)

    def __call__(self, progress: Progress) -> None:
        """A unit ended."""
        if progress.stage != self.stage:
            self.end()
            self.stage = progress.stage
            self.observer.started(progress.planned - progress.done + 1, progress.stage)
        self.observer.advanced()
        self.units[progress.stage] += 1
        self.seconds[progress.stage] += progress.seconds

    def end(self) -> None:
        """The stage at hand is over."""
        if self.stage:
            self.observer.finished()
            self.stage = ""

    def keep(self, project: Project, run_id: str) -> None:
        """Puts on record how much work a run was; one that had nothing to do leaves nothing."""
        rows = [
            {"run_id": run_id, "stage": stage, "units": count, "seconds": round(self.seconds[stage], 3)}
            for stage, count in sorted(self.units.items())
        ]
        facts = [Fact(table="worked", values={"worked_id": digest_of("worked", run_id, r["stage"])} | r) for r in rows]
        if facts:
            project.view.ledger.add(facts)
