"""What may be asked of a model, whoever implements it: segmenters, their sessions, and their results.

Evaluation, the data engine and agents are handed a `Segmenter` and know nothing else of a model; drawing and exports
take results by these names. `masklet.Model` is a `Segmenter`, its sessions and results are what it says here.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8
from PIL.Image import Image

Number = float | int
Pixels = UInt8[np.ndarray, "height width 3"]


def absence(presence: float) -> str:
    """Why a phrase has no instance, in words: it is not in the image, or nothing that may be it scores enough."""
    return "absent" if presence < 0.5 else "none above the threshold"


@runtime_checkable
class Instances(Protocol):
    """Instances of phrases in one image, best first; boxes are xyxy pixels inside the image."""

    def __len__(self) -> int: ...

    @property
    def presence(self) -> Mapping[str, float]:
        """Probability of each phrase asked for to be in the image at all."""
        ...

    @property
    def phrases(self) -> Sequence[str]:
        """The phrase of each instance."""
        ...

    @property
    def scores(self) -> Float32[np.ndarray, " detection"]:
        """Probability of each instance."""
        ...

    @property
    def boxes(self) -> Float32[np.ndarray, "detection 4"]:
        """Boxes in pixels."""
        ...

    def mask(self, index: int, *, cut: float = 0.5) -> Bool[np.ndarray, "height width"]:
        """Pixels of an instance whose probability is above `cut`."""
        ...


@runtime_checkable
class Drawable(Protocol):
    """What can be written as an overlay or as numbers."""

    def plot(self) -> Image:
        """The picture with its instances."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Everything but the picture."""
        ...


@runtime_checkable
class ImageInstances(Instances, Protocol):
    """Instances together with their image, as drawing and exports need them; masks come at any size."""

    @property
    def image(self) -> Pixels:
        """The image."""
        ...

    @property
    def path(self) -> Path | None:
        """Where the image came from, if it came from a file."""
        ...

    @property
    def queries(self) -> tuple[str, ...]:
        """The phrases asked for."""
        ...

    @property
    def ids(self) -> Int64[np.ndarray, " detection"]:
        """The number of each instance, from 1."""
        ...

    @property
    def small_areas(self) -> Int64[np.ndarray, " detection"]:
        """Size of each mask, in any unit."""
        ...

    @property
    def masks(self) -> Bool[np.ndarray, "detection height width"]:
        """All masks at the size of the image."""
        ...

    def counts(self) -> dict[str, int]:
        """How many instances of each phrase there are."""
        ...

    def absence(self, phrase: str) -> str:
        """Why there is no instance of a phrase, in words."""
        ...

    def mask(
        self, index: int, size: tuple[int, int] | None = None, *, cut: float = 0.5
    ) -> Bool[np.ndarray, "height width"]:
        """One mask, at the size of the image or at `size` (height, width)."""
        ...


@runtime_checkable
class ClickMasks(Protocol):
    """Masks of one clicked object, the best first."""

    @property
    def masks(self) -> Bool[np.ndarray, "mask height width"]:
        """At the size of the image."""
        ...

    @property
    def logits(self) -> Any:
        """The same at low resolution, to be given back one by one."""
        ...


@runtime_checkable
class FrameInstances(Protocol):
    """Objects on one frame of a video; masks are of the size of the video."""

    def __len__(self) -> int: ...

    @property
    def index(self) -> int:
        """The number of the frame, from 0."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the video."""
        ...

    @property
    def ids(self) -> Int64[np.ndarray, " object"]:
        """The identity that each object keeps."""
        ...

    @property
    def concepts(self) -> Sequence[str]:
        """The phrase of each object, "" for one that was clicked."""
        ...

    @property
    def scores(self) -> Float32[np.ndarray, " object"]:
        """Probability of each object when its masklet began."""
        ...

    @property
    def object_scores(self) -> Float32[np.ndarray, " object"]:
        """Probability that the object is visible on this frame."""
        ...

    @property
    def areas(self) -> Int64[np.ndarray, " object"]:
        """Pixels of each mask."""
        ...

    @property
    def masks(self) -> Bool[np.ndarray, "object height width"]:
        """All masks, overlaps resolved."""
        ...

    def mask(self, index: int) -> Bool[np.ndarray, "height width"]:
        """The mask of one object as it is."""
        ...


@runtime_checkable
class TrackedFrame(FrameInstances, Drawable, Protocol):
    """Objects on one frame together with what drawing and exports need."""

    @property
    def time(self) -> float:
        """When the frame is shown, in seconds."""
        ...

    @property
    def image(self) -> Pixels | None:
        """The frame, if it was kept."""
        ...

    @property
    def precedence(self) -> Float32[np.ndarray, " object"]:
        """Where masks overlap, the object of the highest is in front."""
        ...

    @property
    def boxes(self) -> Float32[np.ndarray, "object 4"]:
        """Tightest boxes around the masks as they are, xyxy in pixels."""
        ...

    @property
    def phrases(self) -> Sequence[str]:
        """The phrase of each object, "object" for one that was clicked."""
        ...

    @property
    def rles(self) -> Sequence[str]:
        """COCO compressed counts of the masks as they are."""
        ...


@runtime_checkable
class ImageSegmenter(Protocol):
    """One image, encoded. See `masklet.ImageSession`."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        ...

    def find(
        self,
        phrases: str | Sequence[str] | None = None,
        *,
        boxes: Sequence[Sequence[Number]] | None = None,
        not_boxes: Sequence[Sequence[Number]] | None = None,
        threshold: float | None = None,
        assume_present: bool = False,
    ) -> Instances:
        """Instances of concepts given by phrases, by example boxes in pixels, or by both, that score enough."""
        ...

    def click(
        self,
        points: Sequence[Sequence[Number]] = (),
        labels: Sequence[int] = (),
        *,
        box: Sequence[Number] | None = None,
        mask: Any = None,
    ) -> ClickMasks:
        """The object at the points (x, y in pixels) or in the box, starting from the logits of an earlier result."""
        ...

    def close(self) -> None:
        """Frees the image."""
        ...


@runtime_checkable
class VideoSegmenter(Protocol):
    """One video that is being tracked. See `masklet.VideoSession`."""

    def add_concept(self, phrase: str | None = None, *, frame: int | None = None) -> FrameInstances:
        """Tracks every instance of a phrase."""
        ...

    def click(
        self,
        object_id: int | None,
        frame: int | None,
        points: Sequence[Sequence[Number]] = (),
        labels: Sequence[int] = (),
        *,
        add: bool = False,
    ) -> FrameInstances:
        """The frame after clicks on one object; with `add` they join those made there before."""
        ...

    def add_mask(
        self, object_id: int | None, frame: int | None, mask: Bool[np.ndarray, "height width"]
    ) -> FrameInstances:
        """The frame after an object was given by its mask."""
        ...

    def track(self, *, start: int | None = None) -> Iterator[FrameInstances]:
        """The frames from `start` on, or from the first that was prompted or changed."""
        ...

    def close(self) -> None:
        """Frees the video."""
        ...


@runtime_checkable
class Segmenter(Protocol):
    """A model that is asked; `masklet.Model` is one. The same `identity` gives the same results."""

    @property
    def identity(self) -> str:
        """A name for the model with its settings, fit to name a folder."""
        ...

    def open(self, image: Path | Pixels) -> ImageSegmenter:
        """Encodes an image, from its file or its pixels. Raises: InputError when it cannot be read."""
        ...

    def open_video(self, source: Sequence[Path]) -> VideoSegmenter:
        """A session on images in order. Raises: InputError when one cannot be read."""
        ...
