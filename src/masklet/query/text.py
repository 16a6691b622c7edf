"""The text and the JSON form of a question: both exact, both read back to the same tree.

    query   = term, { ("or" | "and" | "but not"), term } ;
    term    = concept | "(", query, ")" | function ;
    concept = '"', phrase, '"' ;
    function = name, "(", argument, { ",", argument }, ")" ;

`related("cup", on, "table")`, `related("table", supporting, "cup", no)`, `ranked("cup", left, 1, 3)`,
`placed("cup", left)`, `counted("dog", 2, 2)`, `nearest("cup", "laptop")`, `between("ball", "boy", "girl")`,
`cut("jeans", difference, "hole")`.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from masklet.errors import InputError
from masklet.query.nodes import (
    HOW,
    KINDS,
    ORDERS,
    QUANTIFIERS,
    RELATIONS,
    SIDES,
    Between,
    Both,
    ButNot,
    Corners,
    Counted,
    Cut,
    Either,
    Located,
    Named,
    Nearest,
    Node,
    Ranked,
    Related,
)

MOST_DEPTH, MOST_CHARACTERS = 20, 4000
MOST_PIXELS = 2**20
_TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([a-z]+)|(\d+)|([(),]))')
_JOINS = {"or": Either, "and": Both}


def to_text(node: Node) -> str:  # noqa: PLR0911 - one of each kind
    """The text form."""
    match node:
        case Named():
            phrase = json.dumps(node.phrase, ensure_ascii=False)
            groups = [*map(_corners, node.boxes), *(f"not, {_corners(box)}" for box in node.not_boxes)]
            return f"like({', '.join([phrase, *groups])})" if groups else phrase
        case Related():
            return f"related({to_text(node.subject)}, {node.relation}, {to_text(node.object)}{_quantity(node)})"
        case Between():
            return f"between({to_text(node.subject)}, {to_text(node.first)}, {to_text(node.second)})"
        case Ranked():
            return f"ranked({to_text(node.of)}, {node.order}, {node.place}, {node.count})"
        case Located():
            return f"placed({to_text(node.of)}, {node.side})"
        case Nearest():
            numbers = "" if node.place == node.count == 1 else f", {node.place}, {node.count}"
            return f"{'farthest' if node.far else 'nearest'}({to_text(node.of)}, {to_text(node.to)}{numbers})"
        case Either():
            return f"({' or '.join(map(to_text, node.parts))})"
        case Both():
            return f"({' and '.join(map(to_text, node.parts))})"
        case ButNot():
            return f"({to_text(node.of)} but not {to_text(node.without)})"
        case Counted():
            most = "any" if node.most is None else str(node.most)
            return f"counted({to_text(node.of)}, {node.least}, {most})"
        case Cut():
            return f"cut({to_text(node.of)}, {node.how}, {to_text(node.by)})"


def _quantity(node: Related) -> str:
    if node.least is None:
        return "" if node.quantifier == "some" else f", {node.quantifier}"
    if node.most == node.least:
        return f", {node.least}"
    return f", {node.least}, {'any' if node.most is None else node.most}"


def _corners(box: Sequence[int]) -> str:
    return ", ".join(map(str, box))


def from_text(text: str) -> Node:
    """The question of a text. Raises: InputError naming the place that cannot be read."""
    if len(text) > MOST_CHARACTERS:
        raise InputError(f"a question has at most {MOST_CHARACTERS} characters, got {len(text)}")
    return _Reader(text).whole()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text, self.tokens, self.at = text, _tokens(text), 0

    def whole(self) -> Node:
        node = self.query(0)
        if self.peek() is not None:
            raise self.error("the end")
        return node

    def query(self, depth: int) -> Node:
        """Terms joined by one kind of word; different ones need brackets."""
        if depth > MOST_DEPTH:
            raise InputError(f"the question is nested more than {MOST_DEPTH} deep")
        parts, word = [self.term(depth)], None
        while self.peek() in (("word", "or"), ("word", "and"), ("word", "but")):
            found = self.take()[1]
            if found == "but":
                self.word("not")
                found = "but not"
            if word is not None and (found != word or word == "but not"):
                raise InputError(f"{self.text!r}: put brackets around what {word!r} and {found!r} join")
            word = found
            parts.append(self.term(depth))
        if word is None:
            return parts[0]
        return ButNot(of=parts[0], without=parts[1]) if word == "but not" else _JOINS[word](parts=tuple(parts))

    def term(self, depth: int) -> Node:
        kind, value = self.take()
        if kind == "phrase":
            return Named(phrase=_phrase(value))
        if (kind, value) == ("mark", "("):
            node = self.query(depth + 1)
            self.expect(")")
            return node
        if kind == "word" and value in _FUNCTIONS:
            self.expect("(")
            node = _FUNCTIONS[value](self, depth + 1)
            self.expect(")")
            return node
        self.at -= 1
        raise self.error(f'a phrase in quotes, "(" or one of {", ".join(_FUNCTIONS)}')

    def argument(self, choices: tuple[str, ...]) -> str:
        """A word of a list, after a comma."""
        self.expect(",")
        first, words = self.at, []
        while (token := self.peek()) is not None and token[0] == "word":
            words.append(self.take()[1])
        if " ".join(words) not in choices:
            self.at = first
            raise self.error(f"one of {', '.join(choices)}")
        return " ".join(words)

    def word(self, wanted: str) -> None:
        """That word and no other."""
        if self.peek() != ("word", wanted):
            raise self.error(repr(wanted))
        self.at += 1

    def number(self, most: int = 1000) -> int:
        self.expect(",")
        kind, value = self.take()
        if kind != "number" or not 0 <= int(value) <= most:
            self.at -= 1
            raise self.error(f"a number up to {most}")
        return int(value)

    def most(self) -> int | None:
        """A number, or None for the word `any`."""
        if self.tokens[self.at + 1 : self.at + 2] == [("word", "any")]:
            self.at += 2
            return None
        return self.number()

    def rank(self) -> tuple[int, int]:
        """A place and a count."""
        place, count = self.number(), self.number()
        if place < 1 or count < 1:
            raise InputError(f"{self.text!r}: places and counts begin with 1")
        return place, count

    def node(self, depth: int) -> Node:
        self.expect(",")
        return self.query(depth)

    def peek(self) -> tuple[str, str] | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def take(self) -> tuple[str, str]:
        token = self.peek()
        if token is None:
            raise self.error("more")
        self.at += 1
        return token

    def expect(self, mark: str) -> None:
        if self.peek() != ("mark", mark):
            raise self.error(repr(mark))
        self.at += 1

    def error(self, wanted: str) -> InputError:
        token = self.peek()
        got = "its end" if token is None else repr(token[1])
        return InputError(f"{self.text!r}: got {got}, expected {wanted}")


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at = [], 0
    while at < len(text.rstrip()):
        found = _TOKEN.match(text, at)
        if found is None:
            raise InputError(f"{text!r}: {text[at:].strip()[:12]!r} cannot be read")
        for kind, value in zip(("phrase", "word", "number", "mark"), found.groups(), strict=True):
            if value is not None:
                tokens.append((kind, value))
        at = found.end()
    return tokens


def _phrase(raw: str) -> str:
    try:
        phrase = " ".join(str(json.loads(f'"{raw}"')).split())
    except ValueError as error:
        raise InputError(f"the phrase {raw!r} cannot be read") from error
    if not phrase:
        raise InputError("a phrase is empty")
    return phrase


def _like(reader: _Reader, _: int) -> Node:
    """A phrase with example boxes: four numbers each, after the word `not` where they show what is not meant."""
    kind, value = reader.take()
    if kind != "phrase":
        reader.at -= 1
        raise reader.error("a phrase in quotes")
    boxes: list[Corners] = []
    not_boxes: list[Corners] = []
    while reader.peek() == ("mark", ","):
        into = boxes
        if reader.tokens[reader.at + 1 : reader.at + 2] == [("word", "not")]:
            reader.at += 2
            into = not_boxes
        x0, y0, x1, y1 = (reader.number(MOST_PIXELS) for _ in range(4))
        if x1 <= x0 or y1 <= y0:
            raise InputError(
                f"{reader.text!r}: the box {x0}, {y0}, {x1}, {y1} is empty: its corners are x0, y0, x1, y1"
            )
        into.append((x0, y0, x1, y1))
    if not boxes and not not_boxes:
        raise reader.error("the four numbers of an example box")
    return Named(phrase=_phrase(value), boxes=tuple(boxes), not_boxes=tuple(not_boxes))


def _related(reader: _Reader, depth: int) -> Node:
    subject = reader.query(depth)
    relation, other = reader.argument(RELATIONS), reader.node(depth)
    if reader.peek() != ("mark", ","):
        return Related(subject=subject, relation=relation, object=other)
    reader.expect(",")
    kind, value = reader.take()
    if kind == "number":
        least = int(value)
        most = reader.most() if reader.peek() == ("mark", ",") else least
        return Related(subject=subject, relation=relation, object=other, least=least, most=most)
    if value not in QUANTIFIERS:
        reader.at -= 1
        raise reader.error(f"a number or one of {', '.join(QUANTIFIERS)}")
    return Related(subject=subject, relation=relation, object=other, quantifier=value)


def _ranked(reader: _Reader, depth: int) -> Node:
    of = reader.query(depth)
    order = reader.argument(ORDERS)
    place, count = reader.rank()
    return Ranked(of=of, order=order, place=place, count=count)


def _nearest(reader: _Reader, depth: int, *, far: bool = False) -> Node:
    of, to = reader.query(depth), reader.node(depth)
    place, count = reader.rank() if reader.peek() == ("mark", ",") else (1, 1)
    return Nearest(of=of, to=to, far=far, place=place, count=count)


def _counted(reader: _Reader, depth: int) -> Node:
    of, least = reader.query(depth), reader.number()
    return Counted(of=of, least=least, most=reader.most())


def _cut(reader: _Reader, depth: int) -> Node:
    of, how = reader.query(depth), reader.argument(HOW)
    return Cut(of=of, by=reader.node(depth), how=how)


_FUNCTIONS: Mapping[str, Callable[[_Reader, int], Node]] = {
    "like": _like,
    "related": _related,
    "between": lambda r, d: Between(subject=r.query(d), first=r.node(d), second=r.node(d)),
    "ranked": _ranked,
    "placed": lambda r, d: Located(of=r.query(d), side=r.argument(SIDES)),
    "nearest": _nearest,
    "farthest": lambda r, d: _nearest(r, d, far=True),
    "counted": _counted,
    "cut": _cut,
}


def to_json(node: Node) -> dict[str, Any]:
    """Plain values; `kind` names the node."""
    values: dict[str, Any] = {"kind": type(node).__name__}
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, tuple):
            plain = field.name in ("boxes", "not_boxes")
            values[field.name] = [list(part) if plain else to_json(part) for part in value]
        else:
            values[field.name] = to_json(value) if type(value).__name__ in KINDS else value
    return values


def from_json(values: Any) -> Node:
    """The question of plain values, checked like its text. Raises: InputError when they are none."""
    try:
        return from_text(to_text(_node(values, 0)))
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"the question is not one that `to_json` writes: {error}") from error


def _node(values: Any, depth: int) -> Any:
    if depth > MOST_DEPTH:
        raise InputError(f"the question is nested more than {MOST_DEPTH} deep")
    if isinstance(values, list):
        return tuple(_node(each, depth + 1) for each in values)
    if not isinstance(values, dict):
        return values
    kind = KINDS[values["kind"]]
    return kind(**{name: _node(value, depth + 1) for name, value in values.items() if name != "kind"})
