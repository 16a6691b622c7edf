"""One image from one seed: choose, paint, photograph, and say what is in it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from jaxtyping import Float32, UInt8

from masklet.data.schema import Example, PhraseQuery
from masklet.scenes.camera import Camera, sample_camera, shoot
from masklet.scenes.canvas import Canvas
from masklet.scenes.grounds import crop_photo, draw_ground, draw_tray
from masklet.scenes.layout import KINDS, Palette, SceneConfig, accent_of, candidates, sample_palette, unseen_candidates
from masklet.scenes.objects.paint import COLOUR_WORDS, METAL_WORDS, NEAR_COLOURS, PATTERNS, Placed, draw_sprite
from masklet.scenes.phrases import THING, Description, Phrase, Vocabulary, is_unseen_pair, sample_queries
from masklet.scenes.words import words

_NOUNS = tuple(dict.fromkeys(noun for kind in KINDS for noun in kind.nouns if " " not in noun))
_CHARACTER_NOUNS = tuple(kind.nouns[0] for kind in KINDS if " " in kind.nouns[0])


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Everything about a scene that is not an object. `light` is the unit direction it travels in, y down.

    `shadow` is how far shadows fall as a share of the image, and how dark they are; None for none.
    """

    ground: Float32[np.ndarray, "3 height width"]
    light: tuple[float, float]
    shadow: tuple[float, float] | None
    camera: Camera

    @property
    def cast(self) -> tuple[float, float, float] | None:
        """The shadow in the canvas's terms: pixels right, pixels down, darkness."""
        if self.shadow is None:
            return None
        reach = self.shadow[0] * self.ground.shape[1]
        return reach * self.light[0], reach * self.light[1], self.shadow[1]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A painted scene before it is photographed: the objects in painting order are the canvas's objects."""

    setting: Setting
    palette: Palette
    objects: tuple[Placed, ...]
    canvas: Canvas


def sample_setting(
    rng: np.random.Generator, config: SceneConfig, ground: Float32[np.ndarray, "3 height width"], *, greyscale: bool
) -> Setting:
    """Light, shadow and camera for a ground."""
    angle = rng.uniform(0, 2 * np.pi)
    shadow = (float(rng.uniform(0.004, 0.02)), float(rng.uniform(0.15, 0.6))) if rng.random() < 0.6 else None
    return Setting(
        ground=ground,
        light=(float(np.cos(angle)), float(np.sin(angle))),
        shadow=shadow,
        camera=sample_camera(rng, 0.2 + 0.8 * config.difficulty, greyscale=greyscale),
    )


def build_scene(
    rng: np.random.Generator, config: SceneConfig, photo: UInt8[np.ndarray, "photo_height photo_width 3"] | None
) -> Scene:
    """Choose a scene and paint it, on a crop of `photo` where one is given."""
    shares = (config.crowd_share, config.coin_share, config.cell_share)
    if config.combinations == "unseen":  # held-out pairs need colours and many kinds
        sort, greyscale = "mixed", False
    else:
        sort = str(rng.choice(["crowd", "coins", "cells", "mixed"], p=[*shares, 1 - sum(shares)]))
        greyscale = bool(rng.random() < (0.5 if sort in ("coins", "cells") else config.greyscale_share))
    palette = sample_palette(rng, config, sort, greyscale=greyscale)
    if photo is not None:
        ground = crop_photo(rng, photo, config.size)
    elif sort in ("coins", "cells"):
        ground = draw_tray(rng, config.size)
    else:
        ground = draw_ground(rng, config.size)
    setting = sample_setting(rng, config, ground, greyscale=greyscale)
    canvas = Canvas(ground.copy())
    things: Iterator[Iterable[Placed]] = candidates(rng, config, palette, sort)
    if config.combinations == "unseen":
        things = chain([unseen_candidates(rng, palette, config.size)], things)
    objects = canvas.place_all(
        things, lambda placed: draw_sprite(placed, setting.light), config.max_hidden, setting.cast
    )
    return Scene(setting=setting, palette=palette, objects=tuple(objects), canvas=canvas)


def describe(placed: Placed, *, greyscale: bool) -> Description:
    """What may be said of a drawn object; in a greyscale image its colour is not known."""
    patterned = placed.look.pattern != "plain"
    accents = {accent_of(placed.colour)} if patterned else set()
    return Description(
        nouns=placed.kind.nouns,
        maybe_nouns=frozenset().union(*(words().also_called.get(noun, frozenset()) for noun in placed.kind.nouns)),
        colour=None if greyscale else placed.colour,
        maybe_colours=NEAR_COLOURS.get(placed.colour, frozenset()) | accents,
        pattern=placed.look.pattern,
        extent=placed.size,
    )


def scene_vocabulary(rng: np.random.Generator, config: SceneConfig, palette: Palette) -> Vocabulary:
    """Words of false phrases: any noun, and the scene's own words more often than the rest."""
    own = tuple(noun for kind in palette.kinds for noun in kind.nouns)
    strangers = tuple(str(noun) for noun in rng.choice(_CHARACTER_NOUNS, 4))
    colours = () if palette.greyscale else COLOUR_WORDS + palette.colours * 3
    if not palette.greyscale and any(kind.colours for kind in palette.kinds):
        colours += METAL_WORDS * 3
    return Vocabulary(
        nouns=_NOUNS + strangers + own * 3,
        colours=colours,
        patterns=PATTERNS[1:] + palette.patterns if any(kind.patterned for kind in palette.kinds) else (),
        unseen_pairs=config.combinations == "unseen",
    )


def query_scene(
    rng: np.random.Generator, config: SceneConfig, descriptions: Sequence[Description], vocabulary: Vocabulary
) -> tuple[PhraseQuery, ...]:
    """The questions about a scene; held-out pairs come first where they are wanted."""
    first = [
        Phrase(description.nouns[0], description.colour)
        for description in descriptions
        if vocabulary.unseen_pairs and is_unseen_pair(description.colour, description.nouns[0])
    ]
    num_queries = int(rng.integers(config.max_queries // 2, config.max_queries + 1))
    return sample_queries(rng, descriptions, vocabulary, num_queries, config.negative_share, first)


def photograph(
    rng: np.random.Generator, setting: Setting, canvas: Canvas, queries: tuple[PhraseQuery, ...], source: str
) -> Example:
    """The image of a painted scene with its labels."""
    masks = canvas.masks()
    return Example(
        image=shoot(rng, canvas.pixels, setting.camera),
        boxes_xyxy=canvas.boxes(),
        masks=masks,
        mask_valid=np.ones(len(masks), bool),
        queries=queries,
        source=source,
    )


def render_scene(
    seed: int, config: SceneConfig, photo: UInt8[np.ndarray, "photo_height photo_width 3"] | None = None
) -> Example:
    """A generated scene: the same seed, config and ground photo always give the same example.

    A `photo` is taken to show none of the things that are drawn here; leave it out where that is not known.
    """
    rng = np.random.default_rng([seed, 1])
    scene = build_scene(rng, config, photo)
    descriptions = [describe(placed, greyscale=scene.palette.greyscale) for placed in scene.objects]
    vocabulary = scene_vocabulary(rng, config, scene.palette)
    if photo is not None:  # a photo without mugs still has red things
        vocabulary = replace(vocabulary, clear_of_ground=frozenset(vocabulary.nouns) - {THING})
    queries = query_scene(rng, config, descriptions, vocabulary)
    return photograph(rng, scene.setting, scene.canvas, queries, "synthetic")
