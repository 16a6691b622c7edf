"""Common things that few images show: negatives for images whose labels have too few.

That they are absent from a given image is likely, not known. What the labels themselves speak of is never asked. Some
are for learning to say no, others for finding out whether that was forgotten; the two share no word.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import IndexedSource, draw_phrases

# Under words for the whole kind: labels that use one of them leave out the kind.
PROBES = {
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


LESSONS = {
    "animal mammal wildlife": ("camel", "hippopotamus", "koala", "moose", "rhinoceros", "sea lion", "tiger"),
    "bird animal wildlife": ("eagle", "parrot", "swan", "turkey", "owl"),
    "reptile fish insect animal wildlife": ("crocodile", "goldfish", "lobster", "octopus", "ladybug", "turtle"),
    "vehicle car truck bus van": ("ambulance", "bulldozer", "forklift", "cement mixer", "snowmobile", "taxi"),
    "aircraft airplane plane aeroplane": ("blimp", "glider", "space shuttle"),
    "boat ship vessel": ("gondola", "kayak", "submarine"),
    "musical instrument": ("accordion", "cello", "harp", "banjo", "xylophone"),
    "food meal dish snack": ("croissant", "burrito", "lasagna", "popcorn", "waffle", "taco"),
    "food fruit vegetable": ("avocado", "coconut", "pumpkin", "artichoke", "raspberry", "cauliflower"),
    "sport equipment": ("baseball bat", "boxing glove", "hockey stick", "snowboard", "volleyball", "dumbbell"),
    "clothing clothes garment hat shoe": ("kimono", "sombrero", "roller skate", "apron", "mitten", "high heel"),
    "appliance machine device": ("blender", "gramophone", "popcorn maker", "jukebox", "toaster", "film projector"),
    "building house tower": ("barn", "pagoda", "pyramid", "tipi", "water tower"),
    "sign street": ("mailbox", "phone booth", "street lamp", "barricade"),
    "toy": ("dollhouse", "pinwheel", "yo-yo", "toy train", "marionette"),
    "furniture": ("hammock", "grandfather clock", "cradle", "pool table", "throne"),
    "person people human man woman": ("ballerina", "firefighter", "knight in armor", "mermaid", "scarecrow"),
    "tool": ("anvil", "chainsaw", "wheelbarrow", "paint roller", "lawn mower"),
    "weapon": ("cannon", "crossbow", "sword"),
}


class WithEverydayNegatives(IndexedSource):
    """Images that are asked for `count` absent things at least: where labels have fewer, for some of `LESSONS`.

    That those are absent is assumed. For data of few classes, which have little to say no to.
    """

    def __init__(self, images: IndexedSource, count: int) -> None:
        self.images, self.count = images, count

    def __len__(self) -> int:
        return len(self.images)

    def name(self, index: int) -> str:
        return self.images.name(index)

    def sample(self, rng: np.random.Generator) -> Example:
        return self._asked(self.images.sample(rng), rng)

    def example(self, index: int, rng: np.random.Generator) -> Example:
        return self._asked(self.images.example(index, rng), rng)

    def _asked(self, example: Example, rng: np.random.Generator) -> Example:
        known = [*(query.phrase for query in example.queries), *example.absent]
        missing = self.count - sum(not query.object_index for query in example.queries)
        more = draw_phrases(absent_phrases(known, LESSONS), missing, rng)
        queries = (*example.queries, *(PhraseQuery(phrase=phrase, object_index=()) for phrase in more))
        return replace(example, queries=queries)


def absent_phrases(known: Iterable[str], things: Mapping[str, Sequence[str]]) -> list[str]:
    """The phrases that share no word with the `known` ones, nor does their kind; all of them where none is known."""
    taken = {word for phrase in known for word in _words(phrase)}
    return [
        phrase for kind, phrases in things.items() for phrase in phrases if not taken & (_words(phrase) | _words(kind))
    ]


def _words(phrase: str) -> set[str]:
    """In small letters and, as far as an ending tells, in the singular; "of" and the like say nothing."""
    words = set(phrase.lower().replace("-", " ").replace("_", " ").split()) - {"of", "a", "an", "the"}
    return words | {word.removesuffix("s") for word in words} | {word.removesuffix("es") for word in words}
