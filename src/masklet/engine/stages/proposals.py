"""Phrases that nobody listed: from captions, and by walking down the ontology with the model as a guide."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from masklet.engine.digests import digest_of
from masklet.engine.ledger.ledger import RULES
from masklet.engine.ontology.captions import noun_phrases
from masklet.engine.ontology.concepts import Noun, Ontology
from masklet.engine.records import Author, Fact, Move, Outcome, Unit
from masklet.engine.stages.phrases import normalise, pair_fact, pair_id_of, phrase_fact, phrase_id_of
from masklet.engine.stages.stage import Project
from masklet.engine.states import Cause
from masklet.errors import InputError
from masklet.protocols import Instances, Segmenter

MOST_PHRASES = 20  # of an image
PRESENT = 0.5  # presence of a concept, above which narrower ones are asked
FIRST_QUESTIONS = 48
MOST_QUESTIONS = 160  # of an image; 2,000 nouns are reached by asking a twelfth of them
MOST_NARROWER = 150  # of a concept to begin with; those with more, such as "object", name nothing to be seen
LEAST_COUNT = 1  # of a concept in counted texts


@dataclass(frozen=True, kw_only=True)
class CaptionPhrases:
    """Noun phrases of the captions of images, which are given by file name."""

    captions: Mapping[str, str]
    ontology: Ontology
    name: str = "caption-phrases"
    version: int = 1
    actor: Author = RULES

    def plan(self, project: Project) -> Sequence[Unit]:
        """A unit an image that has a caption."""
        return [
            Unit(stage=self.name, version=self.version, subject=row["media_id"], inputs=[digest_of(text)])
            for row in unlike_media(project)
            if (text := self.captions.get(row["uri"]))
        ]

    def run(self, project: Project, subject: str) -> Outcome:
        """Pairs of the caption's phrases; those with too many words are rejected and stay on record."""
        caption = self.captions[project.view.one_media(subject)["uri"]]
        return pairs_outcome(project, subject, noun_phrases(caption, self.ontology)[:MOST_PHRASES], "caption")


@dataclass(frozen=True, kw_only=True)
class WalkPhrases:
    """What is in an image out of thousands of nouns: the commonest are asked, then what is narrower than the present.

    A phrase is proposed when the model finds it likelier than not; a broader one only where nothing narrower is.
    """

    segmenter: Segmenter
    ontology: Ontology
    name: str = "walk-phrases"
    version: int = 1

    @property
    def actor(self) -> Author:
        """The model."""
        return Author(kind="model", name=self.segmenter.identity)

    def plan(self, project: Project) -> Sequence[Unit]:
        """A unit an image."""
        media = unlike_media(project)
        identity = self.segmenter.identity if media else ""
        return [
            Unit(stage=self.name, version=self.version, subject=row["media_id"], inputs=[identity]) for row in media
        ]

    def run(self, project: Project, subject: str) -> Outcome:
        """Pairs of what was found."""
        session = self.segmenter.open(project.picture(subject))
        try:
            found = walk(session.find, self.ontology)
        finally:
            session.close()
        return pairs_outcome(project, subject, found, "ontology")


def walk(find: Callable[..., Instances], ontology: Ontology) -> list[str]:
    """Names of concepts that are likely in an image, the likeliest first."""

    def is_askable(each: Noun) -> bool:
        return each.count >= LEAST_COUNT and ontology.is_clear(each)

    presence: dict[str, float] = {}
    asked: dict[str, Noun] = {}
    waiting = first_questions(ontology)
    while waiting and len(asked) < MOST_QUESTIONS:
        batch = {each.names[0]: each for each in waiting[: MOST_QUESTIONS - len(asked)]}
        presence |= find(list(batch), threshold=1.0).presence
        asked |= batch
        present = [each for name, each in batch.items() if presence[name] >= PRESENT]
        narrower = [ontology.concepts[child] for each in present for child in ontology.children(each.concept_id)]
        waiting = [each for each in narrower if is_askable(each) and each.names[0] not in asked]
        waiting.sort(key=lambda each: (-each.count, each.concept_id))
    likely = {name: asked[name] for name in asked if presence[name] >= PRESENT}
    broader = {other for each in likely.values() for other in ontology.ancestors(each.concept_id)}
    kept = [name for name, each in likely.items() if each.concept_id not in broader]
    return sorted(kept, key=lambda name: (-presence[name], name))[:MOST_PHRASES]


def first_questions(ontology: Ontology) -> list[Noun]:
    """The commonest concepts, none of which is broader than another."""
    chosen: list[Noun] = []
    usable = [each for each in ontology.concepts.values() if each.count >= LEAST_COUNT and ontology.is_clear(each)]
    taken: set[str] = set()
    for each in sorted(usable, key=lambda each: (-each.count, each.concept_id)):
        related = {each.concept_id, *ontology.ancestors(each.concept_id)}
        if not related & taken and len(ontology.descendants(each.concept_id)) <= MOST_NARROWER:
            chosen.append(each)
            taken.add(each.concept_id)
        if len(chosen) == FIRST_QUESTIONS:
            break
    return chosen


def unlike_media(project: Project) -> list:
    """Images that stand for themselves and their duplicates."""
    stands_for = project.view.clusters()
    return [row for row in project.view.media() if stands_for.get(row["media_id"], row["media_id"]) == row["media_id"]]


def pairs_outcome(project: Project, media_id: str, phrases: Sequence[str], origin: str) -> Outcome:
    """Pairs of an image and new phrases, queued; what is no phrase by its length is on record as rejected."""
    there = {row["pair_id"] for row in project.view.pairs(media_id=media_id, revoked=True)}
    facts: list[Fact] = []
    moves: list[Move] = []
    for text in dict.fromkeys(phrases):
        pair_id = pair_id_of(media_id, phrase_id_of(text))
        if pair_id in there:
            continue
        facts += [phrase_fact(text), pair_fact(media_id, phrase_id_of(text), origin)]
        moves.append(Move(pair_id=pair_id, cause=Cause.ACCEPTED_PHRASE if _is_fit(text) else Cause.PHRASE_UNFIT))
    return Outcome(facts=facts, moves=moves)


def _is_fit(text: str) -> bool:
    try:
        return normalise(text) == text
    except InputError:
        return False
