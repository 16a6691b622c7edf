"""Things that everybody knows and few pictures show: what to ask of pictures whose labels do not go so far.

That they are absent from a given picture is likely, not known. What the labels themselves speak of is never asked.
"""

from collections.abc import Iterable

# Under words for the whole kind: labels that use one of them leave out the kind.
_KINDS = {
    "animal mammal wildlife": ("elephant", "giraffe", "kangaroo", "polar bear", "zebra"),
    "bird animal wildlife": ("penguin", "flamingo", "ostrich", "peacock"),
    "vehicle car truck bus van": ("fire truck", "school bus", "tractor", "police car"),
    "aircraft airplane plane aeroplane": ("helicopter", "hot air balloon", "parachute"),
    "boat ship vessel": ("sailing boat", "cruise ship", "canoe"),
    "musical instrument": ("grand piano", "violin", "trumpet", "drum kit", "saxophone"),
    "food meal dish snack": ("birthday cake", "hamburger", "pizza", "sushi", "ice cream cone"),
    "food fruit": ("pineapple", "watermelon", "bunch of bananas", "strawberry"),
    "sport equipment": ("tennis racket", "surfboard", "skateboard", "golf club", "bowling ball"),
    "clothing clothes garment hat shoe": ("wedding dress", "top hat", "cowboy boot", "bow tie"),
    "appliance machine device": ("washing machine", "sewing machine", "vacuum cleaner", "typewriter"),
    "building house tower": ("lighthouse", "windmill", "castle", "igloo"),
    "sign street": ("traffic light", "fire hydrant", "parking meter", "stop sign"),
    "toy": ("teddy bear", "kite", "rubber duck", "rocking horse"),
    "furniture": ("chandelier", "bunk bed", "rocking chair", "bathtub"),
    "person people human man woman": ("astronaut", "snowman", "clown", "scuba diver"),
}


def absent_phrases(known: Iterable[str]) -> list[str]:
    """The phrases that share no word with the `known` ones, nor does their kind; all of them where none is known."""
    taken = {word for phrase in known for word in _words(phrase)}
    return [
        phrase for kind, phrases in _KINDS.items() for phrase in phrases if not taken & (_words(phrase) | _words(kind))
    ]


def _words(phrase: str) -> set[str]:
    """In small letters and, as far as an ending tells, in the singular; "of" and the like say nothing."""
    words = set(phrase.lower().replace("-", " ").replace("_", " ").split()) - {"of", "a", "an", "the"}
    return words | {word.removesuffix("s") for word in words} | {word.removesuffix("es") for word in words}
