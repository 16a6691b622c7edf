"""A verifier that knows the truth and errs at known rates: for tests, benchmarks, and planning how much to review.

Each answer is drawn from the question itself, so that the same question gets the same answer in every process.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from masklet.engine.digests import digest_of
from masklet.engine.records import Author, MaskRow
from masklet.engine.verify.choices import Choice, ExhaustivityItem, MaskItem
from masklet.ops.masks import mask_iou, rle_decode
from masklet.protocols import Pixels

RIGHT_IOU = 0.75  # of a mask with a true one, from which it is right
Truth = Callable[[Pixels, str], Sequence[Bool[np.ndarray, "height width"]]]


@dataclass(frozen=True, kw_only=True)
class NoisyOracle:
    """Accepts what is right with probability `sensitivity`, rejects what is wrong with `specificity`."""

    truth: Truth
    sensitivity: float = 0.95
    specificity: float = 0.95
    kind: str = "model"

    @property
    def actor(self) -> Author:
        """A model, or a person where one is simulated."""
        return Author(kind=self.kind, name=f"oracle {self.sensitivity} {self.specificity}")

    @property
    def identity(self) -> str:
        """Its rates."""
        return digest_of("oracle", str(self.sensitivity), str(self.specificity))

    def judge_masks(self, items: Sequence[MaskItem]) -> Sequence[Choice]:
        """Accept or reject, by the best overlap with a true mask."""
        return [self._answer(is_right(item, self.truth), item.phrase, item.mask.counts) for item in items]

    def judge_exhaustivity(self, items: Sequence[ExhaustivityItem]) -> Sequence[Choice]:
        """Accept where every true instance is among the masks, reject where one is missing."""
        found = []
        for item in items:
            key = digest_of([mask.to_json() for mask in (*item.masks, *item.rejected)])
            pixels = item.read()
            whole = is_complete(pixels, item.phrase, item.masks, self.truth)
            found.append(self._answer(whole, item.phrase, key + digest_of(pixels.tobytes().hex()[:4096])))
        return found

    def _answer(self, is_right: bool, phrase: str, key: str) -> Choice:  # noqa: FBT001 - the one fact it is about
        chance = int(digest_of("oracle", self.identity, phrase, key)[:12], 16) / 16**12
        says_yes = chance < (self.sensitivity if is_right else 1 - self.specificity)
        return Choice(
            label="accept" if says_yes else "reject",
            probabilities={"accept": float(says_yes), "reject": 1.0 - says_yes},
        )


def is_right(item: MaskItem, truth: Truth) -> bool:
    """Whether a mask is one of the true ones."""
    true = truth(item.read(), item.phrase)
    mask = rle_decode(item.mask.counts, *item.mask.size)
    return bool(len(true)) and bool(mask_iou(mask[None], np.stack(list(true))).max() >= RIGHT_IOU)


def is_complete(image: Pixels, phrase: str, masks: Sequence[MaskRow], truth: Truth) -> bool:
    """Whether every true mask is among the masks."""
    true = truth(image, phrase)
    if not len(true):
        return not masks
    if not masks:
        return False
    found = np.stack([rle_decode(mask.counts, *mask.size) for mask in masks])
    return bool((mask_iou(np.stack(list(true)), found).max(axis=1) >= RIGHT_IOU).all())
