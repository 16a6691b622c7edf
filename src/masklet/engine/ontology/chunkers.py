"""Who cuts captions into noun phrases: spaCy where an English model of it is installed, else the small chunker."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from masklet.cached import cached
from masklet.engine.ledger.ledger import RULES
from masklet.engine.ontology.captions import noun_phrases
from masklet.engine.ontology.concepts import Ontology
from masklet.engine.records import Author

MODELS = ("en_core_web_lg", "en_core_web_md", "en_core_web_sm")  # the best first


@runtime_checkable
class Chunker(Protocol):
    """Noun phrases of a caption."""

    @property
    def actor(self) -> Author:
        """In whose name; changes whenever its phrases would."""
        ...

    def phrases(self, caption: str) -> Sequence[str]:
        """In their order, not in their normal form yet."""
        ...


@dataclass(frozen=True, kw_only=True)
class SmallChunker:
    """By the word classes of the ontology: the same on every machine."""

    ontology: Ontology
    actor: Author = RULES

    def phrases(self, caption: str) -> Sequence[str]:
        """Adjectives and a noun each."""
        return noun_phrases(caption, self.ontology)


@dataclass(frozen=True, kw_only=True)
class SpacyChunker:
    """By a model of spaCy, which is loaded when the first caption comes."""

    model: str
    version: str

    @property
    def actor(self) -> Author:
        """The model with its version."""
        return Author(kind="model", name=f"spaCy {self.model} {self.version}")

    @cached
    def _read(self) -> Any:
        return import_module(self.model).load()

    def phrases(self, caption: str) -> Sequence[str]:
        """The noun chunks, without those that are a pronoun."""
        return [chunk.text for chunk in self._read(caption).noun_chunks if chunk.root.pos_ != "PRON"]


def chunker_here(ontology: Ontology) -> Chunker:
    """The best chunker that this machine has."""
    for model in MODELS:
        try:
            import_module("spacy")
            return SpacyChunker(model=model, version=import_module(model).__version__)
        except (ImportError, ValueError):  # not there, or built for another NumPy
            continue
    return SmallChunker(ontology=ontology)
