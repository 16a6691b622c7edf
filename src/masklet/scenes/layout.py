"""Which objects a scene holds and where: the sampling weights, the palette of one scene, the stream of candidates."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from masklet.scenes.camera import LUMA
from masklet.scenes.noise import one_of
from masklet.scenes.objects.everyday_shapes import EVERYDAY
from masklet.scenes.objects.paint import COLOUR_WORDS, COLOURS, METAL_WORDS, PATTERNS, Look, Placed
from masklet.scenes.objects.shapes import CHARACTERS, SHAPES
from masklet.scenes.objects.silhouettes import Kind
from masklet.scenes.phrases import is_unseen_pair

Rng = np.random.Generator

KINDS: tuple[Kind, ...] = SHAPES + EVERYDAY + CHARACTERS
_BY_NOUN = {kind.nouns[0]: kind for kind in KINDS}
_LIKELY = SHAPES[:-2] + EVERYDAY  # coins and cells have scenes of their own
_NEUTRAL = ("black", "white", "grey", "silver")
_CELL_COLOURS = ("pink", "purple", "blue", "red", "green", "grey")


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """Sampling weights. `difficulty` in [0, 1] shifts number, size and overlap of objects and the camera's faults.

    Crowds, coins and cells are sorts of scenes; what their shares leave is mixed objects. Of composed scenes
    `row_share` are rows: large cut-outs, mostly of one name, side by side. Half of the coins and cells and
    `greyscale_share` of the rest are greyscale, which is a sixth of all. `combinations` "seen" never shows a colour
    with a noun that `phrases.is_unseen_pair` holds out; "unseen" shows at least one such pair and asks for it.
    """

    size: int = 336
    difficulty: float = 1.0
    combinations: Literal["seen", "unseen"] = "seen"
    greyscale_share: float = 0.13
    crowd_share: float = 0.12
    coin_share: float = 0.08
    cell_share: float = 0.04
    row_share: float = 0.0
    max_queries: int = 10
    negative_share: float = 0.45

    def __post_init__(self) -> None:
        if not 0 <= self.negative_share <= 1:
            raise ValueError(f"negative_share {self.negative_share} is not in [0, 1]")
        if not 0 <= self.row_share <= 1:
            raise ValueError(f"row_share {self.row_share} is not in [0, 1]")
        if not 0 <= self.difficulty <= 1:
            raise ValueError(f"difficulty {self.difficulty} is not in [0, 1]")
        if self.size < 64:
            raise ValueError(f"size {self.size} is too small to draw objects in (at least 64)")

    @property
    def max_hidden(self) -> float:
        """The largest share of an object that others or the image's edge may hide."""
        return 0.15 + 0.6 * self.difficulty


@dataclass(frozen=True, kw_only=True)
class Palette:
    """What the objects of one scene have in common, so that telling them apart needs every word of a phrase.

    `sizes` are the one or two usual sizes in pixels; two are far enough apart for "small" and "large".
    """

    kinds: tuple[Kind, ...]
    colours: tuple[str, ...]
    patterns: tuple[str, ...]
    sizes: tuple[float, ...]
    size_spread: float
    shine: float
    relief: float
    greyscale: bool
    combinations: str


def pick(rng: Rng, options: tuple, count: int) -> tuple:
    """`count` different members of a tuple."""
    return tuple(options[int(index)] for index in rng.choice(len(options), min(count, len(options)), replace=False))


