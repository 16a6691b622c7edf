# ruff: noqa: ARG002 - the arguments of a protocol
"""Drawn worlds whose relations are known by how they were made, requests about them, and a segmenter that sees all.

Things stand on tables or on the floor; requests are made from the same facts, so the exact set that answers each is
known without measuring a mask.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from masklet.ops.masks import mask_to_box

HEIGHT, WIDTH = 240, 420
COLOURS = {"red": (210, 40, 40), "green": (40, 170, 60), "blue": (40, 80, 210), "yellow": (230, 210, 40)}
KINDS = ("cup", "bottle", "box")
TABLE, FLOOR = (130, 90, 60), 225  # colour of tables, row of the floor


@dataclass(frozen=True)
class Thing:
    """A thing: what it is, its colour ("" for tables), its mask, and the number of the table that it stands on."""

    kind: str
    colour: str
    mask: np.ndarray
    table: int | None = None

    @property
    def box(self) -> tuple[int, int, int, int]:
        box = mask_to_box(self.mask)
        assert box is not None
        return box

    @property
    def centre(self) -> float:
        return (self.box[0] + self.box[2]) / 2


@dataclass(frozen=True)
class World:
    """An image and its things."""

    image: np.ndarray
    things: tuple[Thing, ...]

    def named(self, phrase: str) -> list[Thing]:
        """What a phrase means: a kind, a colour and a kind, or any "object"."""
        *colour, kind = phrase.split()
        return [
            thing
            for thing in self.things
            if kind in (thing.kind, "object") and (not colour or thing.colour == colour[0])
        ]


def shape(kind: str, left: int, bottom: int, size: int) -> np.ndarray:
    """The mask of a thing that stands with its lowest row at `bottom`."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    half = size // 2
    if kind == "box":
        return (rows > bottom - size) & (rows <= bottom) & (columns >= left) & (columns < left + size)
    if kind == "bottle":
        width = size // 2
        return (rows > bottom - 2 * size) & (rows <= bottom) & (columns >= left) & (columns < left + width)
    return ((rows - bottom + half) ** 2 + (columns - left - half) ** 2 <= half**2) & (rows <= bottom)


def world(seed: int) -> World:
    """Two tables, each with up to three things on it, and up to three things on the floor between them."""
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), 245, np.uint8)
    things: list[Thing] = []
    for table, left in enumerate((20, 270)):
        top = int(rng.integers(120, 150))
        mask = np.zeros((HEIGHT, WIDTH), bool)
        mask[top : top + 60, left : left + 130] = True
        things.append(Thing("table", "", mask))
        places = rng.permutation(3)[: rng.integers(0, 4)]
        things += [_drawn(rng, left + 4 + 42 * int(place), top - 1, table) for place in places]
    places = rng.permutation(2)[: rng.integers(0, 3)]
    things += [_drawn(rng, 168 + 46 * int(place), FLOOR, None) for place in places]
    for thing in things:
        image[thing.mask] = COLOURS.get(thing.colour, TABLE)
    order = rng.permutation(len(things))
    return World(image, tuple(things[index] for index in order))


def _drawn(rng: np.random.Generator, left: int, bottom: int, table: int | None) -> Thing:
    kind = KINDS[rng.integers(len(KINDS))]
    colour = list(COLOURS)[rng.integers(len(COLOURS))]
    return Thing(kind, colour, shape(kind, left, bottom, int(rng.integers(22, 36))), table)


@dataclass(frozen=True)
class Question:
    """A sentence and the things that answer it."""

    sentence: str
    answer: tuple[Thing, ...]


