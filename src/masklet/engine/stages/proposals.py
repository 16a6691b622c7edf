"""Phrases that nobody listed: from captions, and by walking down the ontology with the model as a guide."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from masklet.engine.digests import digest_of
from masklet.engine.ontology.chunkers import Chunker
from masklet.engine.ontology.concepts import Noun, Ontology
from masklet.engine.ontology.normal import LONGEST, normal_phrase
from masklet.engine.records import Author, Fact, Move, Outcome, Unit
from masklet.engine.stages.phrases import pair_fact, pair_id_of, phrase_fact, phrase_id_of
from masklet.engine.stages.stage import Project
from masklet.engine.states import Cause
from masklet.protocols import ImageSegmenter, Instances, Pixels, Segmenter

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
    chunker: Chunker
    name: str = "caption-phrases"
    version: int = 2

    @property
    def actor(self) -> Author:
        """Whoever cuts captions into phrases."""
        return self.chunker.actor

    def plan(self, project: Project) -> Sequence[Unit]:
        """A unit an image that has a caption."""
        return [
            Unit(
                stage=self.name,
                version=self.version,
                subject=row["media_id"],
                inputs=[self.actor.name, digest_of(text)],
            )
            for row in unlike_media(project)
            if (text := self.captions.get(row["uri"]))
        ]

    def run(self, project: Project, subject: str) -> Outcome:
        """Pairs of the caption's phrases; those with too many words are rejected and stay on record."""
        uri = project.view.one_media(subject)["uri"]
        return pairs_outcome(project, subject, self._phrases(uri), "caption")

    def _phrases(self, uri: str) -> dict[str, bool]:
        phrases = list(self.chunker.phrases(self.captions[uri]))[:MOST_PHRASES]
        return _normal(phrases, self.ontology)

    def speaks_of(self, uri: str) -> bool:
        """Where there is a caption."""
        return bool(self.captions.get(uri))

    def foretell(self, uri: str, session: ImageSegmenter) -> Sequence[str]:  # noqa: ARG002 - words are enough
        """Those of the caption that may be asked."""
        return [text for text, may_be_asked in self._phrases(uri).items() if may_be_asked]


@runtime_checkable
class PhraseTeller(Protocol):
    """Says in words what an image shows, such as a language model that sees; what it says is not trusted."""

    @property
    def identity(self) -> str:
        """Changes whenever its words would."""
        ...

    def tell_phrases(self, image: Pixels) -> Sequence[str]:
        """Noun phrases. Raises: InputError when it gives no answer that can be used."""
        ...


@dataclass(frozen=True, kw_only=True)
class ToldPhrases:
    """Phrases that somebody tells of each image, in their normal form; others are on record as rejected."""

    teller: PhraseTeller
    ontology: Ontology
    name: str = "told-phrases"
    version: int = 1

    @property
    def actor(self) -> Author:
        """Whoever tells."""
        return Author(kind="model", name=self.teller.identity)

    def plan(self, project: Project) -> Sequence[Unit]:
        """A unit an image."""
        inputs = [self.teller.identity]
        return [
            Unit(stage=self.name, version=self.version, subject=row["media_id"], inputs=inputs)
            for row in unlike_media(project)
        ]

    def run(self, project: Project, subject: str) -> Outcome:
        """Pairs of what was told. Raises: InputError when there is no answer."""
        told = list(self.teller.tell_phrases(project.picture(subject)))[:MOST_PHRASES]
        return pairs_outcome(project, subject, _normal(told, self.ontology), "told")


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
        inputs = [self.segmenter.identity] if media else []
        inputs += [self.ontology.digest] if self.ontology.digest else []
        return [Unit(stage=self.name, version=self.version, subject=row["media_id"], inputs=inputs) for row in media]

    def run(self, project: Project, subject: str) -> Outcome:
        """Pairs of what was found."""
        session = self.segmenter.open(project.picture(subject))
        try:
            found = walk(session.find, self.ontology)
        finally:
            session.close()
        return pairs_outcome(project, subject, dict.fromkeys(found, True), "ontology")

    def speaks_of(self, uri: str) -> bool:  # noqa: ARG002 - every photo is walked
        """Always."""
        return True

    def foretell(self, uri: str, session: ImageSegmenter) -> Sequence[str]:  # noqa: ARG002
        """What the walk finds."""
        return walk(session.find, self.ontology)


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


def pairs_outcome(project: Project, media_id: str, phrases: Mapping[str, bool], origin: str) -> Outcome:
    """Pairs of an image and new phrases, those that may be asked queued; the others are on record as rejected."""
    there = {row["pair_id"] for row in project.view.pairs(media_id=media_id, revoked=True)}
    facts: list[Fact] = []
    moves: list[Move] = []
    for text, may_be_asked in phrases.items():
        pair_id = pair_id_of(media_id, phrase_id_of(text))
        if pair_id in there:
            continue
        facts += [phrase_fact(text), pair_fact(media_id, phrase_id_of(text), origin)]
        moves.append(Move(pair_id=pair_id, cause=Cause.ACCEPTED_PHRASE if may_be_asked else Cause.PHRASE_UNFIT))
    return Outcome(facts=facts, moves=moves)


def _normal(phrases: Sequence[str], ontology: Ontology) -> dict[str, bool]:
    """Phrases in their normal form, and whether each may be asked; those that may not, as they were written."""
    found: dict[str, bool] = {}
    for text in phrases:
        normal = normal_phrase(text, ontology)
        if normal.text:
            found[normal.text] = True
        elif plain := " ".join(text.lower().split())[:LONGEST]:
            found.setdefault(plain, False)
    return found
