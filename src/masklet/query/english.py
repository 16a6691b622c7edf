"""Reads everyday English questions: noun phrases with relations, order, number, negation and coordination.

A chart of readings, not a pattern: every way in which the grammar covers the whole sentence is found, and the one with
the fewest long jumps comes first ("the cup on the table next to the laptop": the table is next to it). A word that the
grammar cannot place is named.

    question = joined ;
    joined   = noun phrase, { ("and" | "or" | ","), noun phrase }, [ exception ] ;
    noun phrase = [ article ], [ number ], [ ordinal ], [ order ], words, { modifier } | "everything", { modifier }
                | noun phrase, "'s", noun phrase ;
    modifier = [ "that is" | "who are" | "not" ], [ posture ], relation, noun phrase
             | "with" | "with no" | "without", noun phrase, [ "on it" ] | "between", noun phrase, "and", noun phrase
             | "nearest to", noun phrase | [ ordinal ], "from the left" | "on the right" | "in the top left corner" ;
    exception = ("but not" | "except" | "not" | "but"), joined ;

In an exception "the one", "the red one", "the two", "the smallest" mean the noun before. A plural in a part of the
image is all that lies there ("cups on the left"), a singular or a number the outermost ("the cup on the left").
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from masklet.errors import InputError
from masklet.query.building import Order, all_related, numbered, ordered, ranked, renamed
from masklet.query.lexing import SentenceWords
from masklet.query.nodes import (
    EVERYTHING,
    Between,
    Both,
    ButNot,
    Counted,
    Either,
    Located,
    Named,
    Nearest,
    Node,
    Related,
)
from masklet.query.text import from_text
from masklet.query.vocabulary import (
    COLOURS,
    CONTAINERS,
    EVERY,
    EXCEPTIONS,
    MIDDLES,
    OF_THE,
    RELATION_WORDS,
)
from masklet.query.wording import words_of

MOST_WORDS, MOST_READINGS, MOST_DEPTH = 40, 12, 8
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
    head: Named


def read_question(text: str) -> list[Reading]:
    """The readings of a question in its exact form, or in English. Raises: InputError when it is neither."""
    if text.lstrip()[:1] in ('"', "(") or text.rstrip().endswith(")"):
        return [Reading(node=from_text(text), cost=0.0)]
    return parse(text)


def parse(sentence: str) -> list[Reading]:
    """All readings, likeliest first. Raises: InputError naming the word that cannot be placed."""
    words = words_of(sentence)
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


class _Parser(SentenceWords):
    """The readings of one sentence."""

    def __init__(self, words: list[str]) -> None:
        super().__init__(words)
        self.known: dict[tuple[int, int, Named | None], tuple[Part, ...]] = {}

    # --- coordination -------------------------------------------------------------------------------------------

    def joined(self, place: int, depth: int, before: Named | None = None) -> Iterator[Part]:
        """Noun phrases in a row, and what is excepted from them. `before` is the noun that "the one" stands for."""
        if depth > MOST_DEPTH:
            return
        for part in self.noun_phrase(place, depth + 1, before):
            yield from self.continued([part], depth, before)

    def continued(self, parts: list[Part], depth: int, before: Named | None) -> Iterator[Part]:
        last, cost = parts[-1], sum(part.cost for part in parts)
        node = last.node if len(parts) == 1 else Either(parts=tuple(part.node for part in parts))
        here = Part(node, last.end, cost, parts[0].head)
        yield here
        yield from self.excepted(here, depth)
        behind = self.first(last.end, ((",", "and"), (",", "or"), ("and",), ("or",), (",",)))
        if behind is not None and self.at(behind, "not") is None:
            jump = JUMP if last.end in self.shared else 0.0
            for following in self.owned(behind, last) if self.at(behind, "its") or self.at(behind, "their") else ():
                yield from self.continued([*parts, following], depth, before)
            for following in self.noun_phrase(behind, depth + 1, before):
                further = Part(following.node, following.end, following.cost + jump, following.head)
                yield from self.continued([*parts, further], depth, before)

    def owned(self, place: int, owner: Part) -> Iterator[Part]:
        """ "its saucer": a thing that belongs to what was named before."""
        for noun, end in self.nouns(place + 1):
            node = Related(subject=Named(phrase=noun), relation="overlapping", object=owner.node)
            yield Part(node, end, 0.0, Named(phrase=noun))

    def excepted(self, part: Part, depth: int) -> Iterator[Part]:
        """What follows "but not", "except", "other than"."""
        behind = self.first(part.end, EXCEPTIONS)
        if behind is not None:
            for without in self.joined(behind, depth + 1, part.head):
                node = ButNot(of=part.node, without=without.node)
                yield Part(node, without.end, part.cost + without.cost, part.head)

    # --- noun phrases -------------------------------------------------------------------------------------------

    def noun_phrase(self, place: int, depth: int, before: Named | None = None) -> Sequence[Part]:
        """An article, a number, an order, the words of the noun, and its modifiers; read once at a place."""
        if depth > MOST_DEPTH or place >= self.length:
            return ()
        key = (place, depth, before)
        if key not in self.known:
            self.known[key] = tuple(self.read_noun_phrase(place, depth, before))
        return self.known[key]

    def read_noun_phrase(self, place: int, depth: int, before: Named | None) -> Iterator[Part]:
        every = self.first(place, EVERY)
        if every is not None:
            yield from self.everything(every, depth)
            return
        start, place = place, self.determined(place)
        least, most, place = (None, None, place) if self.is_one(place, before) else self.number(place)
        order, place = self.order(place)
        if least is None and order is not None:  # "the leftmost three cups"
            least, most, place = self.number(place)
        if order is not None or least is not None:  # "the smallest of the boxes"
            of_these = self.first(place, OF_THE)
            place = place if of_these is None else of_these
            if of_these is not None and order is not None:  # "the leftmost of the two clocks"
                _, _, place = self.number(place)
        for noun, end in self.nouns(place):
            yield from self.possessed(
                Part(ordered(Named(phrase=noun), order, least), end, 0.0, Named(phrase=noun)), depth
            )
        alone = order is not None or least is not None or self.words[start] in ("those", "these", "that")
        for head, end in self.heads(place, before, may_be_alone=alone):
            for part in self.modified(Part(head, end, 0.0, head), depth):
                yield from self.finished(part, self.turned(order, end, part.end), least, most, depth)

    def everything(self, place: int, depth: int) -> Iterator[Part]:
        """ "everything red on the table"."""
        colour = self.words[place] if self.is_colour(place) else ""
        head = Named(phrase=f"{colour} {EVERYTHING}".strip())
        yield from self.modified(Part(head, place + bool(colour), 0.0, head), depth)

    def is_one(self, place: int, before: Named | None) -> bool:
        """Whether "one" stands for a noun here."""
        return before is not None and any(self.at_quietly(place, (word,)) for word in ("one", "ones"))

    def heads(self, place: int, before: Named | None, *, may_be_alone: bool) -> Iterator[tuple[Named, int]]:
        """What a noun phrase is about: its noun; or, in an exception, the noun before, as "the red one" says it."""
        for noun, end in self.nouns(place):
            attribute, _, last = noun.rpartition(" ")
            is_one = before is not None and last in ("one", "ones")
            yield Named(phrase=f"{attribute} {before.phrase}".strip() if before and is_one else noun), end
        yield from self.shared_noun(place)
        if before is not None and may_be_alone and not self.is_one(place, before):
            yield before, place

    def shared_noun(self, place: int) -> Iterator[tuple[Named, int]]:
        """ "a black and white cat": colours that share a noun and are said of one thing; see `finished` for plurals."""
        words = self.words[place : place + 3]
        if len(words) == 3 and words[0] in COLOURS and words[1] in ("and", "or") and words[2] in COLOURS:
            for noun, end in self.nouns(place + 3):
                self.farthest = max(self.farthest, end)
                yield Named(phrase=f"{' '.join(words)} {noun}"), end

    def turned(self, order: Order | None, start: int, end: int) -> Order | None:
        """ "the last cup from the left" is the rightmost, "the last cup on the left" the leftmost."""
        is_placed = order is not None and order.is_last and start < end and "from" not in self.words[start:end]
        return replace(order, is_last=self.side(start)[0] is None) if order is not None and is_placed else order

    def finished(
        self, part: Part, order: Order | None, least: int | None, most: int | None, depth: int
    ) -> Iterator[Part]:
        """A noun phrase with the order and the number that stood before it."""
        node = self.each_colour(part.head, part.node)
        if order is not None and order.is_far is not None:  # "the closest chair to the door"
            for words in (("to",), ("from",)):
                behind = self.at(part.end, *words)
                for other in self.noun_phrase(behind, depth + 1) if behind is not None else ():
                    near = Nearest(of=node, to=other.node, far=order.is_far, place=order.place, count=least or 1)
                    yield Part(near, other.end, part.cost + other.cost, part.head)
            return
        node = ordered(node, order, least)
        if least is not None and order is None:
            node = numbered(node, least, most)
        yield Part(node, part.end, part.cost, part.head)

    def each_colour(self, head: Named, node: Node) -> Node:
        """ "red and green apples" are red ones and green ones; "black and white cats" are both at once."""
        first, word, second, *rest = [*head.phrase.split(" ", 3), "", "", ""][:4]
        noun = " ".join(rest)
        if first not in COLOURS or second not in COLOURS or word not in ("and", "or") or not noun:
            return node
        if word == "and" and (noun not in self.plurals or {first, second} == {"black", "white"}):
            return node
        return Either(parts=tuple(renamed(node, head, Named(phrase=f"{colour} {noun}")) for colour in (first, second)))

    def possessed(self, owner: Part, depth: int) -> Iterator[Part]:
        """ "the leftmost cat's collar": a part of what was named, with an order of its own."""
        behind = self.at(owner.end, "'s")
        if behind is None:
            return
        order, place = self.order(behind)
        for noun, end in self.nouns(place):
            head = Named(phrase=noun)
            owned = Related(subject=head, relation="part of", object=owner.node)
            yield from self.possessed(Part(ordered(owned, order, None), end, owner.cost, head), depth + 1)
            for part in self.modified(Part(owned, end, owner.cost, head), depth + 1):
                yield Part(ordered(part.node, order, None), part.end, part.cost, head)

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
            if joined is Either and self.linked(part.end)[1] and isinstance(second.node, Related):
                neither = replace(second.node, quantifier="no")  # "not in the box or on the table"
                node = Both(parts=(first.node, neither))
            yield Part(node, second.end, first.cost + second.cost, part.head)

    def one_modifier(self, part: Part, depth: int) -> Iterator[Part]:
        place, negated = self.linked(part.end)
        yield from self.placed(part, place, negated=negated)
        yield from self.nearest(part, place, depth)
        yield from self.amid(part, place, depth)
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
        fitting = [words for words in self.relations_at(place) if self.at(place, *words) is not None]
        if fitting:  # "in front of" is not "in"
            words = max(fitting, key=len)
            relation = RELATION_WORDS[words]
            if words == ("of",) and part.head.phrase.split()[-1] in CONTAINERS:  # "a cup of coffee"
                relation = "containing"
            yield from self.related(part, relation, place + len(words), "no" if negated else "some", depth)

    def related(self, part: Part, relation: str, place: int, quantifier: str, depth: int) -> Iterator[Part]:
        for words, meaning in ((("no",), "no"), (("every",), "every"), (("all", "the"), "every"), (("all",), "every")):
            behind = self.at(place, *words)
            if behind is not None:
                place, quantifier = behind, "some" if (meaning, quantifier) == ("no", "no") else meaning
                break
        for others in self.objects(place, depth):
            node = all_related(part.node, relation, [other.node for other in others], quantifier)
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
        """ "with a cup on it", "with no cup on them", "without a lid", "without hats or helmets"."""
        for words, negated in (
            (("without", "any"), True),
            (("without",), True),
            (("with", "no"), True),
            (("with",), False),
            (("has", "no"), True),
            (("have", "no"), True),
            (("has",), False),
            (("have",), False),
        ):
            behind = self.at(place, *words)
            if behind is None:
                continue
            quantifier = "no" if negated else "some"
            for others in (*self.either_object(behind, depth), *self.objects(behind, depth)):
                relation, end = self.on_it(others[-1].end)
                joined = Either if others[0].end in self.shared and len(others) > 1 and not negated else Both
                node = all_related(part.node, relation, [other.node for other in others], quantifier, joined)
                yield Part(node, end, part.cost + sum(other.cost for other in others), part.head)
            break

    def either_object(self, place: int, depth: int) -> Iterator[list[Part]]:
        """ "a hat or a cap", "hats or helmets": the "or" is of what one is with, not of who is."""
        for first in self.noun_phrase(place, depth + 1):
            behind = self.first(first.end, (("or",), ("nor",)))
            for second in self.noun_phrase(behind, depth + 1) if behind is not None else ():
                self.shared.add(first.end)
                yield [first, second]

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

    def amid(self, part: Part, place: int, depth: int) -> Iterator[Part]:
        """ "in the middle of the table": of what is on it, the one in the middle; "of the two chairs": between them."""
        behind = self.first(place, MIDDLES)
        for other in self.noun_phrase(behind, depth + 1) if behind is not None else ():
            if isinstance(other.node, Counted):
                node: Node = Between(subject=part.node, first=other.node.of, second=other.node.of)
            else:
                relation = "in" if other.head.phrase.split()[-1] in CONTAINERS else "on"
                node = Related(subject=part.node, relation=relation, object=other.node)
                node = node if part.head.phrase in self.plurals else ranked(node, Order(name="middle"), 1)
            yield Part(node, other.end, part.cost + other.cost, part.head)

    def placed(self, part: Part, place: int, *, negated: bool) -> Iterator[Part]:
        """ "on the left", "second from the right", "in the top left corner": a place in the image, not a relation."""
        start = place
        rank, is_last, place = self.rank(place)
        behind, side, is_count = self.side(place)
        if behind is None:
            return
        if not is_count and place == start and part.head.phrase in self.plurals:
            node: Node = Located(of=part.node, side=side)
        else:
            node = ranked(part.node, Order(name=side, place=rank, is_last=is_last), 1)
        node = ButNot(of=part.node, without=node) if negated else node
        yield Part(node, behind, part.cost, part.head)
