"""Masks are proposed: all queued phrases of an image at once, through whatever `Segmenter` is handed in."""

from collections.abc import Sequence
from dataclasses import dataclass

from masklet.engine.digests import digest_of
from masklet.engine.ontology.concepts import Ontology
from masklet.engine.records import Author, Move, Outcome, Unit
from masklet.engine.stages.harder import Proposal, try_harder
from masklet.engine.stages.mask_rows import masks_by_phrase, maskset_fact
from masklet.engine.stages.stage import Project
from masklet.engine.states import Cause, State
from masklet.protocols import Segmenter

KEEP_SCORE = 0.3  # recall matters before verification; results for use are cut at even odds
MOST_MASKS = 200


@dataclass(frozen=True, kw_only=True)
class ProposeMasks:
    """A unit an image: one encoding, all its phrases."""

    segmenter: Segmenter
    keep_score: float = KEEP_SCORE
    ontology: Ontology | None = None  # with it, weak phrases are tried by an example and by broader names, too
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
        harder = ["harder"] if self.ontology else []
        harder += [self.ontology.digest] if self.ontology and self.ontology.digest else []
        settings = digest_of(self.segmenter.identity, str(self.keep_score), *harder)
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
            masks = masks_by_phrase(found, image.shape[:2])
            harder = {}
            if self.ontology is not None:
                harder = try_harder(session, masks, found.presence, self.ontology, self.keep_score)
        finally:
            session.close()
        facts = []
        for row in pairs:
            text = row["text"]
            each = harder.get(text) or Proposal(masks=masks.get(text, []), asked=text)
            presence = found.presence[text]
            facts.append(
                maskset_fact(project, row, each.masks[:MOST_MASKS], self.actor, presence, proposal_phrase=each.asked)
            )
        moves = [Move(pair_id=row["pair_id"], cause=Cause.MASKS_FOUND) for row in pairs]
        return Outcome(facts=facts, moves=moves)
