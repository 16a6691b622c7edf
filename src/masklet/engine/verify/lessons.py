"""What a verifier learns from: what people said in a project, and wrong answers made from right ones.

Never what a verifier itself accepted: it would learn its own mistakes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy import ndimage

from masklet.engine.ontology.concepts import shipped
from masklet.engine.records import MaskRow
from masklet.engine.stages.stage import Project
from masklet.engine.verify.choices import TAKES_MASK, ExhaustivityItem, MaskItem
from masklet.engine.verify.head import FeatureMaker, LiteHead, fit_head
from masklet.engine.verify.watch import field_of
from masklet.engine.view import Row
from masklet.errors import InputError
from masklet.ops.masks import mask_to_box, rle_decode, rle_encode

SPOILT_SHARE = 4  # an accepted mask is spoilt by a quarter of its width


@dataclass
class Lessons:
    """Features with the right answers, the pair that each is of, and the field of its phrase."""

    features: list[np.ndarray] = field(default_factory=list)
    truths: list[bool] = field(default_factory=list)
    pairs: list[str] = field(default_factory=list)
    fields: list[str] = field(default_factory=list)

    def add(self, features: np.ndarray, pair: Row, *, is_right: bool) -> None:
        """One answer."""
        self.features.append(features)
        self.truths.append(is_right)
        self.pairs.append(pair["pair_id"])
        self.fields.append(field_of(pair["text"], shipped()))

    def fit(self, most_false: float) -> LiteHead:
        """A head. Raises: InputError when there are too few answers."""
        if not self.features:
            raise InputError("nobody has answered yet: use `masklet engine review` first")
        return fit_head(np.stack(self.features), np.array(self.truths), self.pairs, self.fields, most_false=most_false)


def lessons_of(project: Project, maker: FeatureMaker) -> dict[str, Lessons]:
    """The lessons of both tasks, `masks` and `whole`."""
    lessons = {"masks": Lessons(), "whole": Lessons()}
    for pair in project.view.pairs():
        said = [row for row in project.view.verdicts(pair["pair_id"]) if row["kind"] == "person"]
        by_set: dict[str, list[Row]] = {}
        for row in said:
            by_set.setdefault(row["subject"].partition("#")[0], []).append(row)
        for maskset_id, rows in by_set.items():
            _of_pair(project, maker, pair, maskset_id, rows, lessons)
    return lessons


def _of_pair(
    project: Project, maker: FeatureMaker, pair: Row, maskset_id: str, said: Sequence[Row], lessons: dict[str, Lessons]
) -> None:
    maskset = project.view.maskset_by_id(maskset_id)
    if maskset is None:
        return
    masks = project.view.masks(maskset)
    read = partial(project.picture, pair["media_id"])
    presence = maskset["presence"] or 0.0

    def of_mask(mask: MaskRow) -> np.ndarray:
        return maker.of_mask(MaskItem(read=read, phrase=pair["text"], mask=mask, presence=presence))

    def of_whole(kept: Sequence[MaskRow]) -> np.ndarray:
        rejected = [mask for mask in masks if mask not in kept]
        item = ExhaustivityItem(read=read, phrase=pair["text"], masks=kept, presence=presence, rejected=rejected)
        return maker.of_whole(item)

    accepted = []
    for row in said:
        number = row["subject"].partition("#")[2]
        if row["task"] == "mask" and int(number) < len(masks):
            mask, is_right = masks[int(number)], row["label"] in TAKES_MASK
            lessons["masks"].add(of_mask(mask), pair, is_right=is_right)
            if is_right:
                accepted.append(mask)
                spoilt = spoil(mask, seed=int(number))
                if spoilt is not None:
                    lessons["masks"].add(of_mask(spoilt), pair, is_right=False)
    kept = [masks[number] for number in project.view.accepted(pair["pair_id"], maskset)] or accepted
    for row in said:
        if row["task"] == "exhaustivity":
            is_right = row["label"] == "accept"
            lessons["whole"].add(of_whole(kept), pair, is_right=is_right)
            if is_right and kept:  # with one hidden, one is missing
                lessons["whole"].add(of_whole(kept[1:]), pair, is_right=False)


def spoil(mask: MaskRow, seed: int) -> MaskRow | None:
    """A mask that is wrong for sure: much smaller, much larger, or beside its place; None where none can be made."""
    pixels = rle_decode(mask.counts, *mask.size)
    x0, y0, x1, y1 = (int(value) for value in mask.box)
    reach = max(1, min(x1 - x0, y1 - y0) // SPOILT_SHARE)
    if seed % 3 == 0:
        wrong = ndimage.binary_erosion(pixels, iterations=reach)
    elif seed % 3 == 1:
        wrong = ndimage.binary_dilation(pixels, iterations=2 * reach)
    else:
        wrong = np.roll(pixels, (2 * reach, 2 * reach), (0, 1))
    box = mask_to_box(wrong)
    if box is None or (wrong == pixels).all():
        return None
    left, top, right, bottom = (float(value) for value in box)
    return MaskRow(counts=rle_encode(wrong), size=mask.size, box=(left, top, right, bottom), score=mask.score)
