"""Reads everyday English questions: noun phrases with relations, order, number, negation and coordination.

A chart of readings, not a pattern: every way in which the grammar covers the whole sentence is found, and the one with
the fewest long jumps comes first ("the cup on the table next to the laptop": the table is next to it). A word that the
grammar cannot place is named.

    question = joined ;
    joined   = noun phrase, { ("and" | "or" | ","), noun phrase }, [ exception ] ;
    noun phrase = [ article ], [ number ], { order }, words, { modifier } | "everything", { modifier } ;
    modifier = [ "that is" | "who are" | "not" ], relation, noun phrase | "with no", noun phrase, [ "on it" ]
             | "without", noun phrase | "between", noun phrase, "and", noun phrase | "from the left" | "on the right" ;
    exception = ("but not" | "except" | "not"), ("the one(s)", modifier | joined) ;
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from masklet.errors import InputError
from masklet.query.nodes import (
    EVERYTHING,
    Between,
    Both,
    ButNot,
    Counted,
    Either,
    Named,
    Nearest,
    Node,
    Ranked,
    Related,
)
from masklet.query.text import from_text
from masklet.query.vocabulary import (
    ARTICLES,
    DETERMINERS,
    EVERY,
    EXCEPTIONS,
    FUNCTION_WORDS,
    NUMBERS,
    OF_THE,
    ORDERS,
    ORDINALS,
    PLACES,
    RELATION_WORDS,
    singular,
)

SIDES = [[word] for word in ("left", "right", "top", "bottom", "middle")]  # no things of their own
MOST_WORDS, MOST_READINGS, MOST_DEPTH = 40, 12, 8
MOST_LOOKS = 15_000  # at places of the sentence, some 10 ms; the readings of nested modifiers multiply
JUMP = 1.0  # cost of a modifier that skips the nearest noun


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One meaning of a sentence; the cheapest is the likeliest."""

    node: Node
    cost: float


@dataclass(frozen=True)
class Part:
    """A node that covers words up to `end`; `head` is its noun, which "the one" may stand for."""

    node: Node
    end: int
    cost: float
    head: Node


def read_question(text: str) -> list[Reading]:
    """The readings of a question in its exact form, or in English. Raises: InputError when it is neither."""
    if text.lstrip()[:1] in ('"', "(") or text.rstrip().endswith(")"):
        return [Reading(node=from_text(text), cost=0.0)]
    return parse(text)


def parse(sentence: str) -> list[Reading]:
    """All readings, likeliest first. Raises: InputError naming the word that cannot be placed."""
    words = _words(sentence)
    if not words:
        raise InputError("the question is empty: expected something like `the cup on the table`")
    if len(words) > MOST_WORDS:
        raise InputError(f"the question has {len(words)} words: at most {MOST_WORDS} can be read at once")
    parser = _Parser(words)
    whole = [part for part in parser.joined(0, 0) if part.end == len(words)]
    if not whole:
        reached = min(parser.farthest, len(words) - 1)
        raise InputError(f"{sentence.strip()!r}: the word {words[reached]!r} cannot be placed; say it more simply")
    best: dict[Node, float] = {}
    for part in whole:
        best[part.node] = min(part.cost, best.get(part.node, part.cost))
    ranked = sorted(best.items(), key=lambda item: item[1])
    return [Reading(node=node, cost=cost) for node, cost in ranked[:MOST_READINGS]]


def _words(sentence: str) -> list[str]:
    text = sentence.lower().strip().rstrip("?.!").replace(",", " , ").replace("'s", " 's")
    for start in ("find me ", "find ", "show me ", "show ", "select ", "segment ", "please "):
        text = text.removeprefix(start)
    return text.split()


