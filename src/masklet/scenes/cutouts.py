"""Scenes composed of cut-outs on photos or drawn grounds, sometimes together with drawn objects."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from masklet.data.schema import Example, PhraseQuery
from masklet.scenes.canvas import Canvas
from masklet.scenes.grounds import crop_photo, draw_ground
from masklet.scenes.layout import Palette, SceneConfig, packed, sample_colour, sample_object, sample_palette, scatter
from masklet.scenes.library import Cutout, CutoutLibrary
from masklet.scenes.noise import one_of
from masklet.scenes.objects.paint import (
    COLOUR_WORDS,
    COLOURS,
    PATTERNS,
    Placed,
    Sprite,
    alpha_sprite,
    draw_sprite,
    resample,
    rotation,
)
from masklet.scenes.phrases import Description, Vocabulary, is_unseen_pair
from masklet.scenes.scene import Setting, describe, photograph, query_scene, sample_setting
from masklet.scenes.words import words

__all__ = ["CutoutLibrary", "compose_scene"]

_PHOTO_SHARE = 0.6
_DRAWN_SHARE = 0.25
_ONE_NAME_SHARE = 0.75  # of rows; in others what stands beside may have another name


@dataclass(frozen=True, kw_only=True)
class Pasted:
    """One cut-out with everything needed to draw it; `size` is its long side in pixels, `gain` a factor a channel."""

    cutout: Cutout
    x: float
    y: float
    size: float
    rotation: float
    flip: bool
    gain: tuple[float, float, float]


def draw_cutout(pasted: Pasted, library: CutoutLibrary, *, greyscale: bool) -> Sprite:
    """Resample a cut-out to its place."""
    tiles = library.tiles(pasted.cutout)
    longest = max(tiles[0].size)
    tile = tiles[0] if pasted.size > longest / 2 else tiles[1] if pasted.size > longest / 4 else tiles[2]
    sides = np.array([tiles[0].width * (-1 if pasted.flip else 1), tiles[0].height]) * pasted.size / longest / 2
    channels, left, top, _ = resample(tile, rotation(pasted.rotation) * sides, pasted.x, pasted.y, (0.0, 0.0))
    return alpha_sprite(channels, left, top, pasted.gain, greyscale=greyscale)


def describe_cutout(pasted: Pasted, library: CutoutLibrary, *, greyscale: bool) -> Description:
    """What may be said of a cut-out: its names, and a colour only where a name of its own says one."""
    cutout = pasted.cutout
    return Description(
        nouns=cutout.nouns,
        maybe_nouns=library.unclear_nouns(cutout),
        colour=None if greyscale else cutout.colour,
        maybe_colours=frozenset(COLOURS),
        pattern=None,
        extent=pasted.size,
    )


def _choose_cutouts(rng: np.random.Generator, library: CutoutLibrary) -> list[Cutout]:
    """The sorts of a scene: a few names, some of them under the same broader word, and several images of each."""
    names = [one_of(rng, library.names)]
    for _ in range(int(rng.integers(0, 4))):
        shared = [noun for noun in library.by_noun[names[0]][0].nouns if noun in words().broad]
        related = library.siblings[one_of(rng, shared)] if shared and rng.random() < 0.5 else library.names
        names.append(one_of(rng, related))
    chosen = [one_of(rng, library.by_noun[name]) for name in names for _ in range(int(rng.integers(1, 4)))]
    return [cutout for cutout in chosen if not any(is_unseen_pair(cutout.colour, noun) for noun in cutout.nouns)]


def _pastings(
    rng: np.random.Generator, config: SceneConfig, library: CutoutLibrary, cutouts: list[Cutout]
) -> Iterator[list[Pasted]]:
    """The cut-outs of a scene one after the other, each as the places to try for it."""
    # Nothing is drawn where there are no rows: those scenes stay the ones that figures were measured on
    if config.row_share and rng.random() < config.row_share:
        yield from ([one] for one in _row(rng, config, library, cutouts))
        return
    crowd = rng.random() < config.crowd_share
    if crowd:
        count = int(rng.integers(6, 12 + round(14 * config.difficulty)))
        base = config.size * rng.uniform(0.1, 0.2)
        spread, tries = 0.2, 1
        cutouts = [cutout for cutout in cutouts if cutout.nouns[0] == cutouts[0].nouns[0]]
        places = packed(rng, config.size, base * rng.uniform(0.8, 1.4))
    else:
        count = int(rng.integers(1, 5 + round(6 * config.difficulty)))
        base = config.size * rng.uniform(0.2, 0.42 + 0.15 * (1 - config.difficulty))
        spread, tries = float(rng.uniform(0.1, 0.6)), 4
        places = scatter(rng, config.size)
    for _ in range(count):
        first = Pasted(
            cutout=one_of(rng, cutouts),
            x=0.0,
            y=0.0,
            size=max(20.0, base * float(np.exp(rng.uniform(-1, 0.4) * spread))),
            rotation=float(rng.normal(0, 0.25)) if rng.random() < 0.8 else float(rng.uniform(-np.pi, np.pi)),
            flip=bool(rng.random() < 0.5),
            gain=_gain(rng),
        )
        yield [replace(first, x=x, y=y) for (x, y), _ in zip(places, range(tries), strict=False)]


def _row(rng: np.random.Generator, config: SceneConfig, library: CutoutLibrary, cutouts: list[Cutout]) -> list[Pasted]:
    """Two to five large cut-outs on one ground line, each close to the one before or over a part of it."""
    if rng.random() < _ONE_NAME_SHARE:
        cutouts = [cutout for cutout in cutouts if cutout.nouns[0] == cutouts[0].nouns[0]]
    count = int(rng.integers(2, 6))
    base, apart = config.size * float(rng.uniform(0.3, 0.75)) * (2 / count) ** 0.5, float(rng.uniform(0.45, 1.0))
    row: list[Pasted] = []
    end = 0.0
    for _ in range(count):
        cutout = one_of(rng, cutouts)
        sides = np.array(library.tiles(cutout)[0].size)
        size = max(20.0, base * float(np.exp(rng.normal(0, 0.15))))
        width, height = (sides * size / sides.max()).tolist()
        # It begins about where the one before ends, or before that
        x = end + width * (apart * float(rng.uniform(0.8, 1.1)) - 0.5)
        end = x + width / 2
        y = base * float(rng.normal(0, 0.06)) - height / 2
        turned, flipped = float(rng.normal(0, 0.08)), bool(rng.random() < 0.5)
        row.append(Pasted(cutout=cutout, x=x, y=y, size=size, rotation=turned, flip=flipped, gain=_gain(rng)))
    # About the middle of the image, the ground line in its lower part
    left = config.size * float(rng.uniform(0.35, 0.65)) - (row[0].x + row[-1].x) / 2
    ground = config.size * float(rng.uniform(0.6, 1.0))
    moved = [replace(one, x=one.x + left, y=one.y + ground) for one in row]
    return [moved[place] for place in rng.permutation(count)] if rng.random() < 0.5 else moved


def _gain(rng: np.random.Generator) -> tuple[float, float, float]:
    red, green, blue = (rng.uniform(0.75, 1.15) * rng.uniform(0.95, 1.05, 3)).tolist()
    return red, green, blue


def _drawings(rng: np.random.Generator, config: SceneConfig, palette: Palette) -> Iterator[list[Placed]]:
    """A few drawn objects to go among the cut-outs, each with one place."""
    places = scatter(rng, config.size)
    for _ in range(int(rng.integers(1, 4))):
        kind = one_of(rng, palette.kinds)
        x, y = next(places)
        yield [replace(sample_object(rng, palette, kind, sample_colour(rng, palette, kind)), x=x, y=y)]


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A composed scene before it is photographed: drawn objects, then cut-outs, are the canvas's objects."""

    setting: Setting
    canvas: Canvas
    drawn: tuple[Placed, ...]
    pasted: tuple[Pasted, ...]
    descriptions: tuple[Description, ...]
    clear_of_ground: frozenset[str] | None


