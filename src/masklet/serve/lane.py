"""The order in which requests get the model: one computation at a time, the urgent first, what fits in batches.

Clicks need the decoder alone, and have a lane of their own beside the one of all else: one click at a time, as dozens
at once would take the processor from the one phrase whose turn it is. What nobody waits for any more is not computed.
"""

import heapq
import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8

from masklet.formats.calibration import Calibration
from masklet.inference.concepts import Concept
from masklet.inference.model import Model
from masklet.media.images import preprocess
from masklet.models.click import ClickFeatures
from masklet.models.detector import ImageFeatures
from masklet.serve.problems import HttpProblem, given_up, stopping
from masklet.types import Bundle, ClickOutput, ClickPrompt, Detections, PromptBatch, TokenSet

NOW, LATER = 0, 1  # a person waits; a job goes on
MOST_IMAGES = 8  # of one batch
MOST_QUESTIONS = 8  # requests whose prompts are answered in one pass
Given = TypeVar("Given")
Made = TypeVar("Made")


class Caller:
    """Who waits for the answer to a request. One that has gone gets nothing computed."""

    def __init__(self) -> None:
        self.is_gone = False


# Of the request that is answered, also in the threads that work for it; a job is computed for nobody in particular
CALLER: ContextVar[Caller] = ContextVar("caller", default=Caller())  # noqa: B039 - the default one never goes


class Lane:
    """One computation at a time; of those that wait the most urgent is next, and of these the first that came."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int, Caller]] = []
        self._numbers = itertools.count()
        self._is_busy = self._is_closed = False

    @property
    def num_waiting(self) -> int:
        """How many wait, but for those who have gone."""
        return sum(not caller.is_gone for _, _, caller in list(self._waiting))

    @contextmanager
    def turn(self, urgency: int = NOW) -> Iterator[None]:
        """Waits for its turn.

        Raises: HttpProblem (503) when too many wait already or the server is being stopped, and (499) when the caller
        has gone meanwhile, which is looked at whenever a turn ends.
        """
        caller = CALLER.get()
        with self._changed:
            if self.num_waiting >= self.limit:
                raise HttpProblem(503, f"{self.limit} requests wait for the model: try again later", retry_after=2)
            ticket = (urgency, next(self._numbers), caller)
            heapq.heappush(self._waiting, ticket)
            self._changed.wait_for(
                lambda: self._is_closed or caller.is_gone or (not self._is_busy and self._waiting[0] == ticket)
            )
            self._waiting.remove(ticket)
            heapq.heapify(self._waiting)
            if self._is_closed:
                raise stopping()
            if caller.is_gone:
                self._changed.notify_all()  # it may have been the first of those that wait
                raise given_up()
            self._is_busy = True
        try:
            yield
        finally:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()

    def close(self) -> None:
        """Gives no more turns: who waits is told so at once, what is computed at the moment goes on to its end."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()


@dataclass(eq=False)
class _Order(Generic[Given, Made]):
    given: Given
    caller: Caller
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
        order: _Order[Given, Made] = _Order(given, CALLER.get())
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
            waiting = [each for each in self._orders if not each.is_done and not each.caller.is_gone]
        others = [each for each in waiting if each is not order]
        batch = [order, *others[: self.limit - 1]]
        try:
            for each, made in zip(batch, self.compute([each.given for each in batch]), strict=True):
                each.made = made
        except Exception as error:
            for each in batch:  # each of their callers raises it
                each.error = error
            raise
        finally:
            for each in batch:
                each.is_done = True


def _row(trunk: torch.Tensor | Bundle, row: int) -> Any:
    """One image of a batch, on memory of its own, so that the batch can go."""
    if isinstance(trunk, torch.Tensor):
        return trunk[row : row + 1].clone()
    return trunk.map(lambda tensor: tensor[row : row + 1].clone())


@dataclass(frozen=True, eq=False)
class Question:
    """Concepts of one request about an image of `size` (height, width)."""

    features: ImageFeatures
    concepts: Sequence[Concept]
    size: tuple[int, int]
    threshold: float | int
    calibration: Calibration | None
    assume_present: bool
    tokens: TokenSet | None = None  # of examples on another image

    @property
    def manner(self) -> tuple[int, bool, int]:
        """What questions have to share to be answered in one pass; one of tokens has a pass of its own."""
        return id(self.calibration), self.assume_present, 0 if self.tokens is None else id(self)


@dataclass(frozen=True, kw_only=True)
class _Placed(Concept):
    """A concept of a batch: which of its images it is asked of, with boxes as fractions of that image."""

    image: int


def _placed(concept: Concept, image: int, size: tuple[int, int]) -> _Placed:
    whole = (size[1], size[0], size[1], size[0])
    boxes = tuple(tuple(value / side for value, side in zip(box, whole, strict=True)) for box in concept.boxes)
    return _Placed(phrase=concept.phrase, boxes=boxes, labels=concept.labels, image=image)


