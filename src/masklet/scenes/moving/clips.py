"""Clips of generated and composed scenes: objects that move, turn, bend, hide each other, leave and come back.

`render_clip` films what `render_scene` draws, `compose_clip` what `compose_scene` pastes. Masks are the visible pixels,
exact, and an object keeps its index for ever.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from masklet.data.schema import Clip, PhraseQuery
from masklet.scenes.cutouts import Pasted, build_composition, query_composition
from masklet.scenes.layout import SceneConfig
from masklet.scenes.library import CutoutLibrary
from masklet.scenes.moving.actors import Actor, World, make_ground, make_tiles
from masklet.scenes.moving.motion import sample_camera_path, sample_course, swap_courses
from masklet.scenes.objects.paint import Placed, draw_sprite
from masklet.scenes.phrases import Description
from masklet.scenes.scene import Setting, build_scene, describe, photograph, query_scene, scene_vocabulary

MAX_OBJECTS = 10
_TWIN_SHARE = 0.5
_SWAP_SHARE = 0.5
_CAMERA_REACH = 0.2  # of the image


def render_clip(seed: int, config: SceneConfig, num_frames: int) -> Clip:
    """A generated clip: what `render_scene` draws, in motion; the same arguments always give the same clip.

    Size words are those of the first frame. Objects pass over and hide each other in painting order.
    """
    rng = np.random.default_rng([seed, 3])
    scene = build_scene(rng, config, None)
    placed = scene.objects[:MAX_OBJECTS]
    greyscale = scene.palette.greyscale
    actors = [_drawn_actor(rng, one, scene.setting, config.size) for one in placed]
    descriptions = [describe(one, greyscale=greyscale) for one in placed]
    actors, descriptions = _cast_of(rng, actors, descriptions, config.size)
    queries = query_scene(rng, config, descriptions, scene_vocabulary(rng, config, scene.palette))
    world = _world(rng, scene.setting, actors, config.size)
    return film(rng, world, scene.setting, queries, num_frames, "synthetic")


def compose_clip(seed: int, library: CutoutLibrary, config: SceneConfig, num_frames: int) -> Clip:
    """A composed clip: what `compose_scene` pastes, in motion; the same arguments always give the same clip."""
    rng = np.random.default_rng([seed, 4])
    scene = build_composition(rng, library, config)
    drawn = [_drawn_actor(rng, placed, scene.setting, config.size) for placed in scene.drawn]
    pasted = [_pasted_actor(rng, one, library, config.size) for one in scene.pasted]
    actors, descriptions = _cast_of(rng, drawn + pasted, list(scene.descriptions), config.size)
    queries = query_composition(rng, config, library, descriptions, scene.clear_of_ground)
    world = _world(rng, scene.setting, actors, config.size)
    return film(rng, world, scene.setting, queries, num_frames, "cutouts")


def film(
    rng: np.random.Generator,
    world: World,
    setting: Setting,
    queries: tuple[PhraseQuery, ...],
    num_frames: int,
    source: str,
) -> Clip:
    """The frames of a world, photographed; the objects of a query are those that can be seen in the frame."""
    frames = []
    for canvas, view in world.film(num_frames):
        red, green, blue = (gain * view.brightness for gain in setting.camera.gain)
        camera = replace(setting.camera, gain=(red, green, blue))
        example = photograph(rng, replace(setting, camera=camera), canvas, queries, source)
        seen = [bool(mask.any()) for mask in example.masks]
        visible = (replace(q, object_index=tuple(i for i in q.object_index if seen[i])) for q in queries)
        frames.append(replace(example, queries=tuple(visible)))
    return Clip(frames=tuple(frames))


def _drawn_actor(rng: np.random.Generator, placed: Placed, setting: Setting, size: int) -> Actor:
    sprite = draw_sprite(placed, setting.light)
    return Actor(
        tiles=make_tiles(sprite.rgb.transpose(1, 2, 0).astype(np.uint8), (sprite.cover * 255).astype(np.uint8)),
        x=placed.x,
        y=placed.y,
        course=sample_course(rng, size, spins=placed.kind.rotation > 90),
    )


def _pasted_actor(rng: np.random.Generator, pasted: Pasted, library: CutoutLibrary, size: int) -> Actor:
    tiles = library.tiles(pasted.cutout)
    return Actor(
        tiles=tiles,
        x=pasted.x,
        y=pasted.y,
        scale=pasted.size / max(tiles[0].size),
        rotation=pasted.rotation,
        flip=pasted.flip,
        gain=pasted.gain,
        course=sample_course(rng, size, spins=False),
    )


def _cast_of(
    rng: np.random.Generator, actors: list[Actor], descriptions: list[Description], size: int
) -> tuple[list[Actor], list[Description]]:
    """At most `MAX_OBJECTS`, sometimes with a twin of one of them, and sometimes two that change places."""
    actors, descriptions = actors[:MAX_OBJECTS], descriptions[:MAX_OBJECTS]
    if actors and rng.random() < _TWIN_SHARE:
        for _ in range(int(rng.integers(1, 3))):
            index = int(rng.integers(len(actors)))
            x, y = (rng.uniform(0.1, 0.9, 2) * size).tolist()
            actors.append(replace(actors[index], x=x, y=y, course=sample_course(rng, size, spins=False)))
            descriptions.append(descriptions[index])
    return exchange(rng, actors), descriptions


def exchange(rng: np.random.Generator, actors: Sequence[Actor]) -> list[Actor]:
    """The same actors, two of which change places in half of all cases."""
    if len(actors) < 2 or rng.random() >= _SWAP_SHARE:
        return list(actors)
    i, j = (int(index) for index in rng.permutation(len(actors))[:2])
    one, other = actors[i], actors[j]
    first, second = swap_courses(rng, one.course, other.course, (other.x - one.x, other.y - one.y))
    changed = {i: replace(one, course=first), j: replace(other, course=second)}
    return [changed.get(index, actor) for index, actor in enumerate(actors)]


def sample_pace(rng: np.random.Generator) -> float:
    """How fast a clip runs, from half to two and a half times as fast as usual."""
    return float(np.exp(rng.uniform(np.log(0.5), np.log(2.5))))


def _world(rng: np.random.Generator, setting: Setting, actors: list[Actor], size: int) -> World:
    margin = size // 2
    return World(
        ground=make_ground(setting.ground, margin),
        actors=tuple(replace(actor, x=actor.x + margin, y=actor.y + margin) for actor in actors),
        camera=sample_camera_path(rng, size, (size / 2 + margin, size / 2 + margin), _CAMERA_REACH * size),
        pace=sample_pace(rng),
        size=size,
        cast=setting.cast,
        greyscale=setting.camera.greyscale,
    )
