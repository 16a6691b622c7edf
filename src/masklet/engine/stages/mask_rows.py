"""Masks as rows of the ledger: from the instances of a model, into a set of a pair, and how far they overlap."""

import json
from collections.abc import Sequence

import numpy as np

from masklet.engine.digests import digest_of
from masklet.engine.records import Author, Fact, MaskRow
from masklet.engine.stages.stage import Project
from masklet.engine.view import Row
from masklet.ops.masks import mask_iou, rle_decode, rle_encode
from masklet.protocols import Instances


def masks_by_phrase(found: Instances, size: tuple[int, int]) -> dict[str, list[MaskRow]]:
    """The instances of each phrase as rows, best first; empty masks are left out."""
    rows: dict[str, list[MaskRow]] = {}
    for index, phrase in enumerate(found.phrases):
        mask = found.mask(index)
        if mask.any():
            x0, y0, x1, y1 = (float(value) for value in found.boxes[index])
            row = MaskRow(counts=rle_encode(mask), size=size, box=(x0, y0, x1, y1), score=float(found.scores[index]))
            rows.setdefault(phrase, []).append(row)
    return rows


def maskset_fact(
    project: Project,
    pair: Row,
    masks: Sequence[MaskRow],
    actor: Author,
    presence: float | None,
    *,
    proposal_phrase: str | None = None,
) -> Fact:
    """A set of masks of a pair as a row; the masks go to the blobs. `proposal_phrase` is what was asked, if another."""
    text = json.dumps([mask.to_json() for mask in masks], sort_keys=True, separators=(",", ":"))
    blob = project.blobs.put(text.encode())
    before = project.view.maskset(pair["pair_id"])
    position = 0 if before is None else before["position"] + 1
    values = {
        "maskset_id": digest_of("maskset", pair["pair_id"], actor.actor_id, blob, position),
        "pair_id": pair["pair_id"],
        "actor_id": actor.actor_id,
        "proposal_phrase": proposal_phrase or pair["text"],
        "presence": None if presence is None else round(float(presence), 5),
        "blob": blob,
        "num_masks": len(masks),
        "position": position,
    }
    return Fact(table="maskset", values=values)


def overlap_table(masks: Sequence[MaskRow], others: Sequence[MaskRow]) -> np.ndarray:
    """Intersection over union of every mask with every other."""
    if not masks or not others:
        return np.zeros((len(masks), len(others)))
    left, right = (np.stack([rle_decode(mask.counts, *mask.size) for mask in each]) for each in (masks, others))
    return mask_iou(left, right)