def sample_palette(rng: Rng, config: SceneConfig, sort: str, *, greyscale: bool) -> Palette:
    """A palette for a scene of one sort: "mixed", "crowd", "coins" or "cells"."""
    characters = rng.random() < 0.15
    kinds = pick(rng, _LIKELY, int(rng.integers(1, 5)))
    if characters:
        kinds = kinds[:1] + pick(rng, CHARACTERS, int(rng.integers(2, 4)))
    colours = pick(rng, COLOUR_WORDS, int(rng.integers(1, 5)))
    patterns = ("plain", *pick(rng, PATTERNS[1:], int(rng.integers(0, 3))))
    relief = one_of(rng, (0.0, 0.3, 0.7))
    largest = config.size * rng.uniform(0.16, 0.3 + 0.2 * (1 - config.difficulty))
    sizes: tuple[float, ...] = (largest,)
    spread = float(rng.uniform(0.1, 0.5))
    if rng.random() < 0.35:
        sizes, spread = (largest, largest / rng.uniform(2.1, 2.8)), 0.08
    if sort == "coins":
        kinds, colours, relief = (_BY_NOUN["coin"],), METAL_WORDS, float(rng.uniform(0.6, 1.0))
    if sort == "cells":
        kinds, colours = (_BY_NOUN["cell"],), pick(rng, _CELL_COLOURS, int(rng.integers(1, 3)))
    if sort != "mixed":
        kinds, patterns = kinds[:1], patterns[:2]
        sizes = (config.size * rng.uniform(0.08, 0.17 + 0.06 * (1 - config.difficulty)),)
        spread = float(rng.uniform(0.05, 0.35))
    return Palette(
        kinds=kinds,
        colours=colours,
        patterns=patterns,
        sizes=sizes,
        size_spread=spread,
        shine=one_of(rng, (0.0, 0.0, 0.25, 0.6)),
        relief=relief,
        greyscale=greyscale,
        combinations=config.combinations,
    )


def is_unseen(kind: Kind, colour: str) -> bool:
    """Whether any name of the kind is held out in this colour."""
    return any(is_unseen_pair(colour, noun) for noun in kind.nouns)


def sample_colour(rng: Rng, palette: Palette, kind: Kind) -> str:
    """A colour of the palette that the kind may have; any allowed one where the palette has none."""
    own = kind.colours or COLOUR_WORDS
    allowed = [c for c in own if palette.combinations == "unseen" or not is_unseen(kind, c)]
    return one_of(rng, [c for c in palette.colours if c in allowed] or allowed)


def sample_look(rng: Rng, palette: Palette, kind: Kind, colour: str) -> Look:
    """The surface of an object of that colour; greyscale scenes are painted grey from the start."""
    base = np.array(COLOURS[colour], np.float32)
    metal = colour in METAL_WORDS
    rgb = base * rng.uniform(0.72 if metal else 0.93, 1.15 if metal else 1.05) + rng.uniform(-1, 1, 3) * (
        3 if colour in _NEUTRAL else 9
    )
    accent = accent_of(colour)
    accent_rgb = np.array(COLOURS[accent], np.float32) + rng.uniform(-8, 8)
    if palette.greyscale:
        rgb, accent_rgb = np.repeat(rgb @ LUMA, 3), np.repeat(accent_rgb @ LUMA, 3)
    textured = 0.4 if kind.patterned else 0.9
    return Look(
        rgb=_rgb(rgb),
        pattern=one_of(rng, palette.patterns) if kind.patterned else "plain",
        accent_rgb=_rgb(accent_rgb),
        pattern_scale=float(rng.uniform(5, 10)),
        pattern_turn=float(rng.uniform(0, np.pi)),
        shine=palette.shine * float(rng.uniform(0.5, 1)) * (0.5 if metal else 1),
        relief=palette.relief * float(rng.uniform(0.7, 1)),
        texture=float(rng.uniform(0.02, 0.18 if metal else 0.1)) if rng.random() < textured else 0.0,
        texture_seed=int(rng.integers(2**22)),
    )


def accent_of(colour: str) -> str:
    """The colour of the marks of a pattern: white on dark, black on light, so that the marks show in grey as well."""
    return "black" if float(np.array(COLOURS[colour], np.float32) @ LUMA) > 125 else "white"


def _rgb(values: np.ndarray) -> tuple[float, float, float]:
    red, green, blue = np.clip(values, 0, 255).tolist()
    return red, green, blue


