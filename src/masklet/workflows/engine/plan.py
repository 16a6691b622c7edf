"""Which stages a project runs, in their order."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from masklet.cached import cached
from masklet.engine.curation.guard import LeakGuard
from masklet.engine.ontology.chunkers import chunker_here
from masklet.engine.ontology.concepts import shipped
from masklet.engine.ontology.own import read_ontology
from masklet.engine.stages.balance import Balance
from masklet.engine.stages.duplicates import Duplicates
from masklet.engine.stages.finalise import Finalise
from masklet.engine.stages.ingest import Ingest, source_fact
from masklet.engine.stages.labels import CheckLabels
from masklet.engine.stages.masks import ProposeMasks
from masklet.engine.stages.negatives import HardNegatives, LookalikeTeller
from masklet.engine.stages.phrases import ListedPhrases
from masklet.engine.stages.proposals import CaptionPhrases, PhraseTeller, ToldPhrases, WalkPhrases
from masklet.engine.stages.stage import Project, Stage
from masklet.engine.stages.verification import VerifyExhaustivity, VerifyMasks
from masklet.engine.verify.by_score import ASKS_PEOPLE, ByScore
from masklet.engine.verify.choices import Verifier
from masklet.engine.verify.watch import watched
from masklet.errors import InputError
from masklet.protocols import ImageSegmenter, Pixels, Segmenter, VideoSegmenter
from masklet.workflows.engine.folder import ProjectSettings
from masklet.workflows.model_choice import ModelChoice

MOST_LETTERS = 2000  # of a caption


@dataclass(frozen=True)
class LateModel:
    """A segmenter that is loaded when it is first asked: a run that has nothing to do loads none."""

    choice: ModelChoice

    @cached
    def _model(self) -> Segmenter:
        return self.choice.load()

    @property
    def identity(self) -> str:
        """That of the model."""
        return self._model.identity

    def open(self, image: Path | Pixels) -> ImageSegmenter:
        """Encodes an image. Raises: InputError when the model cannot be loaded, or the image not be read."""
        return self._model.open(image)

    def open_video(self, source: Sequence[Path]) -> VideoSegmenter:
        """A session on images in order. Raises: InputError when one cannot be read."""
        return self._model.open_video(source)


def stages_of(
    project: Project,
    settings: ProjectSettings,
    segmenter: Segmenter,
    verifier: Verifier | None = None,
    teller: PhraseTeller | None = None,
    lookalikes: LookalikeTeller | None = None,
) -> list[Stage]:
    """The stages from photos to annotations; registers the source of the photos.

    A verifier is left out of fields where audits have shown that it lets too much pass.
    """
    judge = watched(project.view, verifier or first_verifier(settings), shipped())
    ontology = read_ontology(Path(settings.ontology)) if settings.ontology else shipped()
    stages: list[Stage] = [ingest_of(project, settings), Duplicates(), LeakGuard()]
    if settings.labels:
        stages.append(CheckLabels.read(Path(settings.labels), project.originals, segmenter))
    if settings.phrases:
        stages.append(ListedPhrases(phrases=settings.phrases))
    if settings.captions:
        captions, chunker = read_captions(Path(settings.captions)), chunker_here(shipped())
        stages.append(CaptionPhrases(captions=captions, ontology=shipped(), chunker=chunker))
    if settings.told and teller is not None:
        stages.append(ToldPhrases(teller=teller, ontology=shipped()))
    if settings.walk or not (settings.phrases or settings.captions or settings.labels or settings.told):
        stages.append(WalkPhrases(segmenter=segmenter, ontology=ontology))
    if settings.cap:
        stages.append(Balance(cap=settings.cap, judge=judge.actor))
    stages += [
        ProposeMasks(segmenter=segmenter, ontology=ontology if settings.harder else None),
        VerifyMasks(verifier=judge),
        VerifyExhaustivity(verifier=judge),
    ]
    if settings.negatives:
        limit = settings.negatives
        stages.append(HardNegatives(segmenter=segmenter, ontology=ontology, per_image=limit, teller=lookalikes))
    return [*stages, Finalise()]


def first_verifier(settings: ProjectSettings) -> ByScore:
    """Who verifies before one was trained from what people said."""
    return ASKS_PEOPLE if settings.people else ByScore()


def ingest_of(project: Project, settings: ProjectSettings) -> Ingest:
    """The sources of the photos, registered with their licences, and the stage that reads them."""
    name, licences = Path(settings.photos).name or "photos", parse_licences(settings.licence)
    sources = {
        folder: source_fact(f"{name}/{folder}" if folder else name, licence) for folder, licence in licences.items()
    }
    project.view.ledger.add(list(sources.values()))
    ids = {folder: source.values["source_id"] for folder, source in sources.items()}
    return Ingest(source_id=ids.pop(""), by_folder=ids)


def parse_licences(text: str) -> dict[str, str]:
    """A licence, or FOLDER=LICENCE, ... for folders below the photos; under "" that of all others, unknown if not said.

    Raises: InputError for a part without a licence.
    """
    found = {"": "unknown"}
    for part in text.split(","):
        folder, equals, licence = part.strip().rpartition("=")
        if not licence.strip() or (equals and not folder.strip()):
            raise InputError(
                f"licence {text!r}: got {part.strip()!r}, expected one such as CC-BY-4.0, or FOLDER=CC-BY-4.0"
            )
        found[folder.strip().strip("/")] = licence.strip()
    return found


def read_captions(path: Path) -> dict[str, str]:
    """Captions by file name, from lines `FILE<tab>caption`. Raises: InputError naming the file and the line."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as lines of text: {error}") from error
    found = {}
    for number, line in enumerate(lines, 1):
        name, tab, caption = line.partition("\t")
        if line.strip() and not (tab and name.strip()):
            raise InputError(f"{path}: line {number}: got {line[:40]!r}, expected a file name, a tab and a caption")
        if line.strip():
            found[name.strip()] = caption.strip()[:MOST_LETTERS]
    return found