def _joined(features: Sequence[ImageFeatures]) -> ImageFeatures:
    """Features of several images as one batch; positions are alike in all of them."""
    if len(features) == 1:
        return features[0]
    rows: list[list[torch.Tensor]] = []
    features = [replace(each, trunk=None) for each in features]  # concepts need none, and some have let theirs go
    for each in features:
        tensors: list[torch.Tensor] = []
        each.map(lambda tensor, into=tensors: into.append(tensor) or tensor)
        rows.append(tensors)
    columns = iter(zip(*rows, strict=True))

    def join(tensor: torch.Tensor) -> torch.Tensor:
        column = next(columns)
        return tensor if tensor is features[0].position else torch.cat(column)

    return features[0].map(join)


def _part(found: Detections, first: int, question: Question) -> Detections:
    """The detections of one question, whose concepts begin at `first`, in pixels of its image."""
    count = len(question.concepts)
    prompt = found.prompt_index - first
    rows = ((prompt >= 0) & (prompt < count) & (found.scores > question.threshold)).nonzero()[:, 0]
    height, width = question.size
    mine = found.take(rows)
    scale = torch.tensor([width, height, width, height], device=rows.device)
    return replace(
        mine,
        boxes_xyxy=mine.boxes_xyxy * scale,
        prompt_index=prompt[rows],
        presence=found.presence[first : first + count],
    )


class LanedModel(Model):
    """A model whose work on images and concepts waits its turn in one lane, and its clicks in another.

    Images of several requests are encoded together, and their concepts are asked together, of one image or of several.
    """

    lane: Lane
    clicks: Lane
    encoder: Batcher[np.ndarray, ImageFeatures]
    finder: Batcher[Question, Detections]

    @classmethod
    def of(cls, model: Model, lane: Lane, clicks: Lane) -> "LanedModel":
        """The same model behind lanes."""
        values: dict[str, Any] = {each.name: getattr(model, each.name) for each in fields(model)}
        laned = cls(**values)
        laned.lane, laned.clicks = lane, clicks
        laned.encoder = Batcher(lane, laned.encode_batch, MOST_IMAGES)
        laned.finder = Batcher(lane, laned.detect_batch, MOST_QUESTIONS)
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
        tokens: TokenSet | None = None,
    ) -> Detections:
        """As `Predictor.detect`, in its turn, and together with what others that wait have asked."""
        question = Question(features, list(concepts), size, threshold, calibration, assume_present, tokens)
        return self.finder(question)

    def detect_batch(self, questions: list[Question]) -> list[Detections]:
        """Detections of several questions: one pass for those that are asked in the same manner."""
        found: dict[int, Detections] = {}
        for manner in dict.fromkeys(each.manner for each in questions):
            places = [place for place, each in enumerate(questions) if each.manner == manner]
            found.update(zip(places, self._detect_alike([questions[place] for place in places]), strict=True))
        return [found[place] for place in range(len(questions))]

    def _detect_alike(self, questions: Sequence[Question]) -> list[Detections]:
        first = questions[0]
        if len(questions) == 1:
            return [
                super().detect(
                    first.features,
                    first.concepts,
                    first.size,
                    first.threshold,
                    first.calibration,
                    assume_present=first.assume_present,
                    tokens=first.tokens,
                )
            ]
        images = list({id(each.features): each.features for each in questions}.values())
        places = {id(each): place for place, each in enumerate(images)}
        concepts = [
            _placed(concept, places[id(each.features)], each.size) for each in questions for concept in each.concepts
        ]
        found = super().detect(
            _joined(images),
            concepts,
            (1, 1),
            min(each.threshold for each in questions),
            first.calibration,
            assume_present=first.assume_present,
        )
        firsts = itertools.accumulate([len(each.concepts) for each in questions[:-1]], initial=0)
        return [_part(found, begin, each) for begin, each in zip(firsts, questions, strict=True)]

    def click_features(self, features: ImageFeatures) -> ClickFeatures:
        """As `Predictor.click_features`, in its turn among clicks."""
        with self.clicks.turn():
            return super().click_features(features)

    def click(self, features: ClickFeatures, prompt: ClickPrompt, *, multimask: bool) -> ClickOutput:
        """As `Predictor.click`, in its turn among clicks."""
        with self.clicks.turn():
            return super().click(features, prompt, multimask=multimask)

    def prompts(self, concepts: Sequence[Concept], size: tuple[int, int]) -> tuple[TokenSet, PromptBatch]:
        """As `Predictor.prompts`, each concept for its image."""
        words, prompts = super().prompts(concepts, size)
        images = [each.image if isinstance(each, _Placed) else 0 for each in concepts]
        return words, replace(prompts, image_index=torch.tensor(images, device=self.device))
