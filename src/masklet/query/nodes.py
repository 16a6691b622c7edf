"""Questions as trees. Every node stands for a set of instances; the leaves are what a segmenter is asked."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from masklet.errors import InputError

RELATIONS = (
    "on",
    "in",
    "under",
    "above",
    "below",
    "left of",
    "right of",
    "next to",
    "touching",
    "holding",
    "wearing",
    "with",
    "part of",
    "in front of",
    "behind",
    "near",
    "supporting",
    "containing",
    "held by",
    "overlapping",
    "at top of",
    "at bottom of",
    "larger than",
    "smaller than",
    "taller than",
    "shorter than",
    "wider than",
    "narrower than",
)
SIDES = ("left", "right", "top", "bottom", "middle", "top left", "top right", "bottom left", "bottom right")
ORDERS = (*SIDES, "large", "small", "tall", "short", "wide", "narrow", "long", "sure")
QUANTIFIERS = ("some", "no", "every")
Corners = tuple[int, int, int, int]
EVERYTHING = "object"  # the phrase behind "everything"


@dataclass(frozen=True, kw_only=True)
class Named:
    """All instances of a short noun phrase, as a segmenter answers it.

    Example boxes, xyxy in pixels, show what is meant and what is not.
    """

    phrase: str
    boxes: tuple[Corners, ...] = ()
    not_boxes: tuple[Corners, ...] = ()

    @property
    def has_examples(self) -> bool:
        """Whether it is asked by boxes, too."""
        return bool(self.boxes or self.not_boxes)


@dataclass(frozen=True, kw_only=True)
class Related:
    """Those of `subject` in a relation to `some`, `no` or `every` of `object`, or to `least` to `most` of them."""

    subject: "Node"
    relation: str
    object: "Node"
    quantifier: str = "some"
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, kw_only=True)
class Between:
    """Those of `subject` that lie between an instance of one and an instance of the other."""

    subject: "Node"
    first: "Node"
    second: "Node"


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """`count` instances in an order from number `place` (from 1): the second from the left, the three largest."""

    of: "Node"
    order: str
    place: int = 1
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Located:
    """Those of `of` in a part of the image: its left half, its middle third, its top left quarter."""

    of: "Node"
    side: str


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """`count` of `of`, from number `place`, in the order of their distance to any of `to`: far first, when `far`."""

    of: "Node"
    to: "Node"
    far: bool = False
    place: int = 1
    count: int = 1


@dataclass(frozen=True, kw_only=True)
class Either:
    """Instances of any of the parts; the same instance once."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, kw_only=True)
class Both:
    """Instances that all parts find."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, kw_only=True)
class ButNot:
    """Those of `of` that `without` does not find."""

    of: "Node"
    without: "Node"


@dataclass(frozen=True, kw_only=True)
class Counted:
    """All of `of` where there are at least `least` and at most `most` of them, else none."""

    of: "Node"
    least: int
    most: int | None = None


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Masks of `of` changed by those of `by`: their pixels taken away, joined where they touch, or kept alone."""

    of: "Node"
    by: "Node"
    how: str = "difference"


Node = Named | Related | Between | Ranked | Located | Nearest | Either | Both | ButNot | Counted | Cut
KINDS = {
    kind.__name__: kind
    for kind in (Named, Related, Between, Ranked, Located, Nearest, Either, Both, ButNot, Counted, Cut)
}
HOW = ("difference", "union", "intersection")


def children(node: Node) -> Iterator[Node]:
    """The parts of a node, in order."""
    for field in fields(node):
        value = getattr(node, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if type(part).__name__ in KINDS and type(part) is KINDS[type(part).__name__]:
                yield part


def phrases(node: Node) -> tuple[str, ...]:
    """What a segmenter is asked, each phrase once, in the order of the question."""
    own = (node.phrase,) if isinstance(node, Named) else ()
    return tuple(dict.fromkeys([*own, *(phrase for child in children(node) for phrase in phrases(child))]))


def named(node: Node) -> tuple[Named, ...]:
    """The concepts of a question, each once, in its order."""
    own = (node,) if isinstance(node, Named) else ()
    return tuple(dict.fromkeys([*own, *(leaf for child in children(node) for leaf in named(child))]))


def check_plain(node: Node) -> None:
    """Raises: InputError when concepts have example boxes, which lie in one image and are not asked of a video."""
    if any(concept.has_examples for concept in named(node)):
        raise InputError("a video is asked by phrases alone: example boxes belong to one image")


def with_examples(node: Node, examples: Mapping[str, Sequence[Corners]]) -> Node:
    """The question with example boxes for the concepts of these phrases."""
    if isinstance(node, Named):
        return replace(node, boxes=(*node.boxes, *examples.get(node.phrase, ())))
    changed: dict[str, Any] = {}
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, tuple):
            changed[field.name] = tuple(with_examples(part, examples) for part in value)
        elif type(value).__name__ in KINDS:
            changed[field.name] = with_examples(value, examples)
    return replace(node, **changed)
