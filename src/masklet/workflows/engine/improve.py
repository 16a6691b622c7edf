"""The model learns from a project: one round of training and measuring, a domain without people, a small model."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from masklet.data.labels.layouts import recognise
from masklet.engine.project.exports import export_yolo
from masklet.engine.project.lineage import reopen_unfinished
from masklet.engine.records import Author
from masklet.engine.review.queues import unseen
from masklet.engine.review.sheet import write_sheet
from masklet.engine.snapshots import SPLITS, Snapshot, export_saco, load_snapshot, take_snapshot
from masklet.engine.stages.stage import Project
from masklet.errors import InputError
from masklet.eval.metrics import formatted, metric, scaled
from masklet.files import write_atomically
from masklet.workflows.engine.folder import open_project, read_photo_settings, write_settings
from masklet.workflows.evaluation.concepts import ConceptsJob, evaluate_concepts
from masklet.workflows.evaluation.evaluate import AskedModel
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import SILENT, JobObserver
from masklet.workflows.training.train import TrainJob, train

SNAPSHOTS, REPORT = "snapshots", "loop.md"
MOST_LOST = 0.5  # points of cgF1 that a new model may lose on any set and still be taken
FIGURES = ("cgF1", "IL_MCC", "positive_micro_F1")
SMALL = 448  # pixels of the images that the built-in models see
OWN_TEST = "test split of the project"


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Labels that nothing is learnt from: a SA-Co file and the folder of its images."""

    name: str
    labels: Path
    images: Path


@dataclass(frozen=True, kw_only=True)
class LoopJob:
    """A round for a project: learn from a snapshot by a recipe with overrides, and measure before and after.

    `gold` are sets to measure on; without any it is the snapshot's own test split, whose labels nobody but the engine
    has made. `tiers` are those that are learnt from, all when there are none. `general` labels are mixed one to one
    with the project's (recipe finetune-replay; without them, generated scenes). Of pairs that nobody looked at,
    `audited` are put on a sheet, so that people may learn how many are right.
    """

    project: Path
    out: Path
    recipe: str | None = None  # the one for fine-tuning a model of its size
    overrides: tuple[str, ...] = ()
    gold: tuple[HeldOut, ...] = ()
    tiers: tuple[str, ...] = ()
    general: HeldOut | None = None
    audited: int = 0
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class LoopResult:
    """Figures of both models on each set, as fractions, and whether the new one was taken."""

    snapshot: str
    weights: Path
    before: dict[str, dict[str, float | None]]
    after: dict[str, dict[str, float | None]]
    is_promoted: bool
    reopened: int = 0
    notes: tuple[str, ...] = field(default_factory=tuple)

    def table(self) -> list[str]:
        """The comparison as Markdown."""
        lines = ["| set | figure | before | after |", "|---|---|---|---|"]
        for name, figures in self.before.items():
            for figure in FIGURES:
                old, new = (formatted(figure, value[figure], 1) for value in (figures, self.after[name]))
                lines.append(f"| {name} | {metric(figure).title} | {old} | {new} |")
        return lines

    def lines(self) -> list[str]:
        """The result as text."""
        verdict = (
            f"the new model is taken: {self.weights}; "
            f"{self.reopened} open pairs are asked anew by `masklet engine resume`"
            if self.is_promoted
            else f"the model stays as it was: the new one, {self.weights}, loses more than {MOST_LOST} cgF1 on a set, "
            "or on all together"
        )
        return [*self.table(), "", verdict, *self.notes]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return vars(self) | {"weights": str(self.weights), "notes": list(self.notes)}


def run_loop(job: LoopJob, observer: JobObserver = SILENT) -> LoopResult:
    """Snapshot, training, measuring, and the rule of promotion.

    Raises: InputError when there is nothing to learn from or to measure on.
    """
    project, settings = open_project(job.project), read_photo_settings(job.project)
    snapshot = take_snapshot(project.view)
    folder = job.project / SNAPSHOTS / snapshot.snapshot_id[:12]
    export_saco(project.view, snapshot, folder, originals=project.originals, tiers=job.tiers)
    if not (folder / "train.json").is_file():
        raise InputError(f"{folder} has no images to learn from: {_splits(folder)}; label more photos first")
    gold = job.gold or _own_test(folder)
    before = {each.name: _measure(each, settings.model, job, "before", observer) for each in gold}
    image_size = ModelChoice(name=settings.model, device=job.device).load().image_size
    recipe = job.recipe or ("builtin-finetune" if image_size <= SMALL else "finetune")
    overrides = (f"phases.0.image_size={image_size}", *_overrides(job, folder, settings.model))
    result = train(TrainJob(recipe=recipe, overrides=overrides, out=job.out), observer)
    if not result.complete:
        raise InputError(f"training was stopped: go on with `masklet train {recipe} --out {job.out} --resume`")
    weights = next(path for name in ("weights", "adapter") if (path := job.out / f"{name}.safetensors").is_file())
    after = {each.name: _measure(each, str(weights), job, "after", observer) for each in gold}
    taken = is_better(before, after)
    notes = [] if job.gold else ["measured on labels of the engine's own making: name others with --gold"]
    if job.audited:
        notes.append(_audit_sheet(project, job.audited, job.out / "audit.html"))
    found = LoopResult(
        snapshot=snapshot.snapshot_id, weights=weights, before=before, after=after, is_promoted=taken, notes=(*notes,)
    )
    if taken:
        found = replace(found, reopened=_promote(project, job.project, weights, found))
    write_atomically(job.out / REPORT, "\n".join([f"# A round of {job.project.name}", "", *found.lines(), ""]))
    write_atomically(job.out / "loop.json", json.dumps(found.to_json(), indent=1))
    return found


