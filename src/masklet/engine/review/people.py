"""How well each person answers: against known answers that were hidden in their sheets, and against one another.

A known answer is a mask that somebody else decided, put on a sheet once more; whoever answers cannot tell. Such answers
change nothing. Everybody may see their own figures.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from sqlalchemy import select

from masklet.engine.ledger import tables as t
from masklet.engine.review.queues import ReviewItem, mask_item
from masklet.engine.stages.stage import Project
from masklet.engine.verify.bands import wilson
from masklet.engine.verify.choices import TAKES_MASK
from masklet.engine.view import LedgerView

CHECKED = "checked"  # the event of an answer to a known question
HIDDEN_SHARE = 0.05  # of the masks that people decided, that are asked again
EVERY = 20  # one known question on so many open ones


@dataclass(frozen=True, kw_only=True)
class PersonScore:
    """Figures of a person: right answers to known questions, and the median seconds of an answer.

    `late` counts known questions of the second half of the answers: a lower share than before is drift.
    """

    name: str
    answers: int
    seconds: float
    known: int
    right: int
    late: int
    late_right: int

    def line(self) -> str:
        """The figures as a sentence."""
        text = f"{self.name}: {self.answers} answers, {self.seconds:.1f} s each (median)"
        if not self.known:
            return f"{text}; no known question yet"
        low, high = wilson(self.right, self.known)
        text += f"; right on {self.right} of {self.known} known questions ({low:.0%} to {high:.0%})"
        early, early_right = self.known - self.late, self.right - self.late_right
        if min(early, self.late) >= 5 and wilson(self.late_right, self.late)[1] < early_right / early:
            text += "; answers got worse lately"
        return text


def is_hidden(subject: str) -> bool:
    """Whether a mask that people decided may be asked again; by its name alone, so that no run changes it."""
    place = int(hashlib.sha256(f"hidden {subject}".encode()).hexdigest()[:8], 16) / 2**32
    return place < HIDDEN_SHARE


def known_answer(view: LedgerView, pair_id: str, subject: str, *, asked_by: str) -> bool | None:
    """Whether somebody else took the mask; None where nobody else decided."""
    said = [row for row in view.verdicts(pair_id, "mask") if row["subject"] == subject and row["kind"] == "person"]
    if not said or any(row["actor_id"] == asked_by for row in said):
        return None
    return said[-1]["label"] in TAKES_MASK


def hidden_items(project: Project, count: int) -> list[ReviewItem]:
    """Known questions about masks, to be put among `count` open ones."""
    query = select(t.verdict.c.subject, t.verdict.c.pair_id).join(t.actor, t.actor.c.actor_id == t.verdict.c.actor_id)
    query = query.where(t.actor.c.kind == "person", t.verdict.c.task == "mask")
    found: dict[str, ReviewItem] = {}
    for row in project.view.ledger.read(query.where(t.verdict.c.lapsed == 0).order_by(t.verdict.c.subject)):
        set_id, _, number = row["subject"].partition("#")
        maskset = project.view.maskset(row["pair_id"])
        if maskset and maskset["maskset_id"] == set_id and is_hidden(row["subject"]):
            found[row["subject"]] = mask_item(project, project.view.one_pair(row["pair_id"]), maskset, int(number))
    return list(found.values())[: max(1, count // EVERY)]


def hide_among(items: Sequence[ReviewItem], known: Sequence[ReviewItem]) -> list[ReviewItem]:
    """Open questions with known ones at places that only their names decide."""
    found = list(items)
    for each in known:
        place = int(hashlib.sha256(f"place {each.maskset_id} {each.number}".encode()).hexdigest()[:8], 16)
        found.insert(place % (len(found) + 1), each)
    return found


def people_scores(view: LedgerView) -> list[PersonScore]:
    """The figures of everybody who answered, by name."""
    person = t.actor.c.kind == "person"
    query = select(t.verdict.c.seconds, t.actor.c.name).join(t.actor, t.actor.c.actor_id == t.verdict.c.actor_id)
    seconds: dict[str, list[float]] = defaultdict(list)
    for row in view.ledger.read(query.where(person)):
        seconds[row["name"]].append(row["seconds"] or 0.0)
    told = select(t.event.c.payload, t.actor.c.name).join(t.actor, t.actor.c.actor_id == t.event.c.actor_id)
    right: dict[str, list[bool]] = defaultdict(list)
    for row in view.ledger.read(told.where(t.event.c.kind == CHECKED, person).order_by(t.event.c.seq)):
        payload = json.loads(row["payload"])
        right[row["name"]].append(payload["said"] == payload["known"])
        seconds[row["name"]].append(payload["seconds"])
    return [_score(name, said, right[name]) for name, said in sorted(seconds.items())]


def _score(name: str, seconds: Sequence[float], right: Sequence[bool]) -> PersonScore:
    late = right[len(right) // 2 :]
    return PersonScore(
        name=name,
        answers=len(seconds),
        seconds=median(seconds),
        known=len(right),
        right=sum(right),
        late=len(late),
        late_right=sum(late),
    )
