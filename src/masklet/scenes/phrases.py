"""Noun phrases of a scene: what is true of which object, what is certainly false, and what is left unasked.

Everything is three-valued. An object matches a phrase (True), does not (False), or one could argue (None: a striped mug
whose stripes are white is not clearly "white"). A phrase is asked only when no object leaves it open, so every list of
objects is exhaustive and every negative is true by construction.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from masklet.data.schema import PhraseQuery
from masklet.scenes.noise import one_of

THING = "thing"
UNSEEN_SHARE = 0.08
NEVER_UNSEEN = frozenset({THING, "coin", "cell"})
SIZE_GAP = 1.7


def is_unseen_pair(colour: str | None, noun: str) -> bool:
    """Whether this colour is never shown with this noun in training. Fixed for ever: a hash of the two words."""
    if colour is None or noun in NEVER_UNSEEN:
        return False
    return zlib.crc32(f"{colour} {noun}".encode()) % 1000 < 1000 * UNSEEN_SHARE


@dataclass(frozen=True, kw_only=True)
class Description:
    """What is known of one object. `colour` and `pattern` None mean unknown; the `maybe_` sets could be argued.

    `extent` is the longest side in pixels of the whole object, hidden parts included.
    """

    nouns: tuple[str, ...]
    maybe_nouns: frozenset[str] = frozenset()
    colour: str | None = None
    maybe_colours: frozenset[str] = frozenset()
    pattern: str | None = None
    extent: float


@dataclass(frozen=True)
class Phrase:
    """A noun with at most one word of each sort before it; `str` gives "large striped red mug"."""

    noun: str
    colour: str | None = None
    pattern: str | None = None
    size: str | None = None

    def __str__(self) -> str:
        return " ".join(word for word in (self.size, self.pattern, self.colour, self.noun) if word)


def size_words(noun: str, descriptions: Sequence[Description]) -> list[str | None]:
    """ "small" or "large" for each object called `noun`, None where the word is not clear.

    The rule: sort the objects of that noun by extent; if exactly one step between neighbours is a factor of `SIZE_GAP`
    or more, those below are small and those above are large. Otherwise nothing in the scene is either.
    """
    words: list[str | None] = [None] * len(descriptions)
    if noun == THING or any(noun in description.maybe_nouns for description in descriptions):
        return words
    called = [index for index, description in enumerate(descriptions) if noun in description.nouns]
    called.sort(key=lambda index: descriptions[index].extent)
    extents = [descriptions[index].extent for index in called]
    steps = [i + 1 for i in range(len(extents) - 1) if extents[i + 1] >= SIZE_GAP * extents[i]]
    if len(steps) == 1:
        for position, index in enumerate(called):
            words[index] = "large" if position >= steps[0] else "small"
    return words


def _says(word: str | None, truth: str | None, maybe: frozenset[str]) -> bool | None:
    if word is None or word == truth:
        return True
    return None if truth is None or word in maybe else False


def _matches(phrase: Phrase, description: Description) -> bool | None:
    """Whether the object is what the phrase says, leaving size aside."""
    if phrase.noun == THING or phrase.noun in description.nouns:
        noun: bool | None = True
    else:
        noun = None if phrase.noun in description.maybe_nouns else False
    colour = _says(phrase.colour, description.colour, description.maybe_colours)
    pattern = _says(phrase.pattern, description.pattern, frozenset())
    parts = (noun, colour, pattern)
    return False if False in parts else None if None in parts else True


def objects_of(phrase: Phrase, descriptions: Sequence[Description]) -> tuple[int, ...] | None:
    """Every object the phrase is true of, or None when it is open for at least one."""
    truths = [_matches(phrase, description) for description in descriptions]
    if phrase.size is not None:
        sizes = size_words(phrase.noun, descriptions)
        if not any(sizes):  # no clear sizes: the word means nothing here
            return None
        truths = [
            truth if size == phrase.size or truth is False else False for truth, size in zip(truths, sizes, strict=True)
        ]
    if None in truths:
        return None
    return tuple(index for index, truth in enumerate(truths) if truth)


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Words to draw false phrases from. `nouns` may be asked where absent, the rest replace a true one.

    `clear_of_ground` are the nouns that the ground surely does not show, None for all. Other nouns are never denied
    and their objects are not exhaustive.
    """

    nouns: tuple[str, ...]
    colours: tuple[str, ...]
    patterns: tuple[str, ...]
    unseen_pairs: bool
    clear_of_ground: frozenset[str] | None = None


