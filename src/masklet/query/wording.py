"""A sentence as the words that the grammar reads: lower case, marks apart, what only introduces a question left out."""

from masklet.query.vocabulary import IMAGE_WORDS, NUMBERS, ORDINALS

# Beginnings that say that something is wanted, not what
STARTS = (
    *(("please",), ("find", "me"), ("find",), ("show", "me"), ("show",), ("select",), ("segment",), ("highlight",)),
    *(
        ("where", "is"),
        ("where", "are"),
        ("is", "there"),
        ("are", "there"),
        ("how", "many"),
        ("which",),
        ("give", "me"),
        ("only",),
        ("just",),
    ),
)
ENDS = (("are", "there"), ("can", "you", "see"), ("do", "you", "see"), ("please",))
_MARKS = str.maketrans({"\u2019": "'", "\u2018": "'", "\u00a0": " "})


def words_of(sentence: str) -> list[str]:
    """The words of a sentence, without "find me", "how many ... are there", "in the picture"."""
    text = sentence.translate(_MARKS).lower().strip().rstrip("?.! ").replace(",", " , ").replace("n't", " not")
    text = text.replace("'s", " 's").replace("s' ", "s 's ")
    words = [word for part in text.split() for word in _split(part)]
    while (start := _longest(words, STARTS, at_end=False)) and len(start) < len(words):
        words = words[len(start) :]
    while (end := _longest(words, (*ENDS, *_whole()), at_end=True)) and len(end) < len(words):
        words = words[: -len(end)]
    return words


def _split(word: str) -> list[str]:
    """ "second-largest" as two words, "second-to-last" as three; other hyphens stay."""
    first, dash, rest = word.partition("-")
    if rest in ("to-last", "from-last"):
        return word.split("-")
    return [first, rest] if dash and rest and first in ORDINALS else [word]


def _whole() -> list[tuple[str, ...]]:
    return [(at, which, word) for at in ("in", "of", "on") for which in ("the", "this") for word in IMAGE_WORDS]


def _longest(words: list[str], options: tuple[tuple[str, ...], ...], *, at_end: bool) -> tuple[str, ...]:
    fitting = [each for each in options if tuple(words[-len(each) :] if at_end else words[: len(each)]) == each]
    return max(fitting, key=len, default=())


def number_of(word: str) -> int | None:
    """The value of a number in letters or digits."""
    return int(word) if word.isdecimal() and len(word) < 4 else NUMBERS.get(word)
