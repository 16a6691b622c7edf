"""Photos chosen before they are labelled: described by the model's own features, mined for a concept, balanced."""

import csv
import io
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

import masklet
from masklet.cached import cached
from masklet.engine.curation.describe import Describe, kinds_of_media, most_alike, vectors_of
from masklet.engine.curation.profile import balanced, profiles
from masklet.engine.digests import digest_of
from masklet.engine.records import Fact
from masklet.engine.runner import Progress, Runner
from masklet.engine.stages.duplicates import Duplicates
from masklet.engine.stages.stage import Project
from masklet.errors import InputError
from masklet.files import link_or_copy, write_atomically
from masklet.media.images import read_image
from masklet.protocols import Pixels
from masklet.workflows.engine.folder import ProjectSettings, open_project, read_photo_settings, write_settings
from masklet.workflows.engine.plan import ingest_of
from masklet.workflows.model_choice import ModelChoice

PROFILE = "profile.csv"


@dataclass(frozen=True, eq=False)
class ModelDescriber:
    """Means of the model's coarse map as vectors, and the presence of phrases, from one encoding."""

    choice: ModelChoice

    @cached
    def _model(self) -> "masklet.Model":
        return self.choice.load()

    @cached
    def identity(self) -> str:
        """That of the model."""
        return f"map means 1 {self._model.identity}"

    def describe(self, image: Pixels, phrases: Sequence[str]) -> tuple[Float[np.ndarray, " dim"], Mapping[str, float]]:
        """Mean and spread of each channel over the image, and presences."""
        session = self._model.open(image)
        try:
            coarse = session.features.coarse[0].float().flatten(1)
            vector = np.concatenate([coarse.mean(1).cpu().numpy(), coarse.std(1).cpu().numpy()])
            presence = session.find(list(phrases), threshold=1.0).presence if phrases else {}
        finally:
            session.close()
        return vector, presence


def describe_project(folder: Path, device: str = "auto") -> int:
    """Describes every image of a project that is not yet; how many are. Raises: InputError when it is no project."""
    settings = read_photo_settings(folder)
    return _describe(open_project(folder), settings, ModelDescriber(ModelChoice(name=settings.model, device=device)))


def _describe(project: Project, settings: ProjectSettings, describer: ModelDescriber) -> int:
    run_id = digest_of("describe", time.time_ns())
    values = {"run_id": run_id, "started_at": int(time.time()), "code": masklet.__version__, "config": "describe"}
    project.view.ledger.add([Fact(table="run", values=values)])
    done: OrderedDict[str, int] = OrderedDict()

    def count(progress: Progress) -> None:
        done[progress.stage] = done.get(progress.stage, 0) + 1

    Runner(project, [ingest_of(project, settings), Duplicates(), Describe(describer=describer)], run_id).run(count)
    return done.get("describe", 0)


@dataclass(frozen=True, kw_only=True)
class MineJob:
    """What to take out of a pool of photos: those like `examples`, those that show `phrases`, or a balanced share.

    `most` limits each kind of image. Raises: InputError when there is neither an example nor a phrase.
    """

    pool: Path
    folder: Path
    out: Path
    examples: tuple[Path, ...] = ()
    phrases: tuple[str, ...] = ()
    count: int = 100
    model: ModelChoice = field(default_factory=ModelChoice)


@dataclass(frozen=True, kw_only=True)
class Mined:
    """The photos that were taken, the likest first, with how like each is or how surely it shows the phrases."""

    photos: Sequence[tuple[str, float]]
    out: Path


def mine(job: MineJob) -> Mined:
    """Takes photos out of a pool into a folder, as further names of the same files.

    Like examples, by cosine of vectors; by phrase, by the highest presence; without either, so that every kind of image
    is there. The pool becomes a project of its own, so that a second search reads nothing anew.
    """
    settings = ProjectSettings(photos=str(job.pool.resolve()), model=job.model.name)
    if not (job.folder / "project.json").is_file():
        write_settings(job.folder, settings)
    project, describer = open_project(job.folder), ModelDescriber(job.model)
    _describe(project, settings, describer)
    uris = {row["media_id"]: row["uri"] for row in project.view.media()}
    clusters = project.view.clusters()
    alone = {key for key in uris if clusters.get(key, key) == key}
    if job.examples:
        found = _like_files(project, describer, job.examples, job.count, alone)
    elif job.phrases:
        found = _by_presence(project, describer, job.phrases, alone)[: job.count]
    else:
        groups = {key: kind for key, kind in kinds_of_media(project).items() if key in alone}
        found = [(key, 1.0) for key in balanced(groups, job.count)]
    for media_id, _ in found:
        link_or_copy(project.originals / uris[media_id], job.out / uris[media_id])
    photos = [(uris[media_id], round(score, 4)) for media_id, score in found]
    rows = "".join(f"{uri}\t{score}\n" for uri, score in photos)
    write_atomically(job.out / "mined.tsv", rows)
    return Mined(photos=photos, out=job.out)


def _like_files(
    project: Project, describer: ModelDescriber, examples: Sequence[Path], count: int, alone: set[str]
) -> list[tuple[str, float]]:
    vectors = [describer.describe(read_image(path), ())[0] for path in examples]
    middle = np.mean([vector / (np.linalg.norm(vector) + 1e-9) for vector in vectors], axis=0)
    middle /= np.linalg.norm(middle) + 1e-9
    found = [(key, float(vector @ middle)) for key, vector in vectors_of(project).items() if key in alone]
    return sorted(found, key=lambda each: (-each[1], each[0]))[:count]


def _by_presence(
    project: Project, describer: ModelDescriber, phrases: Sequence[str], alone: set[str]
) -> list[tuple[str, float]]:
    found = []
    for media_id in sorted(alone):
        _, presence = describer.describe(project.picture(media_id), phrases)
        found.append((media_id, max(presence[phrase] for phrase in phrases)))
    return sorted(found, key=lambda each: (-each[1], each[0]))


def more_like(folder: Path, names: Sequence[str], count: int) -> list[tuple[str, float]]:
    """Photos of a described project most like some of its own, by their names. Raises: InputError for unknown names."""
    project = open_project(folder)
    uris = {row["media_id"]: row["uri"] for row in project.view.media()}
    ids = {uri: media_id for media_id, uri in uris.items()}
    unknown = [name for name in names if name not in ids]
    if unknown:
        raise InputError(
            f"{folder} has no photo {unknown[0]}: names are as in project/index.html, such as {next(iter(ids), '-')}"
        )
    return [(uris[media_id], score) for media_id, score in most_alike(project, [ids[n] for n in names], count)]


def write_profile(folder: Path) -> tuple[Path, list[str]]:
    """Writes the table of all photos with kind, masks, crowdedness and small share; its path, and what stands out."""
    rows = profiles(open_project(folder))
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["photo", "kind", "masks", "crowdedness", "small"])
    writer.writerows([row.uri, row.kind, row.masks, row.crowdedness, row.small] for row in rows)
    kinds = sorted({row.kind for row in rows})
    lines = [f"{sum(row.kind == kind for row in rows)} photos of kind {kind}" for kind in kinds]
    crowded = [row.uri for row in rows if row.crowdedness > 0.05]
    small = [row.uri for row in rows if row.small > 0.5]
    lines.append(f"{len(crowded)} crowded photos, {len(small)} that show mostly small things")
    return write_atomically(folder / PROFILE, file.getvalue()), lines
