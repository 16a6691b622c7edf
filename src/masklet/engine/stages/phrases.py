"""Phrases are asked of images: each phrase of the user's list of each image makes a pair."""

from collections.abc import Sequence
from dataclasses import dataclass

from masklet.engine.digests import digest_of
from masklet.engine.ledger.ledger import RULES
from masklet.engine.records import Author, Fact, Move, Outcome, Unit
from masklet.engine.stages.stage import Project
from masklet.engine.states import Cause, State
from masklet.errors import InputError
from masklet.protocols import ImageSegmenter

MOST_WORDS = 6


@dataclass(frozen=True, kw_only=True)
class ListedPhrases:
    """The user's own list: all of it of every image that is not a duplicate of another."""

    phrases: tuple[str, ...]
    name: str = "phrases"
    version: int = 1
    actor: Author = RULES

    def plan(self, project: Project) -> Sequence[Unit]:
        """A unit an image."""
        stands_for = project.view.clusters()
        chosen = [row["media_id"] for row in project.view.media()]
        chosen = [media_id for media_id in chosen if stands_for.get(media_id, media_id) == media_id]
        asked = digest_of(sorted(self.phrases))
        return [Unit(stage=self.name, version=self.version, subject=media_id, inputs=[asked]) for media_id in chosen]

    def run(self, project: Project, subject: str) -> Outcome:
        """Pairs, queued at once: what people list is fit to be asked."""
        there = {row["pair_id"] for row in project.view.pairs(media_id=subject, revoked=True)}
        facts, moves = [], []
        for text in self.phrases:
            phrase_id = phrase_id_of(text)
            pair_id = pair_id_of(subject, phrase_id)
            if pair_id in there:
                continue
            facts += [phrase_fact(text), pair_fact(subject, phrase_id, "listed")]
            moves.append(Move(pair_id=pair_id, cause=Cause.ACCEPTED_PHRASE))
        return Outcome(facts=facts, moves=moves)

    def speaks_of(self, uri: str) -> bool:  # noqa: ARG002 - the list is for all photos
        """Always."""
        return True

    def foretell(self, uri: str, session: ImageSegmenter) -> Sequence[str]:  # noqa: ARG002
        """All of the list."""
        return self.phrases


def normalise(text: str) -> str:
    """Lower case, single blanks. Raises: InputError for an empty phrase or a sentence."""
    words = text.lower().split()
    if not words:
        raise InputError("a phrase is empty: got blanks, expected a short noun phrase such as `red mug`")
    if len(words) > MOST_WORDS:
        raise InputError(f"{text!r} has {len(words)} words: a phrase has at most {MOST_WORDS}, such as `red mug`")
    return " ".join(words)


def phrase_id_of(text: str) -> str:
    """The key of a normal phrase."""
    return digest_of("phrase", "en", text)


def pair_id_of(media_id: str, phrase_id: str) -> str:
    """The key of a pair."""
    return digest_of("pair", media_id, phrase_id)


def phrase_fact(text: str, concept: str | None = None) -> Fact:
    """A phrase as a row."""
    values = {"phrase_id": phrase_id_of(text), "text": text, "concept": concept, "revoked": 0}
    return Fact(table="phrase", values=values)


def pair_fact(media_id: str, phrase_id: str, origin: str, *, parent: str | None = None, priority: float = 0.0) -> Fact:
    """A pair as a row, in its first state."""
    values = {
        "pair_id": pair_id_of(media_id, phrase_id),
        "media_id": media_id,
        "phrase_id": phrase_id,
        "origin": origin,
        "parent_pair_id": parent,
        "state": str(State.PROPOSED),
        "version": 0,
        "priority": priority,
    }
    return Fact(table="pair", values=values)
