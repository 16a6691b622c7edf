"""The verifier of a data-engine project as the judge of an agent: trained on what people said of such masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from masklet.agent.judge import UNSURE, JudgedMasks, Judging
from masklet.agent.pool import Mark
from masklet.engine.records import MaskRow
from masklet.engine.verify.choices import MaskItem, Verifier
from masklet.errors import InputError
from masklet.llm.messages import Usage
from masklet.ops.masks import rle_encode
from masklet.protocols import Pixels
from masklet.workflows.engine.verifier import project_verifier


@dataclass(frozen=True, kw_only=True)
class ProjectJudge:
    """Judges whether a mask shows the phrase that found it; what it is unsure of goes to `other`, if there is one."""

    verifier: Verifier
    other: Judging | None = None

    def judge(self, image: Pixels, marks: Sequence[Mark], question: str) -> JudgedMasks:
        """The probability of each mask. The phrase is judged, not the question: no verifier reads sentences."""
        choices = self.verifier.judge_masks([_item(image, mark) for mark in marks])
        values = [choice.probabilities.get("accept", UNSURE) for choice in choices]
        open_places = [place for place, choice in enumerate(choices) if choice.label not in ("accept", "reject")]
        if self.other is None or not open_places:
            return JudgedMasks(probabilities=tuple(values), usage=Usage())
        judged = self.other.judge(image, [marks[place] for place in open_places], question)
        for place, value in zip(open_places, judged.probabilities, strict=True):
            values[place] = value
        return JudgedMasks(probabilities=tuple(values), usage=judged.usage)

    def compare(self, image: Pixels, first: Sequence[Mark], second: Sequence[Mark], question: str) -> JudgedMasks:
        """By the other judge, which reads the question; without one, by the less sure mask of each set."""
        if self.other is not None:
            return self.other.compare(image, first, second, question)
        one, other = (min(self.judge(image, marks, question).probabilities, default=0.0) for marks in (first, second))
        return JudgedMasks(probabilities=(UNSURE + (one - other) / 2,), usage=Usage())


def project_judge(project: Path, model: str, other: Judging | None) -> ProjectJudge:
    """The judge of a project. Raises: InputError when it has no verifier, or not one for this model."""
    verifier = project_verifier(project, model)
    if verifier is None:
        raise InputError(f"{project} has no verifier: train one with `masklet engine train-verifier {project}`")
    return ProjectJudge(verifier=verifier, other=other)


def _item(image: Pixels, mark: Mark) -> MaskItem:
    height, width = mark.mask.shape
    x0, y0, x1, y1 = map(float, mark.box)
    row = MaskRow(counts=rle_encode(mark.mask), size=(height, width), box=(x0, y0, x1, y1), score=mark.score)
    return MaskItem(read=lambda: image, phrase=mark.phrases[0], mask=row, presence=mark.score)
