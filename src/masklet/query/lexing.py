"""The parts of a sentence that hold no other parts: articles, numbers, orders, nouns, places in the image."""

from collections.abc import Iterator, Sequence

from masklet.errors import InputError
from masklet.query.building import Order
from masklet.query.nodes import EVERYTHING
from masklet.query.vocabulary import (
    ARTICLES,
    COLOURS,
    DETERMINERS,
    EXCEPTIONS,
    FUNCTION_WORDS,
    LAST,
    NEARNESS,
    NO_THINGS,
    ORDERS,
    ORDINALS,
    PLAIN_EST,
    POSTURES,
    RELATION_WORDS,
    SIDE_PARTS,
    SIDE_WORDS,
    SIDES,
    THINGS,
    singular,
)
from masklet.query.wording import number_of

MOST_LOOKS = 5_000  # at places of the sentence, some 20 ms; everyday ones take 200, but nested modifiers multiply


_RELATIONS: dict[str, list[tuple[str, ...]]] = {}
for _words in RELATION_WORDS:
    _RELATIONS.setdefault(_words[0], []).append(_words)


class SentenceWords:
    """The words of a sentence, looked at from a place. `farthest` is how far any look got: the word that stops it."""

    def __init__(self, words: list[str]) -> None:
        self.words, self.length, self.farthest, self.looks = words, len(words), 0, 0
        self.plurals: set[str] = set()  # nouns that were read in the plural
        self.shared: set[int] = set()  # places of an "or" that a "with" or "without" goes on over

    def at(self, place: int, *wanted: str) -> int | None:
        """The place behind these words, or None. Raises: InputError after too many looks in all."""
        self.looks += 1
        if self.looks > MOST_LOOKS:
            raise InputError("the question can be read in too many ways: say it with fewer nested parts")
        end = place + len(wanted)
        if tuple(self.words[place:end]) == wanted:
            self.farthest = max(self.farthest, end)
            return end
        return None

    def first(self, place: int, options: tuple[tuple[str, ...], ...]) -> int | None:
        """The place behind the first of several word sequences."""
        word = self.words[place] if place < self.length else ""
        return next((end for each in options if each[0] == word and (end := self.at(place, *each)) is not None), None)

    def at_quietly(self, place: int, words: tuple[str, ...]) -> bool:
        return tuple(self.words[place : place + len(words)]) == words

    def determined(self, place: int) -> int:
        """The place behind an article."""
        behind = self.first(place, DETERMINERS)
        if behind is None and self.words[place] in (*ARTICLES, "that", "only", "just"):
            behind = place + 1
            self.farthest = max(self.farthest, behind)
        return place if behind is None else behind

    def number(self, place: int) -> tuple[int | None, int | None, int]:
        """Least and most of a number, and the place behind it."""
        for words, low, high in (
            (("at", "least"), 0, None),
            (("more", "than"), 1, None),
            (("exactly",), 0, 0),
            (("at", "most"), None, 0),
            (("fewer", "than"), None, -1),
            ((), 0, 0),
        ):
            behind = self.at(place, *words)
            if behind is None or behind >= self.length or (value := number_of(self.words[behind])) is None:
                continue
            self.farthest = max(self.farthest, behind + 1)
            least = 0 if low is None else value + low
            return least, None if high is None else value + high, behind + 1
        return None, None, place

    def order(self, place: int) -> tuple[Order | None, int]:
        """An order with its rank: "leftmost", "second largest", "third", "last", "nearest"; and the place behind it."""
        start = place
        rank, is_last, place = self.rank(place)
        words = self.words[place] if place < self.length else ""
        if words in NEARNESS and self.at(place + 1, "to") is None and self.at(place + 1, "from") is None:
            self.farthest = max(self.farthest, place + 1)
            return Order(place=rank, is_far=NEARNESS[words]), place + 1
        for ordering, name in ORDERS:
            behind = self.at(place, *ordering) if ordering[0] == words else None
            if behind is not None and not (ordering in SIDE_WORDS and self.at_quietly(behind, ("of",))):
                return Order(name=name, place=rank, is_last=is_last), behind
        if place > start:
            self.farthest = max(self.farthest, place)
            if self.is_superlative(place):  # "the second oldest": nothing that can be measured
                return None, start
            return Order(place=rank, is_last=is_last), place  # "the second cup": its order follows, or is from the left
        return None, start

    def rank(self, place: int) -> tuple[int, bool, int]:
        """A number in an order, whether it is counted from the end ("last", "second to last"), and the place behind."""
        word = self.words[place] if place < self.length else ""
        if word == LAST:
            return 1, True, place + 1
        rank = 2 if word == "next" else ORDINALS.get(word, 0)
        for joint in ("to", "from"):
            behind = self.at(place + 1, joint, LAST) if rank else None
            if behind is not None:
                return rank, True, behind
        return (rank, False, place + 1) if word in ORDINALS else (1, False, place)

    def is_superlative(self, place: int) -> bool:
        """Whether a word is an order that the grammar does not know."""
        word = self.words[place] if place < self.length else ""
        return word in ("most", "least") or (word.endswith("est") and word not in PLAIN_EST)

    def nouns(self, place: int) -> Iterator[tuple[str, int]]:
        """The words of a noun, in the singular."""
        end = place
        while end < self.length and not self.ends_noun(end, place):
            end += 1
        self.farthest = max(self.farthest, end)
        words = self.words[place:end]
        if not words or (set(words) & SIDES and set(words) <= SIDES | set(SIDE_PARTS)):
            return
        if set(words) <= COLOURS and set(self.words[end : end + 1]) & {"and", "or"} and self.is_colour(end + 1):
            return  # "red and green apples": `shared_noun`
        if len(words) == 1 and self.is_superlative(place):
            self.farthest = place
            return
        noun = " ".join([*words[:-1], singular(words[-1])])
        if noun in NO_THINGS:
            return
        if noun != " ".join(words):
            self.plurals.add(noun)
        yield EVERYTHING if noun in THINGS else noun, end

    def is_colour(self, place: int) -> bool:
        """Whether there is a colour at a place."""
        return place < self.length and self.words[place] in COLOURS

    def ends_noun(self, place: int, start: int) -> bool:
        """Whether a word cannot belong to the noun that began at `start`."""
        word = self.words[place]
        if word in FUNCTION_WORDS or any(self.at_quietly(place, words) for words in EXCEPTIONS):
            return True
        if place == start:
            return False
        return self.is_related(place + (word in POSTURES))

    def is_related(self, place: int) -> bool:
        """Whether the words of a relation begin at a place."""
        return any(self.at_quietly(place, words) for words in self.relations_at(place))

    def relations_at(self, place: int) -> Sequence[tuple[str, ...]]:
        """Relations that begin with the word at a place."""
        return _RELATIONS.get(self.words[place], ()) if place < self.length else ()

    def linked(self, place: int) -> tuple[int, bool]:
        """Over "that is", "which are", "who is not sitting"; whether a "not" was among them."""
        start = place
        behind = self.first(place, (("that",), ("which",), ("who",)))
        place = place if behind is None else behind
        behind = self.first(place, (("is",), ("are",), ("does",), ("do",), ("'s",)))
        place = place if behind is None else behind
        negated = self.first(place, (("not",), ("n't",)))
        is_said, place = place > start, place if negated is None else negated
        word = self.words[place] if place < self.length else ""
        if (word in POSTURES or (is_said and word.endswith("ing"))) and self.is_related(place + 1):
            self.farthest = max(self.farthest, place + 1)
            place += 1
        return place, negated is not None

    def side(self, place: int) -> tuple[int | None, str, bool]:
        """The place behind a part of the image, its name, and whether it is counted from there."""
        begun = self.first(place, tuple((word, "the") for word in ("from", "on", "at", "to", "in")))
        if begun is None:
            return None, "", False
        is_count = self.words[place] == "from"
        begun = self.first(begun, (("far",), ("very",))) or begun
        named = [(words, name) for words, name in SIDE_WORDS.items() if self.at_quietly(begun, words)]
        if not named:
            return None, "", False
        words, name = max(named, key=lambda pair: len(pair[0]))
        behind = begun + len(words)
        behind = self.first(behind, (("hand", "side"), *((part,) for part in SIDE_PARTS))) or behind
        self.farthest = max(self.farthest, behind)
        return (None, "", False) if self.at_quietly(behind, ("of",)) else (behind, name, is_count)
