"""The objects of a scene set in motion: short clips with exact masks and lasting identity."""

from dataclasses import dataclass, replace

import numpy as np

from masklet.data.schema import Example, PhraseQuery
from masklet.data.synthetic.canvas import Canvas
from masklet.data.synthetic.layout import SceneConfig
from masklet.data.synthetic.paint import Placed, draw_sprite
from masklet.data.synthetic.scene import Scene, build_scene, describe, photograph, query_scene, scene_vocabulary


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Frames whose objects keep their index: the same index is the same object, an empty mask says it is not seen.

    The phrases are the same in all frames; their answers are the objects that can be seen in the frame.
    """

    frames: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Motion:
    """Change a frame: pixels, radians, and the logarithm of the size."""

    x: float
    y: float
    turn: float
    growth: float

    def at(self, placed: Placed, frame: int) -> Placed:
        """Where the object is `frame` frames later."""
        return replace(
            placed,
            x=placed.x + frame * self.x,
            y=placed.y + frame * self.y,
            rotation=placed.rotation + frame * self.turn,
            size=placed.size * float(np.exp(frame * self.growth)),
        )


def _sample_motion(rng: np.random.Generator, placed: Placed, size: int) -> Motion:
    """Up to 4 % of the picture a frame; only kinds that may stand at any angle keep turning."""
    x, y = (rng.normal(0, 0.015, 2).clip(-0.04, 0.04) * size).tolist()
    turn = float(rng.normal(0, 0.06)) if placed.kind.rotation > 90 else 0.0
    return Motion(x=x, y=y, turn=turn, growth=float(rng.normal(0, 0.006)))


def render_clip(seed: int, config: SceneConfig, num_frames: int) -> Clip:
    """A generated clip: what `render_scene` draws, moving steadily; the same arguments always give the same clip.

    Size words are those of the first frame. Objects pass over and hide each other in painting order.
    """
    rng = np.random.default_rng([seed, 3])
    scene = build_scene(rng, config, None)
    descriptions = [describe(placed, greyscale=scene.palette.greyscale) for placed in scene.objects]
    queries = query_scene(rng, config, descriptions, scene_vocabulary(rng, config, scene.palette))
    motions = [_sample_motion(rng, placed, config.size) for placed in scene.objects]
    return Clip(frames=tuple(_draw_frame(rng, scene, motions, queries, frame) for frame in range(num_frames)))


def _draw_frame(
    rng: np.random.Generator, scene: Scene, motions: list[Motion], queries: tuple[PhraseQuery, ...], frame: int
) -> Example:
    setting = scene.setting
    canvas = Canvas(setting.ground.copy())
    for placed, motion in zip(scene.objects, motions, strict=True):
        canvas.paint(draw_sprite(motion.at(placed, frame), setting.light), setting.cast)
    example = photograph(rng, setting, canvas, queries, "synthetic")
    seen = [bool(mask.any()) for mask in example.masks]
    visible = (replace(q, object_index=tuple(i for i in q.object_index if seen[i])) for q in queries)
    return replace(example, queries=tuple(visible))
