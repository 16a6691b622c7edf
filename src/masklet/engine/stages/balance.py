"""Phrases that are labelled often enough, or that the model has solved, are asked of new photos no more.

Source: SAM 3 paper, appendix D (phrases with enough annotations, and those that the model solves, are dropped); the
numbers are our own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from masklet.engine.ledger.ledger import RULES
from masklet.engine.records import Author, Move, Outcome, Unit
from masklet.engine.stages.stage import Project
from masklet.engine.states import Cause, State
from masklet.engine.verify.watch import audited

LEAST_LOOKS = 30  # of people at labels of a phrase that a verifier found whole, before it may be solved
SOLVED = 0.95  # of them that were right


@dataclass(frozen=True, kw_only=True)
class Balance:
    """A unit a phrase that has `cap` positives, or is solved, for each set of photos that still wait for it."""

    cap: int
    judge: Author  # whose labels are looked at
    name: str = "balance"
    version: int = 1
    actor: Author = RULES

    def plan(self, project: Project) -> Sequence[Unit]:
        """Nothing while every phrase is still wanted."""
        waiting: dict[str, list[str]] = {}
        causes = self._causes(project)
        for row in project.view.pairs(State.QUEUED):
            if row["text"] in causes and row["parent_pair_id"] is None:
                waiting.setdefault(row["text"], []).append(f"{row['pair_id']}@{row['version']}")
        return [
            Unit(stage=self.name, version=self.version, subject=text, inputs=[str(self.cap), *pairs])
            for text, pairs in sorted(waiting.items())
        ]

    def run(self, project: Project, subject: str) -> Outcome:
        """The pairs of the phrase that wait for masks end here."""
        cause = self._causes(project).get(subject)
        if cause is None:
            return Outcome()
        rows = [row for row in project.view.pairs(State.QUEUED) if row["text"] == subject]
        return Outcome(
            moves=[Move(pair_id=row["pair_id"], cause=cause) for row in rows if row["parent_pair_id"] is None]
        )

    def _causes(self, project: Project) -> dict[str, Cause]:
        """Why each phrase that is not wanted any more is not."""
        counts = project.view.counts_of_phrases(State.FINAL_POSITIVE)
        found = {text: Cause.BALANCE for text, count in counts.items() if count >= self.cap}
        for text, (looks, wrong) in audited(project.view, self.judge, lambda phrase: phrase).items():
            if looks >= LEAST_LOOKS and looks - wrong >= SOLVED * looks:
                found[text] = Cause.EASY
        return found
