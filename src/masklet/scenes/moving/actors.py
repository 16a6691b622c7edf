"""Objects of clips: an image with alpha that follows a course, and the world it is filmed in, frame by frame.

An actor knows nothing of kinds or names; drawn objects, cut-outs and things cut from photos all become one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from masklet.scenes.canvas import Canvas
from masklet.scenes.moving.motion import CameraPath, Course, View, total_at
from masklet.scenes.objects.paint import Sprite, alpha_sprite, alpha_tiles, rotation

_CELL = 24  # pixels between the points at which a deformation is computed


@dataclass(frozen=True, kw_only=True)
class Actor:
    """An image in motion. `tiles` hold it at full, half and quarter scale, colours multiplied by alpha (as CMYK).

    At time 0 its centre is at (`x`, `y`) of the world and one pixel of the full tile is `scale` pixels of the world.
    """

    tiles: tuple[Image.Image, ...]
    x: float
    y: float
    scale: float = 1.0
    rotation: float = 0.0
    flip: bool = False
    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    course: Course = field(default_factory=Course)

    @property
    def size(self) -> float:
        """Long side in pixels at time 0."""
        return self.scale * max(self.tiles[0].size)


@dataclass(frozen=True, kw_only=True)
class World:
    """The ground (larger than the image), what is on it in painting order, and how it is filmed.

    `pace` is how much of the courses' time passes from one frame to the next.
    """

    ground: Image.Image
    actors: tuple[Actor, ...]
    camera: CameraPath
    pace: float
    size: int
    cast: tuple[float, float, float] | None
    greyscale: bool

    def film(self, num_frames: int) -> Iterator[tuple[Canvas, View]]:
        """Each frame painted, with the view it was painted from. The actors are the canvas's objects."""
        for frame in range(num_frames):
            time = frame * self.pace
            view = self.camera.at(time)
            canvas = Canvas(self._ground(view))
            for actor in self.actors:
                canvas.paint(draw_actor(actor, view, time, self.size, greyscale=self.greyscale), self.cast)
            yield canvas, view

    def _ground(self, view: View) -> Float32[np.ndarray, "3 size size"]:
        inverse = np.linalg.inv(view.matrix)
        origin = np.array([view.x, view.y]) - inverse @ np.full(2, self.size / 2)
        coefficients = np.column_stack([inverse, origin]).ravel().tolist()
        seen = self.ground.transform(
            (self.size, self.size), Image.Transform.AFFINE, coefficients, Image.Resampling.BILINEAR
        )
        return np.asarray(seen).transpose(2, 0, 1).astype(np.float32, order="C")


def make_ground(pixels: Float32[np.ndarray, "3 height width"], margin: int) -> Image.Image:
    """A ground of values in [0, 255] with its mirror image all around, so that a moving camera never sees an end."""
    whole = np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0)
    return Image.fromarray(np.pad(whole, ((margin, margin), (margin, margin), (0, 0)), mode="symmetric"))


def make_tiles(
    rgb: UInt8[np.ndarray, "height width 3"], alpha: UInt8[np.ndarray, "height width"]
) -> tuple[Image.Image, ...]:
    """An image and its alpha as the tiles of an actor, with a clear rim so that bending finds nothing beyond it."""
    return alpha_tiles(np.pad(np.dstack([rgb, alpha]), ((2, 2), (2, 2), (0, 0))))


def cut_out(
    image: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]
) -> tuple[tuple[Image.Image, ...], float, float]:
    """Tiles of one object of an image (its mask is not empty) and the pixel its centre is at."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    tiles = make_tiles(image[window], mask[window].astype(np.uint8) * 255)
    return tiles, float(columns[0] + columns[-1] + 1) / 2, float(rows[0] + rows[-1] + 1) / 2


def draw_actor(actor: Actor, view: View, time: float, size: int, *, greyscale: bool) -> Sprite:
    """What of an actor is inside an image of `size` pixels at `time`; a sprite of one empty pixel for nothing."""
    # The way from unit coordinates of the tile to pixels around its centre
    course, bend = actor.course, actor.course.bend
    squeeze = np.exp(total_at(course.squeeze, time) / 2)
    half = np.array(actor.tiles[0].size) / 2 * actor.scale * np.exp(total_at(course.growth, time))
    sides = np.diag(half * [squeeze * (-1 if actor.flip else 1), 1 / squeeze])
    matrix = view.matrix @ rotation(actor.rotation + total_at(course.turn, time)) * sides
    # The window of the image that it can reach
    world = np.array([actor.x + total_at(course.x, time), actor.y + total_at(course.y, time)])
    centre = view.matrix @ (world - (view.x, view.y)) + size / 2
    reach = np.abs(matrix).sum(axis=1) * (1 + 2 * bend.amplitude if bend else 1)
    left, top = (int(edge) for edge in np.clip(np.floor(centre - reach), 0, size))
    right, bottom = (int(edge) for edge in np.clip(np.ceil(centre + reach), 0, size))
    if min(right - left, bottom - top) < 2:
        return Sprite(np.zeros((3, 1, 1), np.float32), np.zeros((1, 1), np.float32), 0, 0)
    # The points of the tile that a grid over the window is read from
    shrink = np.sqrt(abs(np.linalg.det(matrix)) * 4 / (actor.tiles[0].width * actor.tiles[0].height))
    tile = actor.tiles[0 if shrink > 0.6 else 1 if shrink > 0.3 else 2]
    inverse = np.linalg.inv(matrix)
    columns, rows = _cuts(left, right), _cuts(top, bottom)
    points = np.stack(np.meshgrid(columns, rows), axis=-1) - centre
    unit = points @ inverse.T
    if bend is not None:
        unit = bend.shift(unit, time)
    source = (unit + 1) / 2 * tile.size
    # Pillow's mesh: each cell of the result with its corners in the tile, anticlockwise from the top left
    corners = np.concatenate([source[:-1, :-1], source[1:, :-1], source[1:, 1:], source[:-1, 1:]], axis=-1).tolist()
    x, y = (columns - left).tolist(), (rows - top).tolist()
    quads = [
        ((x[j], y[i], x[j + 1], y[i + 1]), tuple(corners[i][j])) for i in range(len(y) - 1) for j in range(len(x) - 1)
    ]
    moved = tile.transform(
        (right - left, bottom - top),
        Image.Transform.MESH,
        quads,
        Image.Resampling.BILINEAR,
    )
    return alpha_sprite(np.asarray(moved), left, top, actor.gain, greyscale=greyscale)


def _cuts(low: int, high: int) -> np.ndarray:
    """Whole numbers from low to high about `_CELL` apart."""
    return np.unique(np.linspace(low, high, 2 + (high - low) // _CELL).round().astype(int))
