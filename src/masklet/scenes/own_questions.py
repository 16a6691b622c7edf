"""Our own set: sentences with negations, orders and counts over generated scenes, whose answers are known exactly.

The answer of a sentence follows from how the scene was drawn, not from a measurement: orders are asked only where they
are clear to a person, words only where nothing in the scene could be argued about.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import count, pairwise
from typing import Any, Literal

import numpy as np
import yaml
from jaxtyping import Bool, UInt8

from masklet.ops.masks import mask_to_box, polygons_to_mask
from masklet.scenes.camera import shoot
from masklet.scenes.layout import SceneConfig
from masklet.scenes.phrases import Description, Phrase, objects_of
from masklet.scenes.scene import build_scene, describe

Sort = Literal["negation", "order", "count"]
SORTS: tuple[Sort, ...] = ("negation", "order", "count")
CONFIG = SceneConfig(difficulty=0.6, greyscale_share=0.0, crowd_share=0.0, coin_share=0.0, cell_share=0.0)
CLEAR_PLACE = 0.05  # of the side: centres nearer than this have no order
CLEAR_SIZE = 1.4  # ratio of areas
ORDERS = {"leftmost": (0, 1), "rightmost": (0, -1), "topmost": (1, 1), "lowest": (1, -1)}
ITEMS = 300  # a third of each sort
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight")


@dataclass(frozen=True, kw_only=True)
class OwnThing:
    """A thing in a scene: its visible pixels."""

    mask: Bool[np.ndarray, "height width"]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Tightest box, xyxy."""
        return mask_to_box(self.mask) or (0, 0, 0, 0)

    @property
    def centre(self) -> tuple[float, float]:
        """Of the box."""
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2


@dataclass(frozen=True, kw_only=True)
class OwnQuestion:
    """A sentence and the numbers of the things that answer it."""

    sort: Sort
    sentence: str
    answer: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class OwnItem:
    """One item of the set: a sentence about an image, whose answer is a list of masks."""

    key: str
    image: str  # a name: that of a photo of the package, or of the generated scene `seed`
    seed: int | None
    sort: Sort
    sentence: str
    answer: tuple[OwnThing, ...]


@dataclass(frozen=True, kw_only=True)
class OwnScene:
    """A generated image, its things, and what may be said of each."""

    image: UInt8[np.ndarray, "height width 3"]
    things: tuple[OwnThing, ...]
    descriptions: tuple[Description, ...]

    def named(self, phrase: str) -> list[OwnThing]:
        """The things that a noun, or a colour and a noun, is true of."""
        return [self.things[number] for number in self.numbers(phrase) or ()]

    def numbers(self, phrase: str) -> tuple[int, ...] | None:
        """Their numbers; None where it could be argued."""
        *colour, noun = phrase.split()
        return objects_of(Phrase(noun, " ".join(colour) or None), self.descriptions)


def own_items(sizes: Mapping[str, tuple[int, int]], total: int = ITEMS) -> Iterator[OwnItem]:
    """The set: sentences about the photos of the package, of these sizes (height, width), then about generated scenes.

    A scene gives one sentence of each sort; the same call gives the same items.
    """
    taken: Counter[str] = Counter()
    for item in _photo_items(sizes):
        taken[item.sort] += 1
        yield item
    for seed in count():
        if taken.total() >= total:
            return
        scene, seen = draw_own_scene(seed), set[str]()
        for question in own_questions(scene, seed):
            if question.sort in seen or taken[question.sort] >= total // len(SORTS):
                continue
            seen.add(question.sort)
            taken[question.sort] += 1
            yield OwnItem(
                key=f"scene{seed}-{question.sort}",
                image=f"scene{seed}.png",
                seed=seed,
                sort=question.sort,
                sentence=question.sentence,
                answer=tuple(scene.things[number] for number in question.answer),
            )


def _photo_items(sizes: Mapping[str, tuple[int, int]]) -> Iterator[OwnItem]:
    photos = yaml.safe_load((files("masklet") / "scenes" / "photo_questions.yaml").read_text(encoding="utf-8"))
    for name, photo in photos.items():
        things = photo_things(photo["things"], sizes[name])
        for place, (sort, sentence, answer) in enumerate(photo["sentences"]):
            chosen = [
                thing
                for noun, numbers in answer.items()
                for number, thing in enumerate(things[noun])
                if numbers == "all" or number in numbers
            ]
            key = f"{name.split('.')[0]}-{place}"
            yield OwnItem(key=key, image=name, seed=None, sort=sort, sentence=sentence, answer=tuple(chosen))


def photo_things(outlines: Mapping[str, Any], size: tuple[int, int]) -> dict[str, list[OwnThing]]:
    """Things drawn by hand, by noun, at the size (height, width) of their photo."""
    rows, columns = np.mgrid[: size[0], : size[1]]

    def drawn(outline: Mapping[str, list[float | int]]) -> OwnThing:
        if "polygon" in outline:
            return OwnThing(mask=polygons_to_mask([[float(value) for value in outline["polygon"]]], *size))
        x, y, *radii = outline.get("circle") or outline["ellipse"]
        return OwnThing(mask=((columns - x) / radii[0]) ** 2 + ((rows - y) / radii[-1]) ** 2 <= 1)

    return {noun: [drawn(outline) for outline in listed] for noun, listed in outlines.items()}


