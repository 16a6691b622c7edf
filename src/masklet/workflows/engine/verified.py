"""A model with a project's verifier behind it: presence by the verifier, rejected masks dropped. A system of its own.

Source: SAM 3 paper, appendix A: the verifier's probability that an image without boxes lacks nothing gives the
presence, and masks that it rejects are left out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32

from masklet.engine.records import MaskRow
from masklet.engine.verify.choices import ExhaustivityItem, MaskItem, Verifier
from masklet.engine.verify.head import load_verifier
from masklet.errors import InputError
from masklet.eval.analysis.phrase_scores import phrase_scores
from masklet.eval.metrics import SHORT_NAMES, formatted
from masklet.eval.predict.examples import outcome_of
from masklet.eval.predict.labelled import LabelledImages
from masklet.eval.predict.predict import FLOOR, ask_image
from masklet.eval.predict.prediction_cache import PredictionCache
from masklet.media.images import read_image
from masklet.ops.masks import rle_encode
from masklet.protocols import ClickMasks, ImageSegmenter, Instances, Number, Pixels, Segmenter, VideoSegmenter
from masklet.workflows.engine.folder import read_settings
from masklet.workflows.engine.plan import LateModel
from masklet.workflows.engine.verifier import VERIFIER, ModelFeatures, project_verifier
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.observer import SILENT, JobObserver, stage

if TYPE_CHECKING:
    from masklet import Model
    from masklet.inference.image.image_result import ImageResult

TAKEN = 0.5  # probability of a mask, below which it is dropped
FIGURES = ("cgF1", "IL_MCC", "positive_micro_F1")


@dataclass(frozen=True)
class Judgement:
    """What a verifier leaves of finds: rows that it takes, the best first, with their scores, and its presence."""

    kept: Sequence[int]
    scores: Float32[np.ndarray, " kept"]
    presence: Mapping[str, float]


def judge(verifier: Verifier, image: Pixels, found: Instances, threshold: float | None = None) -> Judgement:
    """Presence by the verifier, scores with it in place of the model's, rejected masks and scores below out."""
    read = partial(_same, image)
    size = image.shape[0], image.shape[1]
    empty = [
        ExhaustivityItem(read=read, phrase=phrase, masks=(), presence=presence)
        for phrase, presence in found.presence.items()
    ]
    judged = zip(empty, verifier.judge_exhaustivity(empty), strict=True)
    presence = {
        item.phrase: 1 - choice.probabilities["accept"] if "accept" in choice.probabilities else item.presence
        for item, choice in judged
    }
    items = [
        MaskItem(read=read, phrase=phrase, mask=_row(found, row, size), presence=found.presence[phrase])
        for row, phrase in enumerate(found.phrases)
    ]
    choices = verifier.judge_masks(items) if items else []
    scores = [
        min(1.0, float(score) * presence[phrase] / max(found.presence[phrase], 1e-6))
        for score, phrase in zip(found.scores, found.phrases, strict=True)
    ]
    kept = [
        row
        for row, choice in enumerate(choices)
        if choice.probabilities.get("accept", 1.0) >= TAKEN and scores[row] >= (threshold or 0.0)
    ]
    kept.sort(key=lambda row: -scores[row])
    return Judgement(kept, np.array([scores[row] for row in kept], np.float32), presence)


def _same(image: Pixels) -> Pixels:
    return image


def _row(found: Instances, row: int, size: tuple[int, int]) -> MaskRow:
    x0, y0, x1, y1 = (float(value) for value in found.boxes[row])
    return MaskRow(counts=rle_encode(found.mask(row)), size=size, box=(x0, y0, x1, y1), score=float(found.scores[row]))


def judged_result(result: "ImageResult", verifier: Verifier, threshold: float) -> "ImageResult":
    """A result of one image with what the verifier takes of it."""
    import torch

    judged = judge(verifier, result.image, result, threshold)
    kept = result[np.array(judged.kept, np.int64)]
    scores = torch.from_numpy(judged.scores).to(kept.detections.scores)
    presence = kept.detections.presence.new_tensor([judged.presence[phrase] for phrase in result.queries])
    return replace(kept, detections=replace(kept.detections, scores=scores, presence=presence))


@dataclass(frozen=True)
class VerifiedInstances:
    """Instances that the verifier takes, with its presence."""

    found: Instances
    judged: Judgement

    def __len__(self) -> int:
        return len(self.judged.kept)

    @property
    def presence(self) -> Mapping[str, float]:
        """The verifier's."""
        return self.judged.presence

    @property
    def phrases(self) -> Sequence[str]:
        """The phrase of each instance."""
        return [self.found.phrases[row] for row in self.judged.kept]

    @property
    def scores(self) -> Float32[np.ndarray, " detection"]:
        """Scores with the verifier's presence in place of the model's."""
        return self.judged.scores

    @property
    def boxes(self) -> Float32[np.ndarray, "detection 4"]:
        """Boxes in pixels."""
        return self.found.boxes[list(self.judged.kept)]

    def mask(self, index: int, *, cut: float = 0.5) -> Bool[np.ndarray, "height width"]:
        """Pixels of an instance whose probability is above `cut`."""
        return self.found.mask(self.judged.kept[index], cut=cut)


