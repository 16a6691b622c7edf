"""The closed-class words of the grammar: articles, numbers, orders, relations. All other words belong to nouns."""

DETERMINERS: tuple[tuple[str, ...], ...] = (
    ("all", "of", "the"),
    ("any", "of", "the"),
    ("some", "of", "the"),
    ("each", "of", "the"),
    ("all", "the"),
    ("any", "the"),
    ("the", "only"),
)
OF_THE: tuple[tuple[str, ...], ...] = (("of", "all", "the"), ("of", "the"), ("of", "these"), ("of",), ("the",))
ARTICLES = frozenset({"the", "a", "an", "all", "any", "some", "this", "these", "those", "each", "every"})
EVERY = (
    *(("everything",), ("anything",), ("whatever",), ("what",), ("things",), ("objects",), ("the", "things")),
    *(("all", "things"), ("all", "the", "things"), ("all", "objects"), ("all", "the", "objects"), ("the", "objects")),
)
_CONTAINERS = "cup mug glass bowl bottle plate basket box bag jar can pot bucket crate"
CONTAINERS = frozenset(_CONTAINERS.split())
THINGS = frozenset({"thing", "object"})  # nouns that say nothing of the kind
_SMALL = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
_SMALL += " eighteen nineteen"
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
NUMBERS = {word: value for value, word in enumerate(_SMALL.split(), start=1)}
NUMBERS |= {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
NUMBERS["both"] = 2
_ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth"
ORDINALS = {word: value for value, word in enumerate(_ORDINALS.split(), start=1)}
ORDINALS |= {f"{value}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(value, 'th') }": value for value in range(1, 21)}
LAST = "last"
# What can be measured in one image, by its words; of two things also said by comparatives ("the larger cup")
_ORDER_WORDS = {
    "left": "leftmost left-most",
    "right": "rightmost right-most",
    "top": "topmost uppermost highest",
    "bottom": "bottommost lowest",
    "large": "largest biggest larger bigger",
    "small": "smallest tiniest littlest smaller",
    "tall": "tallest taller",
    "short": "shortest shorter",
    "wide": "widest broadest wider",
    "narrow": "narrowest thinnest slimmest narrower thinner",
    "long": "longest longer",
}
# Sides of the image, in the words that name them
SIDE_WORDS: dict[tuple[str, ...], str] = {
    **{(side,): side for side in ("left", "right", "top", "bottom", "middle")},
    **{("center",): "middle", ("centre",): "middle"},
    **{
        (word, across): f"{down} {across}"
        for down, words in (("top", ("top", "upper")), ("bottom", ("bottom", "lower")))
        for word in words
        for across in ("left", "right")
    },
}
ORDERS: tuple[tuple[tuple[str, ...], str], ...] = (
    *(((word,), order) for order, words in _ORDER_WORDS.items() for word in words.split()),
    *((words, side) for words, side in SIDE_WORDS.items() if side not in ("left", "right", "top", "bottom")),
)
OPPOSITE = {
    **{"left": "right", "top": "bottom", "large": "small", "tall": "short", "wide": "narrow"},
    **{"right": "left", "bottom": "top", "small": "large", "short": "tall", "narrow": "wide"},
    **{"top left": "bottom right", "bottom right": "top left", "top right": "bottom left", "bottom left": "top right"},
}
MIDDLES = tuple((at, "the", word, "of") for at in ("in", "at") for word in ("middle", "center", "centre"))
NEARNESS = {"nearest": False, "closest": False, "farthest": True, "furthest": True}  # whether it is far
SIDE_PARTS = ("side", "half", "part", "corner", "edge", "end")
SIDES = frozenset({word for words in SIDE_WORDS for word in words} | {"background", "foreground", "back", "front"})
NO_THINGS = frozenset({"side", "half", "rest", "other"})  # nouns that stand for others
IMAGE_WORDS = ("image", "picture", "photo", "photograph", "scene", "frame")
# SentenceWords that end in -est and are no superlatives
_PLAIN_EST = "forest nest chest guest vest test west rest crest pest harvest priest quest request contest interest"
PLAIN_EST = frozenset(_PLAIN_EST.split())
_COLOURS = "red yellow green blue purple pink brown black white grey gray silver golden beige"
COLOURS = frozenset(_COLOURS.split())
_POSTURES = "sitting standing lying parked hanging placed resting leaning walking running located sleeping floating"
POSTURES = frozenset(_POSTURES.split())
RELATION_WORDS: dict[tuple[str, ...], str] = {
    ("on", "top", "of"): "on",
    ("on", "the", "top", "of"): "on",
    ("on", "the", "edge", "of"): "on",
    ("at", "the", "top", "of"): "at top of",
    ("at", "the", "bottom", "of"): "at bottom of",
    ("on", "the", "bottom", "of"): "at bottom of",
    ("riding",): "on",
    ("on",): "on",
    ("inside", "of"): "in",
    ("inside",): "in",
    ("in", "front", "of"): "in front of",
    ("in", "the", "corner", "of"): "in",
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
    **{
        (at, "the", side, *part, "of"): f"{side} of"
        for at in ("on", "to", "at")
        for side in ("left", "right")
        for part in (("side",), ("hand", "side"))
    },
    ("next", "to"): "next to",
    ("adjacent", "to"): "next to",
    ("alongside",): "next to",
    ("beside",): "next to",
    ("by",): "next to",
    ("touching",): "touching",
    ("touches",): "touching",
    ("touch",): "touching",
    ("against",): "touching",
    ("attached", "to"): "touching",
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
    ("filled", "with"): "containing",
    ("supporting",): "supporting",
    ("held", "by"): "held by",
    ("overlapping",): "overlapping",
    ("at",): "near",
    ("larger", "than"): "larger than",
    ("bigger", "than"): "larger than",
    ("smaller", "than"): "smaller than",
    ("taller", "than"): "taller than",
    ("shorter", "than"): "shorter than",
    ("wider", "than"): "wider than",
    ("narrower", "than"): "narrower than",
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
    ("but",),
)
FUNCTION_WORDS = frozenset(
    {"and", "or", "but", "not", ",", "that", "which", "who", "is", "are", "with", "without", "between", "except"}
    | {"excluding", "besides", "minus", "nearest", "closest", "farthest", "furthest", "its", "their", "it", "them"}
    | {"from", "at", "to", "has", "have", "does", "do", "'s", "no", "nor", "neither", "than", "the", "a", "an", LAST}
    | {words[0] for words in RELATION_WORDS} - {"left", "right", "close", "full", "filled", "held", "part", "attached"}
    | set(ORDINALS)
    | {words[0] for words, _ in ORDERS if len(words) == 1}
)
_IRREGULAR = {
    **dict.fromkeys(("people", "everyone", "everybody", "anyone", "anybody", "someone", "somebody"), "person"),
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
        "stairs",
        "clothes",
        "goggles",
        "leggings",
        "tongs",
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