def _splits(folder: Path) -> str:
    return ", ".join(f"{name}.json" for name, _ in SPLITS if (folder / f"{name}.json").is_file()) or "no split"


def _audit_sheet(project: Project, count: int, path: Path) -> str:
    """Writes a sheet of pairs that were decided without people, drawn by their names alone."""
    items = unseen(project)[:count]
    if not items:
        return "people looked at every pair"
    write_sheet(project, items, path)
    return f"{len(items)} pairs that nobody looked at: {path}; your answers tell how many are right"


def _own_test(folder: Path) -> tuple[HeldOut, ...]:
    for name in ("test", "val"):
        if (folder / f"{name}.json").is_file():
            return (HeldOut(name=OWN_TEST, labels=folder / f"{name}.json", images=folder / "images"),)
    raise InputError(f"{folder} holds no images out: name labels to measure on with --gold, or label more photos")


def _overrides(job: LoopJob, folder: Path, model: str) -> tuple[str, ...]:
    source = "{kind: saco, annotations: train.json, images: images, split: all}"
    own = [f"data.root={folder.resolve()}", f"data.sources.mine={source}", f"initial_weights={model}"]
    if (folder / "val.json").is_file():
        own.append("validation.source={kind: saco, annotations: val.json, images: images}")
    if job.general is not None:
        where = f"annotations: {job.general.labels.resolve()}, images: {job.general.images.resolve()}"
        own.append(f"data.sources.general={{kind: {recognise(job.general.labels)}, {where}}}")
    if job.device != "auto":
        own.append(f"device={job.device}")
    return (*own, *job.overrides)


def _measure(held: HeldOut, model: str, job: LoopJob, when: str, observer: JobObserver) -> dict[str, float | None]:
    asked = AskedModel(
        choice=ModelChoice(name=model, device=job.device), folders=(held.images,), cache=job.out / "answers"
    )
    out = job.out / when / "".join(c if c.isalnum() else "-" for c in held.name)
    evaluation = evaluate_concepts(ConceptsJob(gt=(str(held.labels),), model=asked, iou="masks", out=out), observer)
    metrics = next(iter(evaluation.scores["subsets"].values()))["segm"]
    return {name: metrics[name] for name in FIGURES}


def is_better(
    before: dict[str, dict[str, float | None]], after: dict[str, dict[str, float | None]], most_lost: float = MOST_LOST
) -> bool:
    """Whether no set loses more cgF1 than that, and all together lose nothing."""
    pairs = [tuple(scaled("cgF1", each[name]["cgF1"]) or 0.0 for each in (before, after)) for name in before]
    return all(new >= old - most_lost for old, new in pairs) and sum(n for _, n in pairs) >= sum(o for o, _ in pairs)


def _promote(project: Project, folder: Path, weights: Path, found: LoopResult) -> int:
    """The project goes on with the new model; what is not final yet is asked of it. How many pairs are."""
    settings = read_photo_settings(folder)
    model = Author(kind="model", name=str(weights))
    payload = {"snapshot": found.snapshot, "parent": settings.model, "before": found.before, "after": found.after}
    with project.view.ledger.transaction() as connection:
        project.view.ledger.tell(connection, model, "promoted", str(weights), payload)
    reopened = reopen_unfinished(project.view)
    write_settings(folder, replace(settings, model=str(weights.resolve())))
    return reopened


@dataclass(frozen=True, kw_only=True)
class Distilled:
    """A folder for a small model of fixed classes, and how to train one."""

    folder: Path
    classes: Sequence[str]
    images: int
    command: str

    def lines(self) -> list[str]:
        """The result as text."""
        return [f"{self.images} images of {len(self.classes)} classes -> {self.folder}", f"train with: {self.command}"]


def distil(folder: Path, out: Path, name: str = "latest", *, student: str = "yolo11n-seg.pt") -> Distilled:
    """A snapshot as a YOLO data set with the command that trains a small model on it, which stands in its README.

    The classes are the phrases that are present somewhere. Raises: InputError when nothing is final.
    """
    settings, project = read_photo_settings(folder), open_project(folder)
    snapshot: Snapshot = load_snapshot(project.view, name) if name != "latest" else take_snapshot(project.view)
    rows = {row["annotation_id"]: row for row in project.view.all_annotations()}
    present = {e["phrase"] for e in snapshot.manifest["annotations"] if rows[e["annotation"]]["polarity"]}
    if not present:
        raise InputError(f"snapshot {snapshot.snapshot_id[:12]} shows no phrase anywhere: there is no class to learn")
    written = export_yolo(project, snapshot, out)
    images = [path for path in written if path.parent.parent.name == "images"]
    command = f"yolo segment train data={out / 'data.yaml'} model={student} imgsz=640 epochs=100"
    found = Distilled(folder=out, classes=sorted(present), images=len(images), command=command)
    counts, tiers = snapshot.manifest["counts"], snapshot.manifest["tiers"]
    lines = [
        f"# A small model from snapshot {snapshot.snapshot_id[:12]}",
        "",
        f"{len(images)} images, {counts['masks']} masks, classes: {', '.join(found.classes)}.",
        f"Labels rest on {', '.join(f'{count} {tier}' for tier, count in tiers.items())}.",
        "",
        "```",
        "pip install ultralytics  # a package of its own, under a licence of its own",
        command,
        f"yolo segment val data={out / 'data.yaml'} model=runs/segment/train/weights/best.pt",
        "```",
        "",
        "The test split was not learnt from by either: compare with the teacher there:",
        "",
        "```",
        f"masklet eval concepts --gt {folder / 'snapshot' / 'test.json'} --images {folder / 'snapshot' / 'images'} "
        f"--model {settings.model}",
        "```",
        "",
    ]
    write_atomically(out / "README.md", "\n".join(lines))
    return found
