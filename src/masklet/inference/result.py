"""What every result can do, of an image, of a frame, or of clicks: be looked at, chosen from, compared, and written.

Masks are taken one at a time throughout, so that a hundred instances on a large photo fit in memory.
"""

import base64
import html
import io
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float32, Int64
from PIL import Image, ImageShow

from masklet.errors import InputError
from masklet.ops.masks import rle_encode
from masklet.ops.runs import RunTable, iou_table
from masklet.protocols import Drawable, Pixels

CLICKED = "object"  # the phrase of what was clicked and has none
Self = TypeVar("Self")
Row = dict[str, str | int | float | None]


@runtime_checkable
class Instanced(Drawable, Protocol):
    """What the methods of `Result` need; every kind of result has it, as fields or properties."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture."""
        ...

    @property
    def image(self) -> Pixels | None:
        """The picture, if it was kept."""
        ...

    @property
    def scores(self) -> Float32[np.ndarray, " instance"]:
        """How sure the model is of each instance, in [0, 1]."""
        ...

    @property
    def boxes(self) -> Float32[np.ndarray, "instance 4"]:
        """Boxes, xyxy in pixels."""
        ...

    @property
    def areas(self) -> Int64[np.ndarray, " instance"]:
        """Pixels of each mask."""
        ...

    def __len__(self) -> int: ...

    def mask(self, index: int) -> Bool[np.ndarray, "height width"]:
        """One mask at the size of the picture."""
        ...

    def summary(self) -> str:
        """One line for people."""
        ...


@runtime_checkable
class Selectable(Instanced, Protocol):
    """Instances of which some can be chosen, which gives a result of the same kind."""

    def __getitem__(self: Self, index: np.ndarray, /) -> Self: ...


Selected = TypeVar("Selected", bound=Selectable)


class Result:
    """Base of all results: `ImageResult`, `FrameResult` and `ClickResult`.

    Indexing by a number, a slice, a list of numbers or an array of bools gives a result of the same kind; so a result
    can be gone through instance by instance. All have `image`, `size`, `scores`, `boxes`, `areas`, `masks`, `mask(i)`,
    `phrases`, `plot()`, `counts()`, `summary()`, `to_rows()`, `to_json()` and `to_supervision()`, and what is here.
    """

    def filter(self: Selected, *, score: float | None = None, area: int | None = None) -> Selected:
        """The instances of at least this score, and of at least this many pixels."""
        kept = np.ones(len(self), dtype=bool)
        if score is not None:
            kept &= self.scores >= score
        if area is not None:
            kept &= self.areas >= area
        return self[kept]

    def crop(self: Instanced, index: int, *, margin: int = 0, cutout: bool = False) -> Image.Image:
        """The picture around one instance, with `margin` pixels on each side; a `cutout` is transparent beside it.

        Raises: InputError when the result keeps no picture. IndexError when there is no such instance.
        """
        if self.image is None:
            raise InputError("this result holds no image to crop")
        if not -len(self) <= index < len(self):
            raise IndexError(f"there is no instance {index}: the result has {len(self)}")
        height, width = self.size
        x0, y0, x1, y1 = (float(value) for value in self.boxes[index])
        left, top = max(int(x0) - margin, 0), max(int(y0) - margin, 0)
        right = min(max(int(np.ceil(x1)), int(x0) + 1) + margin, width)
        bottom = min(max(int(np.ceil(y1)), int(y0) + 1) + margin, height)
        window = slice(top, bottom), slice(left, right)
        pixels = self.image[window]
        if cutout:
            opacity = self.mask(index)[window].astype(np.uint8) * 255
            pixels = np.concatenate([pixels, opacity[..., None]], axis=-1)
        return Image.fromarray(np.ascontiguousarray(pixels))

    def iou(self: Instanced, other: Instanced) -> Float[np.ndarray, "instance other"]:
        """Intersection over union of each mask with each of another result of the same size, in [0, 1].

        Raises: InputError when the sizes differ.
        """
        if self.size != other.size:
            (height, width), (rows, columns) = self.size, other.size
            raise InputError(f"masks of {width} x {height} and of {columns} x {rows} pixels cannot be compared")
        return iou_table(_runs(self), _runs(other))

    def show(self: Instanced) -> None:
        """Opens the picture with its instances in the image viewer. Raises: InputError where there is none."""
        if not ImageShow.show(self.plot()):
            raise InputError("no image viewer was found here: write the picture with save()")

    def save(self: Instanced, path: str | PathLike[str]) -> Path:
        """Writes the overlay (.png, .jpg, .webp) or the numbers (.json), whole or not at all. Raises: InputError."""
        from masklet.inference.output.export import save

        return save(self, Path(path))

    def _repr_png_(self: Instanced) -> bytes | None:
        """The overlay in a notebook; None without a picture."""
        return _overlay_png(self)

    def _repr_html_(self: Instanced) -> str:
        """The overlay and the summary in a notebook."""
        png = _overlay_png(self)
        picture = ""
        if png is not None:
            data = base64.b64encode(png).decode()
            picture = f'<img style="max-width: 100%" src="data:image/png;base64,{data}"/>'
        return f"<figure>{picture}<figcaption>{html.escape(self.summary())}</figcaption></figure>"


def _overlay_png(result: Instanced) -> bytes | None:
    if result.image is None:
        return None
    file = io.BytesIO()
    result.plot().save(file, "PNG")
    return file.getvalue()


def choose(count: int, index: int | slice | Sequence[int] | np.ndarray) -> Int64[np.ndarray, " chosen"]:
    """The places that an index names, of `count`; those of a single number too."""
    index = np.asarray(index, dtype=np.int64) if isinstance(index, Sequence) and not len(index) else index
    return np.ascontiguousarray(np.arange(count)[index].reshape(-1))


def box_entries(box: Float32[np.ndarray, "4"]) -> Row:
    """The corners of a box as entries of a row."""
    return dict(zip(("x0", "y0", "x1", "y1"), (round(float(value), 2) for value in box), strict=True))


def _runs(result: Instanced) -> RunTable:
    height, width = result.size
    counts = [rle_encode(result.mask(index)) for index in range(len(result))]
    return RunTable.of(counts, [height] * len(counts), [width] * len(counts))
