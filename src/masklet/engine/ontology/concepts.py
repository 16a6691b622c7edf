"""Concepts in their hierarchy: a table of nouns for things that can be seen, derived from WordNet (see NOTICE).

Source: Fellbaum (1998), WordNet; the 17 categories are those of the SAM 3 paper's appendix D.
"""

import gzip
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

HUMAN = "human"
SEEN_OF_PEOPLE = frozenset({"person", "man", "woman", "child", "girl", "boy", "baby"})
_TABLE = Path(__file__).parent / "nouns.tsv.gz"


@dataclass(frozen=True, kw_only=True)
class Noun:
    """A thing by its names, the first of which is used; how often it occurs in counted texts, 0 for rare ones."""

    concept_id: str
    names: tuple[str, ...]
    parents: tuple[str, ...]
    count: int
    category: str


@dataclass(frozen=True, kw_only=True)
class Ontology:
    """Concepts by their id, and the words around them; `digest` is that of a user's own, "" of the shipped table."""

    concepts: Mapping[str, Noun]
    meanings: Mapping[str, str]  # of names, the concept that each means first
    adjectives: frozenset[str] = frozenset()
    verbs: frozenset[str] = frozenset()  # words that are oftener verbs than nouns
    plurals: Mapping[str, str] = field(default_factory=dict)  # irregular ones to their singulars
    digest: str = ""

    def __post_init__(self) -> None:
        children: dict[str, list[str]] = defaultdict(list)
        for concept in self.concepts.values():
            for parent in concept.parents:
                children[parent].append(concept.concept_id)
        object.__setattr__(self, "_children", {parent: tuple(sorted(each)) for parent, each in children.items()})

    def find(self, name: str) -> Noun | None:
        """What a name in singular, lower case, first means."""
        return self.concepts.get(self.meanings.get(name, ""))

    def is_clear(self, concept: Noun) -> bool:
        """Whether the name that would be asked first means this concept, and says what can be seen of it.

        Of people that is their age and sex, not what they are to others or do for a living.
        """
        if concept.category == HUMAN and concept.names[0] not in SEEN_OF_PEOPLE:
            return False
        return self.meanings.get(concept.names[0]) == concept.concept_id

    def children(self, concept_id: str) -> tuple[str, ...]:
        """Narrower concepts."""
        return self._children.get(concept_id, ())  # type: ignore[attr-defined]

    def ancestors(self, concept_id: str) -> list[str]:
        """Broader concepts, the nearest first; a circle ends where it began."""
        return self._closure(concept_id, lambda each: self.concepts[each].parents if each in self.concepts else ())

    def descendants(self, concept_id: str) -> list[str]:
        """Narrower concepts of all depths, the nearest first."""
        return self._closure(concept_id, self.children)

    def _closure(self, start: str, step: Callable[[str], Sequence[str]]) -> list[str]:
        found: dict[str, None] = {}
        waiting = list(step(start))
        while waiting:
            each = waiting.pop(0)
            if each not in found and each != start:
                found[each] = None
                waiting += step(each)
        return list(found)

    def relatives(self, concept_id: str) -> dict[str, str]:
        """Concepts beside this one that are neither broader nor narrower: "sibling", "cousin" or "uncle" each."""
        own = {concept_id, *self.ancestors(concept_id), *self.descendants(concept_id)}
        found: dict[str, str] = {}
        parents = self.concepts[concept_id].parents
        grandparents = [other for parent in parents if parent in self.concepts for other in self._parents_of(parent)]
        uncles = [child for other in grandparents for child in self.children(other)]
        groups = {
            "sibling": [child for parent in parents for child in self.children(parent)],
            "cousin": [child for uncle in uncles for child in self.children(uncle)],
            "uncle": uncles,
        }
        for relation, members in groups.items():
            for each in members:
                if each not in own and self.is_clear(self.concepts[each]):
                    found.setdefault(each, relation)
        return found

    def _parents_of(self, concept_id: str) -> tuple[str, ...]:
        return self.concepts[concept_id].parents if concept_id in self.concepts else ()


@cache
def shipped() -> Ontology:
    """The table that comes with masklet."""
    concepts, meanings, adjectives, verbs, plurals = {}, {}, set(), set(), {}
    with gzip.open(_TABLE, "rt", encoding="utf-8") as file:
        for line in file:
            kind, *values = line.rstrip("\n").split("\t")
            if kind == "n":
                number, labels, parents, count, category = values
                above = tuple(parents.split(",")) if parents else ()
                names = tuple(label.rstrip("*") for label in labels.split("|"))
                meanings |= {label: number for label in labels.split("|") if not label.endswith("*")}
                concepts[number] = Noun(
                    concept_id=number, names=names, parents=above, count=int(count), category=category
                )
            elif kind == "x":
                plurals[values[0]] = values[1]
            else:
                (adjectives if kind == "a" else verbs).add(values[0])
    return Ontology(
        concepts=concepts,
        meanings=meanings,
        adjectives=frozenset(adjectives),
        verbs=frozenset(verbs),
        plurals=plurals,
    )


def concepts_of(ontology: Ontology, phrases: Iterable[str]) -> dict[str, Noun]:
    """The concept of each phrase whose last words, as many as possible, name one."""
    found = {}
    for phrase in phrases:
        words = phrase.split()
        named = (ontology.find(" ".join(words[start:])) for start in range(len(words)))
        concept = next((each for each in named if each is not None), None)
        if concept is not None:
            found[phrase] = concept
    return found
