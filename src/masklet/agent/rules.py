"""What a request asks for, as far as the query language reads it: without a language model."""

from functools import lru_cache

from masklet.errors import InputError
from masklet.query.english import read_question
from masklet.query.nodes import Named, Node, Ranked

PLAIN_WORDS = 4
TELLING = frozenset(
    {
        "not",
        "no",
        "without",
        "except",
        "but",
        "nor",
        "neither",
        "never",
        "only",
        "first",
        "second",
        "third",
        "last",
        "left",
        "right",
        "leftmost",
        "rightmost",
        "topmost",
        "bottommost",
        "largest",
        "biggest",
        "smallest",
        "nearest",
        "closest",
        "farthest",
        "exactly",
        "most",
        "least",
        "more",
        "fewer",
        "two",
        "three",
        "four",
        "five",
        "six",
        "seven",
        "eight",
        "nine",
        "ten",
    }
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
    return found[0].count if found and isinstance(found[0], Ranked) else None


def needs_a_look(request: str) -> bool:
    """Whether a request has words that a segmenter's scores say nothing of: negations, places, numbers."""
    return bool(TELLING & set(request.lower().replace(",", " ").split()))