class _Parser:
    def __init__(self, words: list[str]) -> None:
        self.words, self.farthest, self.looks = words, 0, 0

    @cached_property
    def length(self) -> int:
        return len(self.words)

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
        return next((end for words in options if (end := self.at(place, *words)) is not None), None)

    # --- coordination -------------------------------------------------------------------------------------------

    def joined(self, place: int, depth: int) -> Iterator[Part]:
        """Noun phrases in a row, and what is excepted from them."""
        if depth > MOST_DEPTH:
            return
        for part in self.noun_phrase(place, depth + 1):
            yield from self.continued([part], depth)

    def continued(self, parts: list[Part], depth: int) -> Iterator[Part]:
        last, cost = parts[-1], sum(part.cost for part in parts)
        node = last.node if len(parts) == 1 else Either(parts=tuple(part.node for part in parts))
        here = Part(node, last.end, cost, parts[0].head)
        yield here
        yield from self.excepted(here, depth)
        behind = self.first(last.end, ((",", "and"), (",", "or"), ("and",), ("or",), (",",)))
        if behind is not None and self.at(behind, "not") is None:
            for following in self.owned(behind, last) if self.at(behind, "its") or self.at(behind, "their") else ():
                yield from self.continued([*parts, following], depth)
            for following in self.noun_phrase(behind, depth + 1):
                yield from self.continued([*parts, following], depth)

    def owned(self, place: int, owner: Part) -> Iterator[Part]:
        """ "its saucer": a thing that belongs to what was named before."""
        for noun, end in self.nouns(place + 1):
            node = Related(subject=Named(phrase=noun), relation="overlapping", object=owner.node)
            yield Part(node, end, 0.0, Named(phrase=noun))

    def excepted(self, part: Part, depth: int) -> Iterator[Part]:
        """What follows "but not", "except", "other than"."""
        behind = self.first(part.end, EXCEPTIONS)
        if behind is None:
            return
        for without in (*self.the_one(behind, part.head, depth), *self.joined(behind, depth + 1)):
            yield Part(ButNot(of=part.node, without=without.node), without.end, part.cost + without.cost, part.head)

    def the_one(self, place: int, head: Node, depth: int) -> Iterator[Part]:
        """ "the one under the tree": the noun before, with modifiers of its own."""
        behind = self.first(place, (("the", "one"), ("the", "ones"), ("those",), ("that",), ("one",)))
        if behind is not None:
            yield from self.modified(Part(head, behind, 0.0, head), depth)

    # --- noun phrases -------------------------------------------------------------------------------------------

    def noun_phrase(self, place: int, depth: int) -> Iterator[Part]:
        """An article, a number, an order, the words of the noun, and its modifiers."""
        if depth > MOST_DEPTH or place >= self.length:
            return
        every = self.first(place, EVERY)
        if every is not None:
            yield from self.modified(Part(Named(phrase=EVERYTHING), every, 0.0, Named(phrase=EVERYTHING)), depth)
            return
        determined = self.first(place, DETERMINERS)
        if determined is not None:
            place = determined
        elif self.words[place] in ARTICLES:
            self.farthest = max(self.farthest, place + 1)
            place += 1
        least, most, place = self.number(place)
        order, rank, place = self.order(place)
        if least is None and order is not None:  # "the leftmost three cups"
            least, most, place = self.number(place)
        if order is not None or least is not None:  # "the smallest of the boxes"
            place = self.first(place, OF_THE) or place
        for noun, end in self.nouns(place):
            head = Named(phrase=noun)
            for part in self.modified(Part(head, end, 0.0, head), depth):
                node = _ordered(part.node, order, rank, least)
                if least is not None and order is None and not isinstance(node, Ranked):
                    node = Counted(of=node, least=least, most=most)
                yield Part(node, part.end, part.cost, head)

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
            if behind is None or behind >= self.length or (value := _value(self.words[behind])) is None:
                continue
            self.farthest = max(self.farthest, behind + 1)
            least = 0 if low is None else value + low
            return least, None if high is None else value + high, behind + 1
        return None, None, place

    def order(self, place: int) -> tuple[str | None, int, int]:
        """An order with its rank: "leftmost", "second largest", "third"."""
        rank, start = 1, place
        if place < self.length and self.words[place] in ORDINALS:
            rank, place = ORDINALS[self.words[place]], place + 1
        for words, order in ORDERS:
            behind = self.at(place, *words)
            if behind is not None and behind < self.length:
                return order, rank, behind
        if place > start:
            self.farthest = max(self.farthest, place)
            return "", rank, place  # "the second cup": its order follows, or is from the left
        return None, 1, start

    def nouns(self, place: int) -> Iterator[tuple[str, int]]:
        """The words of a noun, in the singular, longest first."""
        end = place
        while end < self.length and not self.ends_noun(end, place):
            end += 1
        self.farthest = max(self.farthest, end)
        if end > place and self.words[place:end] not in SIDES:
            *before, last = self.words[place:end]
            yield " ".join([*before, singular(last)]), end

    def ends_noun(self, place: int, start: int) -> bool:
        """Whether a word cannot belong to the noun that began at `start`."""
        if self.words[place] in FUNCTION_WORDS or any(self.at_quietly(place, words) for words in EXCEPTIONS):
            return True
        return place > start and any(self.at_quietly(place, words) for words in RELATION_WORDS)

    def at_quietly(self, place: int, words: tuple[str, ...]) -> bool:
        return tuple(self.words[place : place + len(words)]) == words

    # --- modifiers ----------------------------------------------------------------------------------------------

    def modified(self, part: Part, depth: int) -> Iterator[Part]:
        """The part with no, one or more of the modifiers that follow."""
        yield part
        if depth > MOST_DEPTH:
            return
        for longer in self.one_modifier(part, depth):
            yield from self.alternatives(part, longer, depth)
            # A second modifier could as well belong to the noun inside the first
            for more in self.modified(longer, depth + 1):
                jumps = JUMP if more.end > longer.end else 0.0
                yield Part(more.node, more.end, more.cost + jumps, part.head)

    def alternatives(self, part: Part, first: Part, depth: int) -> Iterator[Part]:
        """ "in the tree or on the roof": another modifier of the same noun."""
        behind = self.first(first.end, (("or",), ("and",)))
        joined = Either if self.at(first.end, "or") is not None else Both
        start = Part(part.node, behind, 0.0, part.head) if behind is not None else None
        for second in self.one_modifier(start, depth + 1) if start is not None else ():
            node = joined(parts=(first.node, second.node))
            yield Part(node, second.end, first.cost + second.cost, part.head)

    def one_modifier(self, part: Part, depth: int) -> Iterator[Part]:
        yield from self.placed(part)
        place, negated = self.linked(part.end)
        yield from self.nearest(part, place, depth)
        between = self.at(place, "between") if not negated else None
        if between is not None:
            for first in self.noun_phrase(between, depth + 1):
                if isinstance(first.node, Counted):  # "between the two chairs"
                    pair = Between(subject=part.node, first=first.node.of, second=first.node.of)
                    yield Part(pair, first.end, part.cost + first.cost, part.head)
                behind = self.at(first.end, "and")
                for second in self.noun_phrase(behind, depth + 1) if behind is not None else ():
                    node = Between(subject=part.node, first=first.node, second=second.node)
                    yield Part(node, second.end, part.cost + first.cost + second.cost, part.head)
        yield from self.with_or_without(part, place, depth)
        yield from self.owning(part, depth)
        fitting = [words for words in RELATION_WORDS if self.at(place, *words) is not None]
        if fitting:  # "in front of" is not "in"
            words = max(fitting, key=len)
            yield from self.related(part, RELATION_WORDS[words], place + len(words), "no" if negated else "some", depth)

    def owning(self, part: Part, depth: int) -> Iterator[Part]:
        """ "the cat's collar": a part of what was named."""
        behind = self.at(part.end, "'s")
        for noun, end in self.nouns(behind) if behind is not None else ():
            head = Named(phrase=noun)
            owned = Related(subject=head, relation="part of", object=part.node)
            yield from self.modified(Part(owned, end, part.cost, head), depth + 1)

    def linked(self, place: int) -> tuple[int, bool]:
        """Over "that is", "which are", "who is not"; whether a "not" was among them."""
        behind = self.first(place, (("that",), ("which",), ("who",)))
        place = place if behind is None else behind
        behind = self.first(place, (("is",), ("are",), ("does",), ("do",), ("'s",)))
        place = place if behind is None else behind
        negated = self.first(place, (("not",), ("n't",)))
        return (place, False) if negated is None else (negated, True)

    def related(self, part: Part, relation: str, place: int, quantifier: str, depth: int) -> Iterator[Part]:
        for words, meaning in ((("no",), "no"), (("every",), "every"), (("all", "the"), "every"), (("all",), "every")):
            behind = self.at(place, *words)
            if behind is not None:
                place, quantifier = behind, "some" if (meaning, quantifier) == ("no", "no") else meaning
                break
        for others in self.objects(place, depth):
            node = _all_related(part.node, relation, others, quantifier)
            yield Part(node, others[-1].end, part.cost + sum(other.cost for other in others), part.head)

    def objects(self, place: int, depth: int) -> Iterator[list[Part]]:
        """What something stands in a relation to: one noun phrase, or two, "a hat and a bag"."""
        for first in self.noun_phrase(place, depth + 1):
            behind = self.at(first.end, "and")
            if behind is not None and {self.words[place], *self.words[behind : behind + 1]} <= {"a", "an"}:
                for second in self.noun_phrase(behind, depth + 1):
                    yield [first, second]
                continue
            yield [first]

    def with_or_without(self, part: Part, place: int, depth: int) -> Iterator[Part]:
        """ "with a cup on it", "with no cup on them", "without a lid"."""
        for words, negated in (
            (("without", "any"), True),
            (("without",), True),
            (("with", "no"), True),
            (("with",), False),
            (("has", "no"), True),
            (("have", "no"), True),
        ):
            behind = self.at(place, *words)
            if behind is None:
                continue
            quantifier = "no" if negated else "some"
            for others in self.objects(behind, depth):
                relation, end = self.on_it(others[-1].end)
                node = _all_related(part.node, relation, others, quantifier)
                yield Part(node, end, part.cost + sum(other.cost for other in others), part.head)
            break

    def on_it(self, place: int) -> tuple[str, int]:
        """What "on it" or "inside them" says of the thing that is with another."""
        for word, relation in (("on", "supporting"), ("in", "containing"), ("inside", "containing")):
            for it in ("it", "them", "top"):
                behind = self.at(place, word, it)
                if behind is not None:
                    return relation, behind
        behind = self.at(place, "next", "to", "it")
        return ("with", place) if behind is None else ("next to", behind)

    def nearest(self, part: Part, place: int, depth: int) -> Iterator[Part]:
        """ "nearest to the laptop", "farthest from the door"."""
        for words, far in (
            (("nearest", "to"), False),
            (("nearest",), False),
            (("closest", "to"), False),
            (("farthest", "from"), True),
            (("furthest", "from"), True),
        ):
            behind = self.at(place, *words)
            if behind is not None:
                for other in self.noun_phrase(behind, depth + 1):
                    node = Nearest(of=part.node, to=other.node, far=far)
                    yield Part(node, other.end, part.cost + other.cost, part.head)
                return

    def placed(self, part: Part) -> Iterator[Part]:
        """ "on the left", "at the top", "second from the right": a place in the image, not a relation."""
        place, rank = part.end, 1
        if place < self.length and self.words[place] in ORDINALS:
            rank, place = ORDINALS[self.words[place]], place + 1
        for words, order in PLACES:
            behind = self.at(place, *words)
            if behind is not None and self.at(behind, "of") is None:
                yield Part(Ranked(of=part.node, order=order, place=rank), behind, part.cost, part.head)
                return


def _ordered(node: Node, order: str | None, rank: int, least: int | None) -> Node:
    """The node with the order before its noun; a bare ordinal takes the order that follows, or counts from the left."""
    if order is None:
        return node
    if order == "" and isinstance(node, Ranked):
        return Ranked(of=node.of, order=node.order, place=rank, count=least or 1)
    return Ranked(of=node, order=order or "left", place=rank, count=least or 1)


def _all_related(subject: Node, relation: str, others: list[Part], quantifier: str) -> Node:
    """The subject in a relation to one thing, or to each of several."""
    nodes = []
    for other in others:
        count, thing = _exact(other.node)
        nodes.append(Related(subject=subject, relation=relation, object=thing, quantifier=quantifier, count=count))
    return nodes[0] if len(nodes) == 1 else Both(parts=tuple(nodes))


def _exact(node: Node) -> tuple[int | None, Node]:
    """ "with two wheels": an exact number of related things, not a condition on the image."""
    if isinstance(node, Counted) and node.least == node.most:
        return node.least, node.of
    return None, node


def _value(word: str) -> int | None:
    return int(word) if word.isdecimal() and len(word) < 4 else NUMBERS.get(word)
