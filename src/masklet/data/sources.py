"""Sources of examples: what all have in common, generated scenes, and weighted mixtures.

A source maps a random generator to an `Example`, so example i of a mixture is a pure function of (seed, i): resuming a
run needs nothing but the step counter. Images are decoded when an example is drawn, never before.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from masklet.data.mosaic import mosaic
from masklet.data.schema import Example, PhraseQuery
from masklet.errors import InputError
from masklet.phrases import phrase_key

Split = Literal["train", "heldout", "all"]
HELD_OUT_SHARE = 10
LEAST_HELD_OUT = 5


@runtime_checkable
class ExampleSource(Protocol):
    """Anything that can draw an example."""

    def sample(self, rng: np.random.Generator) -> Example:
        """An example that depends on nothing but the source and the state of `rng`."""
        ...


@runtime_checkable
class IndexedSource(ExampleSource, Protocol):
    """Labelled images in files, which can be read one by one."""

    def sample(self, rng: np.random.Generator) -> Example:
        """A random image with its phrases and some it does not show."""
        return self.example(int(rng.integers(len(self))), rng)

    def __len__(self) -> int:
        """Number of images."""
        ...

    def name(self, index: int) -> str:
        """The name of image `index` in messages."""
        ...

    def example(self, index: int, rng: np.random.Generator) -> Example:
        """Image `index`; `rng` draws words and negatives. Raises: InputError naming the file and the record."""
        ...


@runtime_checkable
class Remarking(Protocol):
    """A source that met something odd when it was opened."""

    def remarks(self) -> Iterable[tuple[str, str]]:
        """A kind of `doctor.SENTENCES` and the place, of each."""
        ...


class PhraseBook:
    """One spelling for phrases that differ in case, blanks or underscores alone: that which came first."""

    def __init__(self, phrases: Iterable[str] = ()) -> None:
        self._spelling: dict[str, str] = {}
        for phrase in phrases:
            self(phrase)

    def __call__(self, phrase: str) -> str:
        """The spelling to use."""
        return self._spelling.setdefault(phrase_key(phrase), phrase)


def held_out_names(names: Iterable[str]) -> set[str]:
    """The names that are held out: a tenth of them, each by its own hash alone; of few, as many as figures need.

    A quarter at most are held out to come to `LEAST_HELD_OUT`, the next ones in the order of their hashes.
    """
    ordered = sorted(set(names), key=lambda name: (_hash(name) % HELD_OUT_SHARE, _hash(name)))
    tenth = sum(_hash(name) % HELD_OUT_SHARE == 0 for name in ordered)
    return set(ordered[: max(tenth, min(LEAST_HELD_OUT, len(ordered) // 4))])


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.sha1(name.encode(errors="surrogatepass")).digest()[:8], "big")


def kept_names(names: Iterable[str], split: Split, limit: int | None, origin: str) -> list[str]:
    """The distinct names of a split, sorted; with a limit, that many of them.

    Which ones is a matter of their names alone: a smaller limit keeps a part of what a larger one keeps.

    Raises: InputError, which begins with `origin`, when none is left.
    """
    listed = set(names)
    held_out = held_out_names(listed) if split != "all" else set()
    kept = listed if split == "all" else held_out if split == "heldout" else listed - held_out
    if limit is not None:
        kept = set(sorted(kept, key=lambda name: (_hash(f"limit {name}"), name))[:limit])
    if not kept:
        raise InputError(f"{origin}: no image in split {split!r}")
    return sorted(kept)


@dataclass(frozen=True, kw_only=True)
class QueryConfig:
    """Which images of a source are used, and what is asked of them.

    A tenth of the images is held out, by a hash of their names; "all" ignores that. `limit` keeps so many images,
    always the same ones. `complete` says that what has no label is not in the image, so that other names are safe
    negatives, of which `max_negatives` are asked.
    """

    split: Split = "train"
    limit: int | None = None
    max_negatives: int = 8
    complete: bool = True


@dataclass(frozen=True, kw_only=True)
class CocoConfig(QueryConfig):
    """How queries are drawn from COCO labels.

    `scenes` groups image sources whose things may turn up in each other's images: names of another group are safe
    negatives, those of the own group are not. Without groups only the labels of the own source are used.
    `origins` keeps images whose record's `source` is one of these; all, when there are none. `complete` is taken where
    the file does not say what is labelled in full: True for COCO-like sets.
    """

    scenes: tuple[tuple[str, ...], ...] = ()
    origins: tuple[str, ...] = ()
    synonym_probability: float = 0.3


def ask(
    objects: Mapping[str, Sequence[int]], absent: Iterable[str], config: QueryConfig, rng: np.random.Generator
) -> tuple[PhraseQuery, ...]:
    """Every phrase that has objects, and some of those known to be absent."""
    negatives = draw_phrases(sorted(absent), config.max_negatives, rng)
    positives = [
        PhraseQuery(phrase=phrase, object_index=tuple(found), exhaustive=config.complete)
        for phrase, found in objects.items()
    ]
    return (*positives, *(PhraseQuery(phrase=phrase, object_index=()) for phrase in negatives))


def draw_phrases(phrases: list[str], count: int, rng: np.random.Generator) -> list[str]:
    """`count` of the phrases, or all if there are fewer, in random order."""
    return [phrases[i] for i in rng.permutation(len(phrases))[: max(0, count)].tolist()]


@dataclass(frozen=True)
class Mixture:
    """Sources drawn by weight; item i is the same whenever it is asked for.

    Some items, by `mosaic_probability`, are mosaics of `mosaic_size` pixels of several examples of one source, if it
    says what they do not show: otherwise most phrases asked of one tile would be unknown for the others.
    """

    sources: Sequence[ExampleSource]
    weights: Sequence[float]
    seed: int
    mosaic_probability: float = 0.0
    mosaic_size: int = 1008

    def __post_init__(self) -> None:
        if len(self.sources) != len(self.weights) or not sum(self.weights) > 0 or min(self.weights) < 0:
            raise ValueError(f"{len(self.sources)} sources need as many weights, none negative, got {self.weights}")

    def __getitem__(self, index: int) -> Example:
        rng = np.random.default_rng([self.seed, index])
        weights = np.asarray(self.weights, np.float64)
        source = self.sources[int(rng.choice(len(weights), p=weights / weights.sum()))]
        example = source.sample(rng)
        if not self.mosaic_probability or not example.absent or rng.random() >= self.mosaic_probability:
            return example
        return mosaic(example, lambda: source.sample(rng), self.mosaic_size, rng)


@dataclass(frozen=True)
class GeneratedSource:
    """Scenes made on the spot by `render(seed)`."""

    render: Callable[[int], Example]

    def sample(self, rng: np.random.Generator) -> Example:
        """A scene of a random seed."""
        return self.render(int(rng.integers(2**31)))
