"""The closed-class words of the grammar: articles, numbers, orders, relations. All other words belong to nouns."""

DETERMINERS: tuple[tuple[str, ...], ...] = (
    ("all", "of", "the"),
    ("any", "of", "the"),
    ("some", "of", "the"),
    ("each", "of", "the"),
    ("all", "the"),
    ("any", "the"),
)
OF_THE: tuple[tuple[str, ...], ...] = (("of", "all", "the"), ("of", "the"), ("of", "these"), ("of",))
ARTICLES = frozenset({"the", "a", "an", "all", "any", "some", "this", "these", "those", "each", "every"})
EVERY = (("everything",), ("anything",), ("all", "things"), ("all", "the", "things"), ("all", "objects"))
_SMALL = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
_SMALL += " eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBERS = {word: value for value, word in enumerate(_SMALL.split(), start=1)}
NUMBERS |= {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
ORDINALS = {
    "first": 1,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "seventh": 7,
    "eighth": 8,
    "1st": 1,
    "2nd": 2,
    "3rd": 3,
    "4th": 4,
}
ORDERS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("leftmost",), "left"),
    (("left-most",), "left"),
    (("rightmost",), "right"),
    (("right-most",), "right"),
    (("topmost",), "top"),
    (("uppermost",), "top"),
    (("highest",), "top"),
    (("bottommost",), "bottom"),
    (("lowest",), "bottom"),
    (("largest",), "large"),
    (("biggest",), "large"),
    (("smallest",), "small"),
    (("tiniest",), "small"),
)
PLACES: tuple[tuple[tuple[str, ...], str], ...] = tuple(
    ((*before, word), order)
    for word, order in (("left", "left"), ("right", "right"), ("top", "top"), ("bottom", "bottom"))
    for before in (
        ("from", "the"),
        ("on", "the"),
        ("on", "the", "far"),
        ("at", "the"),
        ("to", "the"),
        ("on", "the", "very"),
    )
)
RELATION_WORDS: dict[tuple[str, ...], str] = {
    ("on", "top", "of"): "on",
    ("sitting", "on"): "on",
    ("standing", "on"): "on",
    ("lying", "on"): "on",
    ("lying", "in"): "in",
    ("sitting", "in"): "in",
    ("riding",): "on",
    ("on",): "on",
    ("inside", "of"): "in",
    ("inside",): "in",
    ("in", "front", "of"): "in front of",
    ("in",): "in",
    ("within",): "in",
    ("under",): "under",
    ("underneath",): "under",
    ("beneath",): "under",
    ("below",): "below",
    ("above",): "above",
    ("over",): "above",
    ("to", "the", "left", "of"): "left of",
    ("on", "the", "left", "of"): "left of",
    ("left", "of"): "left of",
    ("to", "the", "right", "of"): "right of",
    ("on", "the", "right", "of"): "right of",
    ("right", "of"): "right of",
    ("next", "to"): "next to",
    ("beside",): "next to",
    ("by",): "next to",
    ("touching",): "touching",
    ("touches",): "touching",
    ("touch",): "touching",
    ("holding",): "holding",
    ("holds",): "holding",
    ("carrying",): "holding",
    ("wearing",): "wearing",
    ("wears",): "wearing",
    ("part", "of"): "part of",
    ("of",): "part of",
    ("behind",): "behind",
    ("near",): "near",
    ("close", "to"): "near",
    ("containing",): "containing",
    ("full", "of"): "containing",
    ("supporting",): "supporting",
    ("held", "by"): "held by",
    ("overlapping",): "overlapping",
}
EXCEPTIONS: tuple[tuple[str, ...], ...] = (
    (",", "but", "not"),
    ("but", "not"),
    (",", "not"),
    ("except", "for"),
    (",", "except", "for"),
    (",", "except"),
    ("except",),
    ("excluding",),
    ("other", "than"),
    ("besides",),
    ("apart", "from"),
    ("minus",),
)
FUNCTION_WORDS = frozenset(
    {"and", "or", "but", "not", ",", "that", "which", "who", "is", "are", "with", "without", "between", "except"}
    | {"excluding", "besides", "minus", "nearest", "closest", "farthest", "furthest", "its", "their", "it", "them"}
    | {"from", "at", "to", "has", "have", "does", "do", "'s", "no", "than", "the", "a", "an"}
    | {words[0] for words in RELATION_WORDS}
    - {"left", "right", "close", "full", "held", "part", "next", "sitting", "standing", "lying", "in", "to", "on"}
    | {"in", "on", "to", "next"}
    | set(ORDINALS)
    | {words[0] for words, _ in ORDERS}
)
_IRREGULAR = {
    "people": "person",
    "men": "man",
    "women": "woman",
    "children": "child",
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "knives": "knife",
    "leaves": "leaf",
    "wolves": "wolf",
    "loaves": "loaf",
    "shelves": "shelf",
    "scarves": "scarf",
}
_PLAIN_S = frozenset(["taxis", "skis", "cookies", "movies", "pies", "ties", "selfies", "brownies", "menus", "emus"])
_PLAIN_ES = frozenset(["buses", "gases", "viruses", "octopuses", "walruses"])
_OES = frozenset(["potatoes", "tomatoes", "mangoes", "heroes", "volcanoes"])
_SAME = frozenset(
    [
        "scissors",
        "glasses",
        "sunglasses",
        "trousers",
        "pants",
        "jeans",
        "shorts",
        "pliers",
        "binoculars",
        "tweezers",
        "headphones",
        "sheep",
        "fish",
    ]
)


def singular(noun: str) -> str:
    """The singular of an English noun; what has none stays."""
    if noun in _SAME or (noun.endswith(("ss", "us", "is")) and noun not in _PLAIN_S):
        return noun
    if noun in _IRREGULAR:
        return _IRREGULAR[noun]
    if noun.endswith("ies") and len(noun) > 4 and noun not in _PLAIN_S:
        return f"{noun[:-3]}y"
    if noun.endswith(("ches", "shes", "xes", "sses", "zes")) or noun in _OES | _PLAIN_ES:
        return noun[:-2]
    return noun[:-1] if noun.endswith("s") and len(noun) > 3 else noun