def sample_object(rng: Rng, palette: Palette, kind: Kind, colour: str) -> Placed:
    """One object at the origin, bent as far as its kind allows."""
    size = one_of(rng, palette.sizes) * float(np.exp(rng.uniform(-1, 1) * palette.size_spread))
    warp = kind.shear if rng.random() < 0.5 else 0.0
    turn = np.deg2rad(kind.rotation) * (
        rng.uniform(-1, 1) if kind.rotation > 90 else np.clip(rng.normal(0, 0.4), -1, 1)
    )
    return Placed(
        kind=kind,
        variant=int(rng.integers(kind.variants)),
        colour=colour,
        look=sample_look(rng, palette, kind, colour),
        x=0.0,
        y=0.0,
        size=max(size, 14.0),
        rotation=float(turn),
        aspect=float(rng.uniform(-1, 1)) * kind.aspect,
        shear=float(rng.uniform(-1, 1)) * kind.shear,
        flip=kind.flip and bool(rng.random() < 0.5),
        warp=(float(rng.uniform(-1, 1)) * warp, float(rng.uniform(-1, 1)) * warp),
    )


def scatter(rng: Rng, size: int) -> Iterator[tuple[float, float]]:
    """Endless positions all over the image."""
    while True:
        x, y = rng.uniform(0.04, 0.96, 2) * size
        yield float(x), float(y)


def packed(rng: Rng, size: int, pitch: float) -> Iterator[tuple[float, float]]:
    """Positions on a shaken, turned hexagonal grid with `pitch` pixels between neighbours."""
    count = int(size / pitch) + 2
    steps = np.arange(-count, count + 1)
    row, column = (grid.ravel() for grid in np.meshgrid(steps, steps))
    angle = rng.uniform(0, np.pi)
    points = np.stack([(column + 0.5 * (row % 2)) * pitch, row * pitch * 0.87], axis=1) + rng.normal(
        0, pitch * rng.uniform(0.0, 0.12), (len(row), 2)
    )
    points = points @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points += rng.uniform(0.35, 0.65, 2) * size
    inside = ((points > 0.02 * size) & (points < 0.98 * size)).all(axis=1)
    points = points[inside]
    order = np.argsort(np.hypot(*(points - size / 2).T)) if rng.random() < 0.5 else rng.permutation(len(points))
    for x, y in points[order]:
        yield float(x), float(y)


def candidates(rng: Rng, config: SceneConfig, palette: Palette, sort: str) -> Iterator[list[Placed]]:
    """The objects of a scene one after the other, each as the places to try for it."""
    if sort == "mixed":
        count = int(rng.integers(1, 5 + round(8 * config.difficulty)))
        places = scatter(rng, config.size)
        tries = 4
    else:
        count = int(rng.integers(10, 24 + round(26 * config.difficulty)))
        regular = rng.random() < 0.6
        pitch = palette.sizes[0] * rng.uniform(0.92, 1.5)
        places = packed(rng, config.size, pitch) if regular else scatter(rng, config.size)
        tries = 1 if regular else 3
    for _ in range(count):
        kind = one_of(rng, palette.kinds)
        placed = sample_object(rng, palette, kind, sample_colour(rng, palette, kind))
        spots = [place for place, _ in zip(places, range(tries), strict=False)]
        if not spots:
            return
        yield [replace(placed, x=x, y=y) for x, y in spots]


def unseen_candidates(rng: Rng, palette: Palette, size: int) -> Iterator[Placed]:
    """Endless objects in held-out pairs, of the palette's kinds where those have any."""
    while True:
        kind = one_of(rng, palette.kinds)
        held = [colour for colour in COLOUR_WORDS if is_unseen_pair(colour, kind.nouns[0])]
        if not held:
            kind = one_of(rng, _LIKELY)
            held = [colour for colour in COLOUR_WORDS if is_unseen_pair(colour, kind.nouns[0])]
        if held:
            x, y = rng.uniform(0.2, 0.8, 2) * size
            yield replace(sample_object(rng, palette, kind, one_of(rng, held)), x=float(x), y=float(y))
