"""What a request asks for, as far as the query language reads it: without a language model."""

from functools import lru_cache

from masklet.errors import InputError
from masklet.query.english import read_question
from masklet.query.nodes import Counted, Named, Nearest, Node, Ranked
from masklet.query.vocabulary import COLOURS, NUMBERS, ORDERS, ORDINALS

PLAIN_WORDS = 4
_NEGATIONS = frozenset({"not", "no", "without", "except", "but", "nor", "neither", "never", "only"})
_COMPARISONS = frozenset({"left", "right", "exactly", "most", "least", "more", "fewer", "than", "last", "nearest"})
TELLING = (
    _NEGATIONS
    | _COMPARISONS
    | frozenset({"closest", "farthest", "furthest"})
    | frozenset(ORDINALS)
    | (frozenset(NUMBERS) - {"one"})
    | frozenset(words[0] for words, _ in ORDERS)
)


@lru_cache(maxsize=256)
def readings(request: str) -> tuple[Node, ...]:
    """What a request may mean, likeliest first; none where it is beyond the query language."""
    try:
        return tuple(reading.node for reading in read_question(request))
    except InputError:
        return ()


def plain_phrase(request: str) -> str | None:
    """The noun phrase that a request is, where a segmenter answers it by itself."""
    words = request.lower().split()
    found = readings(request)
    if not 0 < len(words) <= PLAIN_WORDS or TELLING & set(words) or not found:
        return None
    return found[0].phrase if isinstance(found[0], Named) else None


def expected_count(request: str) -> int | None:
    """How many things a request asks for, where it says so: "the three leftmost cups"."""
    found = readings(request)
    first = found[0] if found else None
    if isinstance(first, Counted):
        return first.least if first.least == first.most else None
    return first.count if isinstance(first, Ranked | Nearest) else None


def needs_a_look(request: str) -> bool:
    """Whether a request has words that scores say little of: negations, places, comparisons, numbers, colours."""
    return bool((TELLING | COLOURS) & set(request.lower().replace(",", " ").replace("n't", " not").split()))
