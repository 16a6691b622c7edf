"""Questions as trees. Every node stands for a set of instances; the leaves are what a segmenter is asked."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

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
)
ORDERS = ("left", "right", "top", "bottom", "large", "small", "sure")
QUANTIFIERS = ("some", "no", "every")
EVERYTHING = "object"  # the phrase behind "everything"


@dataclass(frozen=True, kw_only=True)
class Named:
    """All instances of a short noun phrase, as a segmenter answers it."""

    phrase: str


@dataclass(frozen=True, kw_only=True)
class Related:
    """Those of `subject` in a relation to `some`, `no` or `every` instance of `object`, or to exactly `count`."""

    subject: "Node"
    relation: str
    object: "Node"
    quantifier: str = "some"
    count: int | None = None


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
class Nearest:
    """The one of `of` that is nearest to any instance of `to`; the farthest, when `far`."""

    of: "Node"
    to: "Node"
    far: bool = False


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


Node = Named | Related | Between | Ranked | Nearest | Either | Both | ButNot | Counted | Cut
KINDS = {kind.__name__: kind for kind in (Named, Related, Between, Ranked, Nearest, Either, Both, ButNot, Counted, Cut)}
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
