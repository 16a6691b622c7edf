"""Masks are proposed: all queued phrases of an image at once, through whatever `Segmenter` is handed in."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from masklet.engine.digests import digest_of
from masklet.engine.records import Author, Fact, MaskRow, Move, Outcome, Unit
from masklet.engine.stages.stage import Project
from masklet.engine.states import Cause, State
from masklet.engine.view import Row
from masklet.ops.masks import rle_encode
from masklet.protocols import Instances, Segmenter

KEEP_SCORE = 0.3  # recall matters before verification; results for use are cut at even odds
MOST_MASKS = 200


@dataclass(frozen=True, kw_only=True)
class ProposeMasks:
    """A unit an image: one encoding, all its phrases."""

    segmenter: Segmenter
    keep_score: float = KEEP_SCORE
    name: str = "masks"
    version: int = 1

    @property
    def actor(self) -> Author:
        """The model."""
        return Author(kind="model", name=self.segmenter.identity)

    def plan(self, project: Project) -> Sequence[Unit]:
        """Images with queued pairs; asked again when a pair was reopened."""
        asked: dict[str, list[str]] = {}
        for row in project.view.pairs(State.QUEUED):
            asked.setdefault(row["media_id"], []).append(f"{row['pair_id']}@{row['version']}")
        if not asked:
            return []
        settings = digest_of(self.segmenter.identity, str(self.keep_score))
        return [
            Unit(stage=self.name, version=self.version, subject=media_id, inputs=[settings, *pairs])
            for media_id, pairs in asked.items()
        ]

    def run(self, project: Project, subject: str) -> Outcome:
        """A set of masks for each queued pair, empty ones included. Raises: InputError when the image is gone."""
        pairs = project.view.pairs(State.QUEUED, media_id=subject)
        if not pairs:
            return Outcome()
        image = project.picture(subject)
        session = self.segmenter.open(image)
        try:
            found = session.find(sorted(row["text"] for row in pairs), threshold=self.keep_score)
        finally:
            session.close()
        masks = masks_by_phrase(found, image.shape[:2])
        facts = [
            maskset_fact(project, row, masks.get(row["text"], [])[:MOST_MASKS], self.actor, found.presence[row["text"]])
            for row in pairs
        ]
        moves = [Move(pair_id=row["pair_id"], cause=Cause.MASKS_FOUND) for row in pairs]
        return Outcome(facts=facts, moves=moves)


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


def maskset_fact(project: Project, pair: Row, masks: Sequence[MaskRow], actor: Author, presence: float | None) -> Fact:
    """A set of masks of a pair as a row; the masks go to the blobs."""
    text = json.dumps([mask.to_json() for mask in masks], sort_keys=True, separators=(",", ":"))
    blob = project.blobs.put(text.encode())
    before = project.view.maskset(pair["pair_id"])
    position = 0 if before is None else before["position"] + 1
    values = {
        "maskset_id": digest_of("maskset", pair["pair_id"], actor.actor_id, blob, position),
        "pair_id": pair["pair_id"],
        "actor_id": actor.actor_id,
        "proposal_phrase": pair["text"],
        "presence": None if presence is None else round(float(presence), 5),
        "blob": blob,
        "num_masks": len(masks),
        "position": position,
    }
    return Fact(table="maskset", values=values)