@dataclass(frozen=True)
class VerifiedSegmenter:
    """A segmenter whose finds a verifier judges before they are given."""

    segmenter: Segmenter
    verifier: Verifier

    @property
    def identity(self) -> str:
        """Both of them."""
        return f"{self.segmenter.identity}-verified-{self.verifier.identity[:12]}"

    def open(self, image: Path | Pixels) -> "VerifiedSession":
        """Encodes an image. Raises: InputError when it cannot be read."""
        pixels = read_image(image) if isinstance(image, Path) else image
        return VerifiedSession(self.segmenter.open(pixels), self.verifier, pixels)

    def open_video(self, source: Sequence[Path]) -> VideoSegmenter:
        """Videos are not verified: the model alone."""
        return self.segmenter.open_video(source)


@dataclass(frozen=True)
class VerifiedSession:
    """One image of a `VerifiedSegmenter`."""

    session: ImageSegmenter
    verifier: Verifier
    image: Pixels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.session.size

    def find(
        self,
        phrases: str | Sequence[str] | None = None,
        *,
        boxes: Sequence[Sequence[Number]] | None = None,
        not_boxes: Sequence[Sequence[Number]] | None = None,
        threshold: float | None = None,
        assume_present: bool = False,
    ) -> VerifiedInstances:
        """What the model finds and the verifier takes; the threshold applies before and after it is judged."""
        found = self.session.find(
            phrases, boxes=boxes, not_boxes=not_boxes, threshold=threshold, assume_present=assume_present
        )
        return VerifiedInstances(found, judge(self.verifier, self.image, found, threshold))

    def click(
        self,
        points: Sequence[Sequence[Number]] = (),
        labels: Sequence[int] = (),
        *,
        box: Sequence[Number] | None = None,
        mask: Any = None,
    ) -> ClickMasks:
        """Clicks are a person's: nothing is judged."""
        return self.session.click(points, labels, box=box, mask=mask)

    def close(self) -> None:
        """Frees the image."""
        self.session.close()


def with_verifier(choice: ModelChoice, file: Path) -> tuple["Model", Verifier]:
    """A model, loaded once, and the verifier of a file that `masklet engine train-verifier` wrote for it.

    Raises: InputError when the file is none, or was trained for another model.
    """
    if not file.is_file():
        raise InputError(f"no such file: {file}; `masklet engine train-verifier` writes project/verifier.npz")
    features = ModelFeatures(choice)
    verifier = load_verifier(file, lambda: features)
    return features.model, verifier


def verified_model(project: Path, device: str = "auto") -> tuple[Segmenter, VerifiedSegmenter]:
    """The model of a project, alone and with its verifier. Raises: InputError when none was trained."""
    settings = read_settings(project)
    choice = ModelChoice(name=settings.model, device=device)
    if (project / VERIFIER).is_file():
        model, verifier = with_verifier(choice, project / VERIFIER)
        return model, VerifiedSegmenter(model, verifier)
    bands = project_verifier(project, settings.model)
    if bands is None:
        raise InputError(f"{project} has no verifier yet: `masklet engine train-verifier {project}` makes one")
    late = LateModel(choice)
    return late, VerifiedSegmenter(late, bands)


def compare_verified(
    project: Path, labels: Path, images: Path, *, limit: int | None = None, observer: JobObserver = SILENT
) -> list[str]:
    """A table of the model alone and with the project's verifier on held-out labels.

    Raises: InputError when no verifier was trained, or the labels cannot be read.
    """
    alone, verified = verified_model(project)
    held = LabelledImages(labels, images, limit=limit)
    return compare_systems({"model": alone, "model and verifier": verified}, held, observer)


def compare_systems(
    systems: Mapping[str, Segmenter], held: LabelledImages, observer: JobObserver = SILENT
) -> list[str]:
    """A table of several systems on the same labelled images."""
    lines = ["| system | " + " | ".join(SHORT_NAMES[name] for name in FIGURES) + " |", "|---|---|---|---|"]
    for name, segmenter in systems.items():
        kept = PredictionCache(folder=Path(), floor=FLOOR, cuts=(0.5,))
        outcomes = []
        with stage(observer, len(held), f"images by {name}") as advance:
            for index in range(len(held)):
                example = held.example(index)
                queries = held.queries(example)
                found = ask_image(example.image, [query.phrase for query in queries], segmenter=segmenter, kept=kept)
                outcomes += [
                    outcome_of(example, query, found[query.phrase], image=held.name(index), subset=name)
                    for query in queries
                ]
                advance()
        figures, _ = phrase_scores(outcomes)
        shown = " | ".join(formatted(each, figures[SHORT_NAMES[each]], 1) for each in FIGURES)
        lines.append(f"| {name} | {shown} |")
    return lines