def build_composition(rng: np.random.Generator, library: CutoutLibrary, config: SceneConfig) -> Composition:
    """Choose a composed scene and paint it."""
    config = replace(config, combinations="seen")
    greyscale = bool(rng.random() < config.greyscale_share)
    clear = None
    if library.backgrounds and rng.random() < _PHOTO_SHARE:
        background = one_of(rng, library.backgrounds)
        ground, clear = crop_photo(rng, library.photo(background), config.size), library.clear_of(background)
    else:
        ground = draw_ground(rng, config.size)
    setting = sample_setting(rng, config, ground, greyscale=greyscale)
    canvas = Canvas(ground.copy())
    palette = sample_palette(rng, config, "mixed", greyscale=greyscale)
    drawn = canvas.place_all(
        _drawings(rng, config, palette) if rng.random() < _DRAWN_SHARE else (),
        lambda placed: draw_sprite(placed, setting.light),
        config.max_hidden,
        setting.cast,
    )
    cutouts = _choose_cutouts(rng, library)
    pasted = canvas.place_all(
        _pastings(rng, config, library, cutouts) if cutouts else (),
        lambda one: draw_cutout(one, library, greyscale=greyscale),
        config.max_hidden,
        setting.cast,
    )
    said = [describe(placed, greyscale=greyscale) for placed in drawn]
    return Composition(
        setting=setting,
        canvas=canvas,
        drawn=tuple(drawn),
        pasted=tuple(pasted),
        descriptions=(*said, *(describe_cutout(one, library, greyscale=greyscale) for one in pasted)),
        clear_of_ground=clear,
    )


def query_composition(
    rng: np.random.Generator,
    config: SceneConfig,
    library: CutoutLibrary,
    descriptions: Sequence[Description],
    clear: frozenset[str] | None,
) -> tuple[PhraseQuery, ...]:
    """The queries of a composed scene; nothing but `clear` is denied of a photo it lies on.

    Negatives are names of other cut-outs, above all those under the same broader words as what is there.
    """
    shared = [
        noun
        for description in descriptions
        for noun in description.nouns
        if noun in words().broad & library.siblings.keys()
    ]
    near = [one_of(rng, library.siblings[one_of(rng, shared)]) for _ in range(12)] if shared else []
    far = [one_of(rng, library.names) for _ in range(60)]
    nouns = [noun for noun in near + far if clear is None or noun in clear]
    vocabulary = Vocabulary(
        nouns=tuple(nouns or far),
        colours=COLOUR_WORDS if any(description.colour for description in descriptions) else (),
        patterns=PATTERNS[1:] if any(description.pattern for description in descriptions) else (),
        unseen_pairs=False,
        clear_of_ground=clear,
    )
    return query_scene(rng, config, descriptions, vocabulary)


def compose_scene(seed: int, library: CutoutLibrary, config: SceneConfig) -> Example:
    """A composed scene: the same seed, library and config always give the same example.

    Combinations are always "seen" ones; phrases mean drawn objects and cut-outs of a name alike.
    """
    rng = np.random.default_rng([seed, 2])
    scene = build_composition(rng, library, config)
    queries = query_composition(rng, config, library, scene.descriptions, scene.clear_of_ground)
    return photograph(rng, scene.setting, scene.canvas, queries, "cutouts")