def true_phrase(rng: np.random.Generator, description: Description, size: str | None) -> Phrase:
    """A phrase that is true of the object, anywhere between "mug" and "large striped red mug"."""
    noun = description.nouns[0] if rng.random() < 0.8 else one_of(rng, description.nouns)
    phrase = Phrase(noun)
    if description.colour and rng.random() < 0.5:
        phrase = replace(phrase, colour=description.colour)
    if description.pattern and rng.random() < (0.1 if description.pattern == "plain" else 0.5):
        phrase = replace(phrase, pattern=description.pattern)
    if (phrase.colour or phrase.pattern) and rng.random() < 0.2:
        return replace(phrase, noun=THING)
    if size and rng.random() < 0.6:
        phrase = replace(phrase, size=size)
    return phrase


def false_phrase(rng: np.random.Generator, phrase: Phrase, vocabulary: Vocabulary) -> Phrase:
    """A phrase near a true one with one word exchanged, or just another noun. May still be true of something else."""
    options = ["noun"]
    options += ["colour"] * 2 if vocabulary.colours else []
    options += ["pattern"] if vocabulary.patterns else []
    options += ["size"] * 2 if phrase.size else []
    match one_of(rng, options):
        case "colour":
            return replace(phrase, colour=one_of(rng, vocabulary.colours))
        case "pattern":
            return replace(phrase, pattern=one_of(rng, vocabulary.patterns))
        case "size":
            return replace(phrase, size="small" if phrase.size == "large" else "large")
        case _:
            noun = one_of(rng, vocabulary.nouns)
            return Phrase(noun) if rng.random() < 0.6 else replace(phrase, noun=noun, size=None)


def sample_queries(
    rng: np.random.Generator,
    descriptions: Sequence[Description],
    vocabulary: Vocabulary,
    num_queries: int,
    negative_share: float,
    first: Sequence[Phrase] = (),
) -> tuple[PhraseQuery, ...]:
    """Up to `num_queries` distinct phrases with all their objects, true ones first; `first` are asked whatever else is.

    `negative_share` in [0, 1] is about how many of them are true of nothing.
    """
    asked: dict[str, PhraseQuery] = {}
    num_negative = min(int(rng.binomial(num_queries, negative_share)), num_queries // 2 + 1)
    num_negative = num_negative if descriptions else num_queries
    room = {True: num_queries - num_negative, False: num_negative}
    sizes = {noun: size_words(noun, descriptions) for noun in {noun for d in descriptions for noun in d.nouns}}

    def is_clear(noun: str) -> bool:
        return vocabulary.clear_of_ground is None or noun in vocabulary.clear_of_ground

    def ask(phrase: Phrase) -> None:
        found = objects_of(phrase, descriptions)
        unseen = is_unseen_pair(phrase.colour, phrase.noun) and not vocabulary.unseen_pairs
        if found is None or unseen or str(phrase) in asked or room[bool(found)] <= 0:
            return
        if not found and not is_clear(phrase.noun):
            return
        asked[str(phrase)] = PhraseQuery(phrase=str(phrase), object_index=found, exhaustive=is_clear(phrase.noun))
        room[bool(found)] -= 1

    for phrase in first:
        ask(phrase)
    for _ in range(4 * num_queries):
        phrase = Phrase(one_of(rng, vocabulary.nouns))
        if descriptions:
            index = int(rng.integers(len(descriptions)))
            description = descriptions[index]
            phrase = true_phrase(rng, description, sizes[description.nouns[0]][index])
            if phrase.noun != description.nouns[0]:
                phrase = replace(phrase, size=None)
        if room[True] <= 0 or (room[False] > 0 and rng.random() < 0.5):
            phrase = false_phrase(rng, phrase, vocabulary)
        ask(phrase)
        if not any(room.values()):
            break
    # Where true phrases ran out, so must false ones, or a scene of few words would teach that most are absent.
    positive = [query for query in asked.values() if query.object_index]
    negative = [query for query in asked.values() if not query.object_index]
    most = len(positive) + 1 if descriptions else num_queries
    return (*positive, *negative[:most])
