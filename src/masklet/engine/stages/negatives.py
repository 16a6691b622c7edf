"""Hard negatives: names of things that look like what an image shows, and that are known not to be in it.

A candidate is asked of the model. Finds that lie on the masks of the positive it comes from are look-alikes, and are
rejected with them on record; finds elsewhere could be true and are judged as any other. Either way the pair becomes a
negative only by a verdict on its exhaustivity with no masks.

Source: SAM 3 paper, section 4 and appendix D (hard negatives, adversarial test); the threshold is our own.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from masklet.engine.ledger.ledger import RULES
from masklet.engine.ontology.concepts import Noun, Ontology, concepts_of
from masklet.engine.ontology.normal import normal_phrase
from masklet.engine.records import Author, Fact, MaskRow, Move, Outcome, Unit
from masklet.engine.stages.mask_rows import masks_by_phrase, maskset_fact
from masklet.engine.stages.masks import KEEP_SCORE, MOST_MASKS
from masklet.engine.stages.phrases import pair_fact, pair_id_of, phrase_fact, phrase_id_of
from masklet.engine.stages.stage import Project
from masklet.engine.stages.verification import verdict_fact
from masklet.engine.states import Cause, State
from masklet.engine.verify.choices import Choice
from masklet.engine.view import Row
from masklet.ops.masks import rle_decode
from masklet.protocols import Pixels, Segmenter

OVERLAP = 0.7  # of finds with the positive's masks, from which they are taken for look-alikes
EASY_SHARE = 0.1  # of candidates for which nothing is found that are kept
MOST_RELATIVES = 10
MOST_SWAPS = 5
MOST_TOLD = 10
NOT_KINDS = frozenset({"female", "male", "young", "pet", "baby", "adult", "offspring"})  # what any kind may be as well
ATTRIBUTES = (
    ("red", "green", "blue", "yellow", "black", "white", "brown", "orange", "pink", "purple", "grey"),
    ("small", "large"),
    ("wooden", "metal", "plastic", "glass"),
    ("round", "square"),
    ("striped", "spotted", "plain"),
)


@dataclass(frozen=True, kw_only=True)
class Lookalike:
    """A phrase to be asked, what it is to the positive one, and the pair of that."""

    text: str
    origin: str
    parent: str


@runtime_checkable
class LookalikeTeller(Protocol):
    """Says what could be mistaken for what an image shows, such as a language model; what it says is not trusted."""

    @property
    def identity(self) -> str:
        """Changes whenever its words would."""
        ...

    def tell_lookalikes(self, image: Pixels, phrases: Sequence[str]) -> Sequence[tuple[str, str]]:
        """Pairs of one of the phrases and what looks like it; none without an answer."""
        ...


@dataclass(frozen=True, kw_only=True)
class HardNegatives:
    """A unit an image and set of final positives: up to `per_image` negatives."""

    segmenter: Segmenter
    ontology: Ontology
    per_image: int = 30
    teller: LookalikeTeller | None = None
    name: str = "negatives"
    version: int = 1

    @property
    def actor(self) -> Author:
        """The model."""
        return Author(kind="model", name=self.segmenter.identity)

    def plan(self, project: Project) -> Sequence[Unit]:
        """Images that show something; again when they are known to show more."""
        positive: dict[str, list[str]] = {}
        for row in project.view.pairs(State.FINAL_POSITIVE):
            positive.setdefault(row["media_id"], []).append(row["pair_id"])
        if not positive:
            return []
        settings = f"{self.segmenter.identity} {self.per_image}"
        settings += f" {self.teller.identity}" if self.teller else ""
        settings += f" {self.ontology.digest}" if self.ontology.digest else ""
        return [
            Unit(stage=self.name, version=self.version, subject=media_id, inputs=[settings, *pairs])
            for media_id, pairs in positive.items()
        ]

    def run(self, project: Project, subject: str) -> Outcome:
        """Pairs with what was found for them; look-alikes are rejected, the rest is judged as usual."""
        pairs = project.view.pairs(media_id=subject, revoked=True)
        made = sum(row["parent_pair_id"] is not None for row in pairs)
        positives = [row for row in pairs if row["state"] == State.FINAL_POSITIVE]
        if made >= self.per_image:
            return Outcome()
        image = project.picture(subject)
        told = self.teller.tell_lookalikes(image, [row["text"] for row in positives]) if self.teller else ()
        candidates = candidates_of(positives, [row["text"] for row in pairs], self.ontology, told)
        if not candidates:
            return Outcome()
        session = self.segmenter.open(image)
        try:
            found = session.find([each.text for each in candidates], threshold=KEEP_SCORE)
        finally:
            session.close()
        size = image.shape[0], image.shape[1]
        masks = masks_by_phrase(found, size)
        covered = {row["pair_id"]: union(accepted_masks_of(project, row["pair_id"]), size) for row in positives}
        facts: list[Fact] = []
        moves: list[Move] = []
        kept = 0
        order = sorted(candidates, key=lambda each: not masks.get(each.text))  # hard ones first
        for each in order:
            mine = masks.get(each.text, [])[:MOST_MASKS]
            if kept + made >= self.per_image:
                break
            if not mine and not is_sampled(subject, each.text):
                continue
            kept += 1
            overlap = overlap_share(union(mine, size), covered[each.parent])
            outcome = self._pair(project, subject, each, mine, found.presence[each.text], is_alike=overlap >= OVERLAP)
            facts += outcome.facts
            moves += outcome.moves
        return Outcome(facts=facts, moves=moves)

    def _pair(
        self, project: Project, media_id: str, each: Lookalike, masks: list[MaskRow], presence: float, *, is_alike: bool
    ) -> Outcome:
        pair = pair_fact(media_id, phrase_id_of(each.text), each.origin, parent=each.parent)
        row: Row = {**pair.values, "text": each.text}
        maskset = maskset_fact(project, row, masks, self.actor, presence)
        facts = [phrase_fact(each.text), pair, maskset]
        causes = [Cause.ACCEPTED_PHRASE, Cause.MASKS_FOUND]
        if is_alike or not masks:
            causes.append(Cause.MASKS_DECIDED)
            no = Choice(label="reject", probabilities={"reject": 1.0})
            key = maskset.values["maskset_id"]
            facts += [verdict_fact("mask", row, f"{key}#{number}", no, RULES) for number in range(len(masks))]
        pair_id = pair.values["pair_id"]
        return Outcome(facts=facts, moves=[Move(pair_id=pair_id, cause=cause) for cause in causes])


def candidates_of(
    positives: Sequence[Row], asked: Sequence[str], ontology: Ontology, told: Sequence[tuple[str, str]] = ()
) -> list[Lookalike]:
    """Relatives in the ontology, swapped attributes and told look-alikes of what an image shows, none asked of it yet.

    Broader and narrower concepts of any positive, and its synonyms, are no candidates: they would be true.
    """
    concepts = concepts_of(ontology, [row["text"] for row in positives])
    true = _true_names(concepts, ontology) | set(asked)
    found: dict[str, Lookalike] = {}
    for row in positives:
        texts = [(text, "attribute swap") for text in swapped(row["text"])[:MOST_SWAPS]]
        if row["text"] in concepts:
            relatives = ontology.relatives(concepts[row["text"]].concept_id)
            ranked = sorted(relatives, key=lambda each: (-ontology.concepts[each].count, each))
            texts = [(ontology.concepts[each].names[0], relatives[each]) for each in ranked[:MOST_RELATIVES]] + texts
        alike = [normal_phrase(text, ontology).text for phrase, text in told if phrase == row["text"]]
        named = concepts_of(ontology, alike)  # "tabby cat" may be true where "cat" is
        alike = [text for text in alike if text and not (text in named and true & {*named[text].names})]
        for text, origin in [(text, "told look-alike") for text in alike[:MOST_TOLD]] + texts:
            if text not in true and text not in NOT_KINDS:
                found.setdefault(text, Lookalike(text=text, origin=origin, parent=row["pair_id"]))
    return list(found.values())


def _true_names(concepts: Mapping[str, Noun], ontology: Ontology) -> set[str]:
    names: set[str] = set()
    for concept in concepts.values():
        ids = [concept.concept_id, *ontology.ancestors(concept.concept_id), *ontology.descendants(concept.concept_id)]
        names.update(name for each in ids if each in ontology.concepts for name in ontology.concepts[each].names)
    return names


def swapped(phrase: str) -> list[str]:
    """The phrase with one attribute exchanged for each other one of its kind."""
    words = phrase.split()
    found = []
    for place, word in enumerate(words[:-1]):
        for kind in ATTRIBUTES:
            if word in kind:
                found += [" ".join([*words[:place], other, *words[place + 1 :]]) for other in kind if other != word]
    return found


def accepted_masks_of(project: Project, pair_id: str) -> list[MaskRow]:
    """The masks of a pair that hold."""
    maskset = project.view.maskset(pair_id)
    if maskset is None:
        return []
    masks = project.view.masks(maskset)
    return [masks[number] for number in project.view.accepted(pair_id, maskset)]


def union(masks: Sequence[MaskRow], size: tuple[int, int]) -> np.ndarray:
    """Pixels of any of the masks."""
    pixels = np.zeros(size, bool)
    for mask in masks:
        pixels |= rle_decode(mask.counts, *mask.size)
    return pixels


def overlap_share(finds: np.ndarray, masks: np.ndarray) -> float:
    """The share of what was found that lies on the masks; 0 of nothing. Data engine page, appendix 3."""
    area = int(finds.sum())
    return int((finds & masks).sum()) / area if area else 0.0


def is_sampled(media_id: str, text: str) -> bool:
    """Whether an easy candidate is kept; by its name alone, so that no run changes it."""
    digest = hashlib.sha256(f"easy {pair_id_of(media_id, phrase_id_of(text))}".encode()).hexdigest()
    return int(digest[:8], 16) / 2**32 < EASY_SHARE
