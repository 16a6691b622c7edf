"""The order in which requests get the model: one computation at a time, the urgent first, images in batches.

Clicks take no turn: they need the decoder alone, and run beside whatever else is computed.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8

from masklet.formats.calibration import Calibration
from masklet.inference.concepts import Concept
from masklet.inference.model import Model
from masklet.media.images import preprocess
from masklet.models.detector import ImageFeatures
from masklet.serve.problems import HttpProblem
from masklet.types import Bundle, Detections

NOW, LATER = 0, 1  # a person waits; a job goes on
MOST_IMAGES = 8  # of one batch
Given = TypeVar("Given")
Made = TypeVar("Made")


class Lane:
    """One computation at a time; of those that wait the most urgent is next, and of these the first that came."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._numbers = itertools.count()
        self._is_busy = False

    @property
    def num_waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @contextmanager
    def turn(self, urgency: int = NOW) -> Iterator[None]:
        """Waits for its turn. Raises: HttpProblem (503) when too many wait already."""
        with self._changed:
            if len(self._waiting) >= self.limit:
                raise HttpProblem(503, f"{self.limit} requests wait for the model: try again later", retry_after=2)
            ticket = (urgency, next(self._numbers))
            heapq.heappush(self._waiting, ticket)
            self._changed.wait_for(lambda: not self._is_busy and self._waiting[0] == ticket)
            heapq.heappop(self._waiting)
            self._is_busy = True
        try:
            yield
        finally:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()


@dataclass(eq=False)
class _Order(Generic[Given, Made]):
    given: Given
    made: Made | None = None
    error: Exception | None = None
    is_done: bool = False


class Batcher(Generic[Given, Made]):
    """Computes for several callers at once: what came while the model was busy is one batch, so nobody waits for it."""

    def __init__(self, lane: Lane, compute: Callable[[list[Given]], list[Made]], limit: int) -> None:
        self.lane, self.compute, self.limit = lane, compute, limit
        self._orders: list[_Order[Given, Made]] = []
        self._guard = threading.Lock()

    def __call__(self, given: Given) -> Made:
        """What is made of one input. Raises: what the computation raised."""
        order: _Order[Given, Made] = _Order(given)
        with self._guard:
            self._orders.append(order)
        try:
            with self.lane.turn():
                if not order.is_done:
                    self._compute_with(order)
        finally:
            with self._guard:
                self._orders = [each for each in self._orders if each is not order]
        if order.error is not None:
            raise order.error
        assert order.made is not None
        return order.made

    def _compute_with(self, order: _Order[Given, Made]) -> None:
        with self._guard:
            others = [each for each in self._orders if each is not order and not each.is_done]
        batch = [order, *others[: self.limit - 1]]
        try:
            for each, made in zip(batch, self.compute([each.given for each in batch]), strict=True):
                each.made = made
        except Exception as error:  # noqa: BLE001 - raised again by each caller
            for each in batch:
                each.error = error
        for each in batch:
            each.is_done = True


def _row(trunk: torch.Tensor | Bundle, row: int) -> Any:
    """One image of a batch, on memory of its own, so that the batch can go."""
    if isinstance(trunk, torch.Tensor):
        return trunk[row : row + 1].clone()
    return trunk.map(lambda tensor: tensor[row : row + 1].clone())


class LanedModel(Model):
    """A model whose work on images and concepts waits its turn; images of several requests are encoded together."""

    lane: Lane
    encoder: Batcher[np.ndarray, ImageFeatures]

    @classmethod
    def of(cls, model: Model, lane: Lane) -> "LanedModel":
        """The same model behind a lane."""
        values: dict[str, Any] = {each.name: getattr(model, each.name) for each in fields(model)}
        laned = cls(**values)
        laned.lane = lane
        laned.encoder = Batcher(lane, laned.encode_batch, MOST_IMAGES)
        return laned

    def encode(self, pixels: UInt8[np.ndarray, "height width 3"]) -> ImageFeatures:
        """Features of one image, computed together with those of others that wait."""
        return self.encoder(pixels)

    @torch.inference_mode()
    def encode_batch(self, images: list[np.ndarray]) -> list[ImageFeatures]:
        """Features of several images: one pass through the trunk, which is nearly all of the work."""
        pixels = torch.stack([preprocess(image, self.image_size) for image in images]).to(self.device)
        trunk = self.detector.vision.trunk(pixels)
        return [self.detector.prepare(_row(trunk, row)) for row in range(len(images))]

    def detect(
        self,
        features: ImageFeatures,
        concepts: Any,
        size: tuple[int, int],
        threshold: float | int,
        calibration: Calibration | None = None,
        *,
        assume_present: bool = False,
    ) -> Detections:
        """As `Predictor.detect`, in its turn."""
        asked: list[Concept] = list(concepts)
        with self.lane.turn():
            return super().detect(features, asked, size, threshold, calibration, assume_present=assume_present)