def draw_own_scene(seed: int) -> OwnScene:
    """The scene of a seed."""
    rng = np.random.default_rng([seed, 7])
    scene = build_scene(rng, CONFIG, None)
    masks = scene.canvas.masks()
    return OwnScene(
        image=shoot(rng, scene.canvas.pixels, scene.setting.camera),
        things=tuple(OwnThing(mask=mask) for mask in masks),
        descriptions=tuple(describe(placed, greyscale=False) for placed in scene.objects),
    )


def own_questions(scene: OwnScene, seed: int) -> Iterator[OwnQuestion]:
    """Every sentence that this scene gives sense to, in a random order."""
    rng = np.random.default_rng([seed, 8])
    nouns = sorted({noun for each in scene.descriptions for noun in each.nouns if is_plain(noun)})
    found: list[OwnQuestion] = []
    for noun in nouns:
        numbers = scene.numbers(noun)
        if numbers:
            found += [*_negations(scene, noun, numbers), *_orders(scene, noun, numbers)]
            found += _counts(rng, noun, numbers)
    yield from (found[place] for place in rng.permutation(len(found)))


def _negations(scene: OwnScene, noun: str, numbers: tuple[int, ...]) -> Iterator[OwnQuestion]:
    many = plural(noun)
    for colour in sorted({str(scene.descriptions[number].colour) for number in numbers}):
        coloured = scene.numbers(f"{colour} {noun}")
        rest = tuple(number for number in numbers if number not in (coloured or ()))
        if coloured and rest:
            for words in (f"{many} but not {colour} {many}", f"the {many} except the {colour} {many}"):
                yield OwnQuestion(sort="negation", sentence=words, answer=rest)
    for word, ranked in _ranked(scene, numbers):
        yield OwnQuestion(sort="negation", sentence=f"all {many} but not the {word} {noun}", answer=ranked[1:])


def _orders(scene: OwnScene, noun: str, numbers: tuple[int, ...]) -> Iterator[OwnQuestion]:
    many = plural(noun)
    for word, ranked in _ranked(scene, numbers):
        yield OwnQuestion(sort="order", sentence=f"the {word} {noun}", answer=ranked[:1])
        if len(ranked) > 2:
            yield OwnQuestion(sort="order", sentence=f"the two {word} {many}", answer=ranked[:2])
        if word in ("leftmost", "rightmost"):
            side = word.removesuffix("most")
            yield OwnQuestion(sort="order", sentence=f"the second {noun} from the {side}", answer=ranked[1:2])


def _counts(rng: np.random.Generator, noun: str, numbers: tuple[int, ...]) -> Iterator[OwnQuestion]:
    many, there = plural(noun), len(numbers)
    other = there + int(rng.choice([-1, 1, 2]))
    for number in (there, other):
        if 1 <= number < len(NUMBERS):
            words = f"exactly {NUMBERS[number]} {many if number > 1 else noun}"
            yield OwnQuestion(sort="count", sentence=words, answer=numbers if number == there else ())
            words = f"at least {NUMBERS[number]} {many if number > 1 else noun}"
            yield OwnQuestion(sort="count", sentence=words, answer=numbers if there >= number else ())
    if 2 <= there < len(NUMBERS):
        few = f"fewer than {NUMBERS[there]} {many}"
        yield OwnQuestion(sort="count", sentence=few, answer=())
        less = f"more than {NUMBERS[there - 1]} {many if there > 2 else noun}"
        yield OwnQuestion(sort="count", sentence=less, answer=numbers)


def _ranked(scene: OwnScene, numbers: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Orders that are clear between all neighbours, with the things in them; one thing alone has none."""
    if len(numbers) < 2:
        return
    side = max(scene.image.shape)
    for word, (axis, sign) in ORDERS.items():
        keys = {number: sign * scene.things[number].centre[axis] for number in numbers}
        ranked = sorted(numbers, key=lambda number, keys=keys: keys[number])
        steps = [keys[b] - keys[a] for a, b in pairwise(ranked)]
        if min(steps) >= CLEAR_PLACE * side:
            yield word, tuple(ranked)
    areas = {number: int(scene.things[number].mask.sum()) for number in numbers}
    for word, sign in (("largest", -1), ("smallest", 1)):
        ranked = sorted(numbers, key=lambda number, sign=sign: sign * areas[number])
        pairs = [sorted((areas[a], areas[b])) for a, b in pairwise(ranked)]
        steps = [large / max(1, small) for small, large in pairs]
        if min(steps) >= CLEAR_SIZE:
            yield word, tuple(ranked)


def is_plain(noun: str) -> bool:
    """Whether a noun is one word that has a plural."""
    return noun.isalpha() and noun != "object" and not noun.endswith(("f", "fe", "fish", "s"))


def plural(noun: str) -> str:
    """The plural of a regular English noun."""
    if noun.endswith(("x", "ch", "sh", "z")):
        return f"{noun}es"
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return f"{noun[:-1]}ies"
    return f"{noun}s"
