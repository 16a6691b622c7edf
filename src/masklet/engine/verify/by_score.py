"""The verifier of first use: it takes the proposing model's own probabilities, and asks people between two bands.

It knows nothing that the model did not know, so what it accepts is of the lowest tier; a trained head or people replace
it. What it gives is order: sure things first, doubtful ones on the review sheet. Its bands may be fitted to what people
said in a project, until there are enough answers for a head.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from masklet.engine.digests import digest_of
from masklet.engine.records import Author
from masklet.engine.stages.stage import Project
from masklet.engine.verify.bands import Bands, fit_bands
from masklet.engine.verify.choices import TAKES_MASK, UNSURE, Choice, ExhaustivityItem, MaskItem
from masklet.errors import InputError

MASK_BANDS = Bands(accept=0.7, reject=0.4)
PRESENCE_BANDS = Bands(accept=0.7, reject=0.2)
LEAST_ANSWERS = 40


@dataclass(frozen=True, kw_only=True)
class ByScore:
    """Scores of masks, and of the whole the presence of the phrase; bands of both are configuration."""

    masks: Bands = MASK_BANDS
    present: Bands = PRESENCE_BANDS

    @property
    def actor(self) -> Author:
        """A rule."""
        return Author(kind="rule", name="by score")

    @property
    def identity(self) -> str:
        """Its bands."""
        bands = (self.masks.accept, self.masks.reject, self.present.accept, self.present.reject)
        return digest_of("by score", [str(value) for value in bands])

    def judge_masks(self, items: Sequence[MaskItem]) -> Sequence[Choice]:
        """Accept, reject or unsure by score."""
        return [_choice(item.mask.score, side=self.masks.side(item.mask.score)) for item in items]

    def judge_exhaustivity(self, items: Sequence[ExhaustivityItem]) -> Sequence[Choice]:
        """With masks: accept where the concept is surely present. Without: accept where it is surely absent."""
        choices = []
        for item in items:
            side = self.present.side(item.presence)
            if item.masks:
                choices.append(_choice(item.presence, side=True if side else None))
            else:
                choices.append(_choice(1 - item.presence, side=True if side is False else None))
        return choices


NOTHING_SURE = Bands(accept=math.inf, reject=-math.inf)
ASKS_PEOPLE = ByScore(masks=NOTHING_SURE, present=NOTHING_SURE)  # scores only put questions in order


def fit_by_score(project: Project, most_false: float) -> ByScore:
    """Bands of scores and of presence that keep a bound on wrong answers, from what people said in a project.

    A question without `LEAST_ANSWERS` answers is left to people. Raises: InputError when both are.
    """
    masks: list[tuple[float, bool]] = []
    whole: list[tuple[float, bool]] = []
    for pair in project.view.pairs():
        for row in project.view.verdicts(pair["pair_id"]):
            set_id, _, number = row["subject"].partition("#")
            maskset = project.view.maskset_by_id(set_id) if row["kind"] == "person" else None
            if maskset is None or maskset["presence"] is None:
                continue
            is_yes = row["label"] in TAKES_MASK
            if row["task"] == "mask" and int(number) < maskset["num_masks"]:
                masks.append((project.view.masks(maskset)[int(number)].score, is_yes))
            elif row["task"] == "exhaustivity" and project.view.accepted(pair["pair_id"], maskset):
                whole.append((maskset["presence"], is_yes))
    if max(len(masks), len(whole)) < LEAST_ANSWERS:
        raise InputError(f"{len(masks)} and {len(whole)} answers of people are too few: {LEAST_ANSWERS} are needed")
    return ByScore(masks=_fitted(masks, most_false), present=_fitted(whole, most_false))


def _fitted(answers: Sequence[tuple[float, bool]], most_false: float) -> Bands:
    if len(answers) < LEAST_ANSWERS:
        return NOTHING_SURE
    scores, truths = zip(*answers, strict=True)
    return fit_bands(scores, truths, most_false=most_false)


def _choice(probability: float, *, side: bool | None) -> Choice:
    label = UNSURE if side is None else "accept" if side else "reject"
    return Choice(label=label, probabilities={"accept": probability, "reject": 1 - probability})