def questions(world: World, seed: int) -> Iterator[Question]:
    """Requests of every sort that this world gives sense to."""
    rng = np.random.default_rng(seed)
    kind = KINDS[rng.integers(len(KINDS))]
    colour = list(COLOURS)[rng.integers(len(COLOURS))]
    all_of = world.named(kind)
    by_place = sorted(all_of, key=lambda thing: thing.centre)
    on_table = [thing for thing in all_of if thing.table is not None]
    off_table = [thing for thing in all_of if thing.table is None]
    tables = world.named("table")
    occupied = {thing.table for thing in all_of if thing.table is not None}
    left_first = sorted(tables, key=lambda thing: thing.centre)
    yield Question(f"the {kind}", tuple(all_of))
    yield Question(f"the {colour} {kind}", tuple(world.named(f"{colour} {kind}")))
    yield Question(f"the {kind} on the table", tuple(on_table))
    yield Question(f"the {kind} that is not on the table", tuple(off_table))
    yield Question(f"tables with no {kind} on them", tuple(t for n, t in enumerate(left_first) if n not in occupied))
    yield Question(f"the leftmost {kind}", tuple(by_place[:1]))
    yield Question(f"the second {kind} from the right", tuple(by_place[-2:-1]) if len(by_place) > 1 else ())
    if len(by_place) >= 3:
        yield Question(f"the two rightmost {kind}s".replace("boxs", "boxes"), tuple(by_place[-2:]))
    yield Question(f"{kind} but not {colour} {kind}", tuple(thing for thing in all_of if thing.colour != colour))
    number = int(rng.integers(1, 4))
    word = {1: "one", 2: "two", 3: "three"}[number]
    plural = {"box": "boxes"}.get(kind, f"{kind}s") if number > 1 else kind
    yield Question(f"exactly {word} {plural}", tuple(all_of) if len(all_of) == number else ())
    areas = sorted(all_of, key=lambda thing: -thing.mask.sum())
    if len(areas) > 1 and areas[0].mask.sum() > areas[1].mask.sum():
        yield Question(f"the largest {kind}", (areas[0],))
    if len(areas) > 2 and areas[0].mask.sum() > areas[1].mask.sum() > areas[2].mask.sum():
        yield Question(f"the second largest {kind}", (areas[1],))
    tall = sorted(all_of, key=lambda thing: thing.box[1] - thing.box[3])
    if len(tall) > 1 and tall[0].box[3] - tall[0].box[1] > tall[1].box[3] - tall[1].box[1]:
        yield Question(f"the tallest {kind}", (tall[0],))
    lefts = [thing for thing in all_of if thing.centre < WIDTH / 2]
    if len(all_of) > 1 and all(abs(thing.centre - WIDTH / 2) > 4 for thing in all_of):
        yield Question(f"the {kind}s on the left".replace("boxs", "boxes"), tuple(lefts))


@dataclass(kw_only=True)
class OracleFound:
    """What the oracle gives: see `protocols.Instances`."""

    presence: Mapping[str, float]
    found: Sequence[tuple[str, Thing]]

    def __len__(self) -> int:
        return len(self.found)

    @property
    def phrases(self) -> list[str]:
        return [phrase for phrase, _ in self.found]

    @property
    def scores(self) -> np.ndarray:
        return np.full(len(self.found), 0.95, np.float32)

    @property
    def boxes(self) -> np.ndarray:
        return np.array([thing.box for _, thing in self.found], np.float32).reshape(-1, 4)

    def mask(self, index: int, *, cut: float = 0.5) -> np.ndarray:
        return self.found[index][1].mask


@dataclass(kw_only=True)
class OracleSession:
    """Finds exactly what is drawn; counts what it was asked."""

    world: World
    asked: list[tuple[str, ...]] = field(default_factory=list)
    size: tuple[int, int] = (HEIGHT, WIDTH)

    def find(self, phrases=None, *, boxes=None, not_boxes=None, threshold=None, assume_present=False) -> OracleFound:
        names = [phrases] if isinstance(phrases, str) else list(phrases or ["visual"])
        self.asked.append(tuple(names))
        if boxes:
            names = [max(self.world.things, key=lambda thing: _overlap(thing.box, boxes[0])).kind]
        found = [(name, thing) for name in names for thing in self.world.named(name)]
        presence = {name: 0.95 if any(phrase == name for phrase, _ in found) else 0.02 for name in names}
        return OracleFound(presence=presence, found=found)

    def click(self, points=(), labels=(), *, box=None, mask=None):
        class Masks:
            masks = np.stack([max(self.world.things, key=lambda thing: _overlap(thing.box, box)).mask])
            logits = None

        return Masks()

    def close(self) -> None:
        return


def _overlap(one, other) -> float:
    width = max(0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0, min(one[3], other[3]) - max(one[1], other[1]))
    area = (one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])
    return width * height / max(area - width * height, 1e-9)


def is_exact(masks: Sequence[np.ndarray], answer: Sequence[Thing]) -> bool:
    """Whether these masks are those of the answer, no more and no fewer."""
    if len(masks) != len(answer):
        return False
    return all(any(np.array_equal(mask, thing.mask) for mask in masks) for thing in answer)
