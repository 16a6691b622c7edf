"""The verifier of first use: it takes the proposing model's own probabilities, and asks people between two bands.

It knows nothing that the model did not know, so what it accepts is of the lowest tier; a trained head or people replace
it. What it gives is order: sure things first, doubtful ones on the review sheet.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from masklet.engine.digests import digest_of
from masklet.engine.records import Author
from masklet.engine.verify.bands import Bands
from masklet.engine.verify.choices import UNSURE, Choice, ExhaustivityItem, MaskItem

MASK_BANDS = Bands(accept=0.7, reject=0.4)
PRESENCE_BANDS = Bands(accept=0.7, reject=0.2)


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


def _choice(probability: float, *, side: bool | None) -> Choice:
    label = UNSURE if side is None else "accept" if side else "reject"
    return Choice(label=label, probabilities={"accept": probability, "reject": 1 - probability})
