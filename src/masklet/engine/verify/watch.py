"""A verifier is watched for ever: where people's audits show that it lets too much pass, they are asked instead.

The fields are the categories of the ontology; what names no concept is a field of its own.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import select

from masklet.engine.digests import digest_of
from masklet.engine.ledger import tables as t
from masklet.engine.ontology.concepts import Ontology, concepts_of
from masklet.engine.records import Author
from masklet.engine.verify.bands import MOST_FALSE, wilson
from masklet.engine.verify.choices import UNSURE, Choice, ExhaustivityItem, MaskItem, Verifier
from masklet.engine.view import LedgerView

NO_FIELD = "other"
LEAST_AUDITS = 10  # of a field, before anything is concluded
Item = TypeVar("Item", MaskItem, ExhaustivityItem)
UNASKED = Choice(label=UNSURE, probabilities={})


def field_of(phrase: str, ontology: Ontology) -> str:
    """The category of what a phrase names."""
    concept = concepts_of(ontology, [phrase]).get(phrase)
    return concept.category if concept else NO_FIELD


def audits(view: LedgerView, actor: Author, ontology: Ontology) -> dict[str, tuple[int, int]]:
    """Of each field, how many labels that the actor found whole people were asked about, and how many they denied."""
    return audited(view, actor, lambda phrase: field_of(phrase, ontology))


def audited(view: LedgerView, actor: Author, group_of: Callable[[str], str]) -> dict[str, tuple[int, int]]:
    """The same of each group that phrases are put into."""
    query = select(t.verdict.c.subject, t.verdict.c.label, t.phrase.c.text)
    query = query.join(t.pair, t.pair.c.pair_id == t.verdict.c.pair_id)
    query = query.join(t.phrase, t.phrase.c.phrase_id == t.pair.c.phrase_id)
    query = query.join(t.actor, t.actor.c.actor_id == t.verdict.c.actor_id).where(t.verdict.c.task == "exhaustivity")
    by_people = view.ledger.read(query.where(t.actor.c.kind == "person").order_by(t.verdict.c.verdict_id))
    denied = {row["subject"]: row["label"] != "accept" for row in by_people}
    people = select(t.actor.c.actor_id).where(t.actor.c.kind == "person")
    looked_at = select(t.verdict.c.pair_id).where(t.verdict.c.task == "exhaustivity", t.verdict.c.actor_id.in_(people))
    accepted = query.where(t.verdict.c.actor_id == actor.actor_id, t.verdict.c.label == "accept")
    asked: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for row in view.ledger.read(accepted.where(t.verdict.c.pair_id.in_(looked_at))):
        if row["subject"] in denied:
            group = group_of(row["text"])
            asked[group] += 1
            wrong[group] += denied[row["subject"]]
    return {group: (count, wrong[group]) for group, count in sorted(asked.items())}


def fallen_fields(view: LedgerView, actor: Author, ontology: Ontology, most_false: float = MOST_FALSE) -> list[str]:
    """Fields whose share of wrong labels is above the bound for sure: its lower Wilson bound is."""
    told = audits(view, actor, ontology)
    known = {field: wilson(wrong, count)[0] for field, (count, wrong) in told.items() if count >= LEAST_AUDITS}
    return [field for field, least in known.items() if least > most_false]


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A verifier that leaves some fields to people."""

    verifier: Verifier
    fallen: Sequence[str]
    ontology: Ontology

    @property
    def actor(self) -> Author:
        """That of the verifier."""
        return self.verifier.actor

    @property
    def identity(self) -> str:
        """That of the verifier with the fields."""
        return digest_of("watched", self.verifier.identity, list(self.fallen))

    def judge_masks(self, items: Sequence[MaskItem]) -> Sequence[Choice]:
        """The verifier's answers; unsure in fields that are left to people."""
        return self._judged(items, self.verifier.judge_masks)

    def judge_exhaustivity(self, items: Sequence[ExhaustivityItem]) -> Sequence[Choice]:
        """The verifier's answers; unsure in fields that are left to people."""
        return self._judged(items, self.verifier.judge_exhaustivity)

    def _judged(self, items: Sequence[Item], judge: Callable[[Sequence[Item]], Sequence[Choice]]) -> list[Choice]:
        is_left = [field_of(each.phrase, self.ontology) in self.fallen for each in items]
        asked = [each for each, left in zip(items, is_left, strict=True) if not left]
        choices = iter(judge(asked) if asked else ())
        return [UNASKED if left else next(choices) for left in is_left]


def watched(view: LedgerView, verifier: Verifier, ontology: Ontology) -> Verifier:
    """The verifier as it is, or without the fields where audits have shown too many wrong labels."""
    fallen = fallen_fields(view, verifier.actor, ontology)
    return Watched(verifier=verifier, fallen=fallen, ontology=ontology) if fallen else verifier
