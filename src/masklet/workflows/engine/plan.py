"""Which stages a project runs, in their order."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from masklet.engine.stages.duplicates import Duplicates
from masklet.engine.stages.finalise import Finalise
from masklet.engine.stages.ingest import Ingest, source_fact
from masklet.engine.stages.masks import ProposeMasks
from masklet.engine.stages.phrases import ListedPhrases
from masklet.engine.stages.stage import Project, Stage
from masklet.engine.stages.verification import VerifyExhaustivity, VerifyMasks
from masklet.engine.verify.by_score import ByScore
from masklet.engine.verify.choices import Verifier
from masklet.protocols import ImageSegmenter, Pixels, Segmenter, VideoSegmenter
from masklet.workflows.engine.folder import ProjectSettings
from masklet.workflows.model_choice import ModelChoice


@dataclass(frozen=True)
class LateModel:
    """A segmenter that is loaded when it is first asked: a run that has nothing to do loads none."""

    choice: ModelChoice

    @cached_property
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
    project: Project, settings: ProjectSettings, segmenter: Segmenter, verifier: Verifier | None = None
) -> list[Stage]:
    """The stages from photos to annotations; registers the source of the photos."""
    judge = verifier or ByScore()
    source = source_fact(Path(settings.photos).name or "photos", settings.licence)
    project.view.ledger.add([source])
    stages: list[Stage] = [Ingest(source_id=source.values["source_id"]), Duplicates()]
    if settings.phrases:
        stages.append(ListedPhrases(phrases=settings.phrases))
    stages += [
        ProposeMasks(segmenter=segmenter),
        VerifyMasks(verifier=judge),
        VerifyExhaustivity(verifier=judge),
        Finalise(),
    ]
    return stages
