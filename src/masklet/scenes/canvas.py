"""The image being painted: pixels, and for every pixel whose it is. Masks and boxes are read off the latter."""

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np
from jaxtyping import Bool, Float32
from scipy import ndimage

from masklet.scenes.objects.paint import Sprite

MIN_VISIBLE_PIXELS = 16
_MIN_CONTRAST = 22.0

Thing = TypeVar("Thing")


class Canvas:
    """Paints sprites one over the other and refuses those that would not be seen or would hide others."""

    def __init__(self, ground: Float32[np.ndarray, "3 height width"]) -> None:
        self.pixels = np.ascontiguousarray(ground)
        self.owner: np.ndarray = np.full(ground.shape[1:], -1, np.int16)
        self.whole: list[int] = []
        self.visible: list[int] = []

    def place(self, sprite: Sprite, max_hidden: float, shadow: tuple[float, float, float] | None) -> bool:
        """Paint if the sprite is in the image, stands out, and leaves `1 - max_hidden` of everything visible."""
        window = self._window(sprite.cover, sprite.left, sprite.top)
        if window is None:
            return False
        rows, columns, cover = window
        solid = cover > 0.5
        inside, whole = int(solid.sum()), int((sprite.cover > 0.5).sum())
        if inside < MIN_VISIBLE_PIXELS or inside < (1 - max_hidden) * whole:
            return False
        owners = self.owner[rows, columns][solid]
        hidden = np.bincount(owners + 1, minlength=len(self.whole) + 1)[1:]
        for index in np.flatnonzero(hidden):
            left = self.visible[index] - hidden[index]
            if left < max(MIN_VISIBLE_PIXELS, (1 - max_hidden) * self.whole[index]):
                return False
        # Mean difference in grey levels between the sprite and what it covers, from every fourth pixel
        weight = cover[::4, ::4]
        above = self._paint_of(sprite, rows, columns)[:, ::4, ::4]
        difference = np.abs(above - self.pixels[:, rows, columns][:, ::4, ::4])
        if float((weight * difference).sum() / max(3 * float(weight.sum()), 1e-3)) < _MIN_CONTRAST:
            return False
        self.paint(sprite, shadow)
        return True

    def place_all(
        self,
        things: Iterable[Iterable[Thing]],
        draw: Callable[[Thing], Sprite],
        max_hidden: float,
        shadow: tuple[float, float, float] | None,
    ) -> list[Thing]:
        """Paint each thing at the first of its places where `place` allows it; those that found one."""
        placed = (
            next((option for option in options if self.place(draw(option), max_hidden, shadow)), None)
            for options in things
        )
        return [thing for thing in placed if thing is not None]

    def paint(self, sprite: Sprite, shadow: tuple[float, float, float] | None) -> None:
        """Paint whatever of the sprite is in the image, over everything else. It becomes the next object.

        `shadow` is how far it falls to the right and down in pixels, and how dark it is in [0, 1].
        """
        index = len(self.whole)
        self.whole.append(int((sprite.cover > 0.5).sum()))
        self.visible.append(0)
        window = self._window(sprite.cover, sprite.left, sprite.top)
        if window is None:
            return
        if shadow is not None:
            right, down, dark = shadow
            for far in (0.5, 0.8, 1.1):  # three steps away from the outline: cheaper than a blur and as soft
                cast = self._window(sprite.cover, sprite.left + round(far * right), sprite.top + round(far * down))
                if cast is not None:
                    self.pixels[:, cast[0], cast[1]] *= 1 - np.float32(dark / 3) * cast[2]
        rows, columns, cover = window
        owner, solid = self.owner[rows, columns], cover > 0.5
        for other, count in enumerate(np.bincount(owner[solid] + 1)[1:]):
            self.visible[other] -= int(count)
        owner[solid] = index
        self.visible[index] = int(solid.sum())
        below = self.pixels[:, rows, columns]
        below += cover * (self._paint_of(sprite, rows, columns) - below)

    def masks(self) -> Bool[np.ndarray, "object height width"]:
        """The visible pixels of every painted object; no two overlap."""
        return self.owner[None] == np.arange(len(self.whole), dtype=np.int16)[:, None, None]

    def boxes(self) -> Float32[np.ndarray, "object 4"]:
        """Tight xyxy boxes of the visible pixels; zeros for an object that cannot be seen."""
        boxes = np.zeros((len(self.whole), 4), np.float32)
        for index, found in enumerate(ndimage.find_objects(self.owner + 1, max_label=len(self.whole))):
            if found is not None:
                rows, columns = found
                boxes[index] = (columns.start, rows.start, columns.stop, rows.stop)
        return boxes

    def _window(self, cover: np.ndarray, left: int, top: int) -> tuple[slice, slice, np.ndarray] | None:
        """The rows and columns of the image that a cover at (left, top) meets, and its part there."""
        height, width = self.owner.shape
        rows = slice(max(0, top), min(height, top + cover.shape[0]))
        columns = slice(max(0, left), min(width, left + cover.shape[1]))
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return None
        return rows, columns, cover[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]

    @staticmethod
    def _paint_of(sprite: Sprite, rows: slice, columns: slice) -> np.ndarray:
        across = slice(columns.start - sprite.left, columns.stop - sprite.left)
        return sprite.rgb[:, rows.start - sprite.top : rows.stop - sprite.top, across]
