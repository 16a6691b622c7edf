"""Nodes as words build them: an order before a noun, a number before an order, several things in one relation."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from masklet.query.nodes import KINDS, Both, Counted, Either, Located, Named, Nearest, Node, Ranked, Related
from masklet.query.vocabulary import OPPOSITE


@dataclass(frozen=True)
class Order:
    """An order before a noun: by its name ("" where only an ordinal is given), or by nearness to what follows."""

    name: str = ""
    place: int = 1
    is_last: bool = False
    is_far: bool | None = None


def ordered(node: Node, order: Order | None, count: int | None) -> Node:
    """The node with the order before its noun; a bare ordinal takes the order that follows, or counts from the left."""
    if order is None or order.is_far is not None:
        return node
    if not order.name and isinstance(node, Nearest):
        return Nearest(of=node.of, to=node.to, far=node.far, place=order.place, count=count or 1)
    if not order.name and isinstance(node, Located):
        return ranked(node.of, Order(name=node.side, place=order.place, is_last=order.is_last), count or 1)
    if not order.name and isinstance(node, Ranked):
        return ranked(node.of, Order(name=node.order, place=order.place, is_last=order.is_last), count or 1)
    name = order.name or "left"
    return ranked(node, Order(name=name, place=order.place, is_last=order.is_last and not order.name), count or 1)


def ranked(node: Node, order: Order, count: int) -> Node:
    """So many in an order, turned around for "last"."""
    name = OPPOSITE.get(order.name, order.name) if order.is_last else order.name
    return Ranked(of=node, order=name, place=order.place, count=count)


def numbered(node: Node, least: int, most: int | None) -> Node:
    """A number before a noun: so many of an order that follows ("the two cups on the left"), else a condition."""
    if least == most and isinstance(node, Ranked | Nearest) and node.count == 1:
        return replace(node, count=least)
    if least == most and isinstance(node, Located):
        return Ranked(of=node.of, order=node.side, place=1, count=least)
    return node if isinstance(node, Ranked) else Counted(of=node, least=least, most=most)


def renamed(node: Node, old: Named, new: Named) -> Node:
    """The node about another concept."""
    if node == old:
        return new
    changed = {}
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, tuple):
            changed[field.name] = tuple(renamed(part, old, new) for part in value)
        elif type(value).__name__ in KINDS:
            changed[field.name] = renamed(value, old, new)
    return replace(node, **changed)


def all_related(
    subject: Node, relation: str, others: Sequence[Node], quantifier: str, joined: type[Either] | type[Both] = Both
) -> Node:
    """The subject in a relation to one thing, or to each or either of several."""
    nodes = []
    for other in others:
        least, most, thing = _amount(other)
        nodes.append(
            Related(subject=subject, relation=relation, object=thing, quantifier=quantifier, least=least, most=most)
        )
    return nodes[0] if len(nodes) == 1 else joined(parts=tuple(nodes))


def _amount(node: Node) -> tuple[int | None, int | None, Node]:
    """ "with two wheels": a number of related things, not a condition on the image."""
    return (node.least, node.most, node.of) if isinstance(node, Counted) else (None, None, node)
