"""A live stream of a scripted scene, as long as wanted: three discs that stay, and others that come and soon go.

The network runs as always, with random weights; what its detector found and its tracker drew is then replaced by the
script, so that objects are born, followed, lost, re-prompted and removed by the rules while their memories fill up.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from masklet.checkpoints.weights import Weights
from masklet.config import debug
from masklet.inference.concepts import Concept
from masklet.inference.model import Model, make_model
from masklet.inference.rules.association import FrameDetections
from masklet.inference.video import step as video_step
from masklet.inference.video import video_session as video
from masklet.inference.video.cohorts import Cohort, FrameView
from masklet.inference.video.records import VideoConcept
from masklet.inference.video.video_session import VideoSession
from masklet.models.detector import Detector
from masklet.models.memory_bank import Memory

CELLS = 32  # of a low-resolution mask of the debug model, along a side
FIRST_VISIT, VISIT_EVERY, VISIT_SHOWN = 20, 20, 4  # frames: discs that come, and for how long they are detected
AWAY = range(30, 40)  # of every fifty frames, the third disc is away
CONCEPT = "disc"


@dataclass(frozen=True)
class Disc:
    """`visit` is the frame on which a disc came that does not stay."""

    x: float
    y: float
    visit: int | None = None

    def logits(self, frame: int) -> Tensor:
        grid = (torch.arange(CELLS) + 0.5) / CELLS
        x = self.x + 0.03 * math.sin(frame / 10)
        return 60 * (0.12 - ((grid[None, :] - x) ** 2 + (grid[:, None] - self.y) ** 2).sqrt())

    def is_away(self, frame: int) -> bool:
        return self == STAYING[2] and frame % 50 in AWAY

    def is_detected(self, frame: int) -> bool:
        return not self.is_away(frame) and (self.visit is None or frame < self.visit + VISIT_SHOWN)


STAYING = (Disc(0.2, 0.2), Disc(0.2, 0.8), Disc(0.8, 0.2))


def births(frame: int) -> tuple[Disc, ...]:
    """Discs that are first detected on a frame."""
    if frame == 0:
        return STAYING
    if frame >= FIRST_VISIT and (frame - FIRST_VISIT) % VISIT_EVERY == 0:
        return (Disc(0.8, 0.8, visit=frame),)
    return ()


@dataclass
class Script:
    """Who is there. `drawn` says which disc an object is."""

    session: VideoSession
    frame: int = 0
    drawn: dict[int, Disc] = field(default_factory=dict)
    num_births: int = 0

    def run(self, num_frames: int) -> Iterator[int]:
        """Pushes frames of noise; gives the number of each that has been processed."""
        noise = np.random.default_rng(0)
        for _ in range(num_frames):
            self.session.push(noise.integers(0, 255, (90, 120, 3), dtype=np.uint8))
            alive = self.session.object_ids
            new = [object_id for object_id in alive if object_id not in self.drawn]
            self.drawn |= dict(zip(new, births(self.frame), strict=True))
            self.drawn = {object_id: self.drawn[object_id] for object_id in alive}
            self.num_births += len(new)
            yield self.frame
            self.frame += 1

    def detect(self, found: Callable, *args: object) -> dict[str, FrameDetections]:
        """The detector's time, and the script's detections."""
        found(*args)
        discs = [disc for disc in (*self.drawn.values(), *births(self.frame)) if disc.is_detected(self.frame)]
        detections = FrameDetections(
            mask_logits=torch.stack([disc.logits(self.frame) for disc in discs]),
            scores=torch.full((len(discs),), 0.9),
            boxes_xyxy=torch.tensor([0.2, 0.2, 0.4, 0.4]).expand(len(discs), 4),
        )
        return {CONCEPT: detections}

    def propagate(self, propagate: Callable, view: FrameView, cohorts: Sequence[Cohort]) -> list[Memory]:
        """The tracker's memories, with the script's masks."""
        memories = []
        for cohort, memory in zip(cohorts, propagate(view, cohorts), strict=True):
            discs = [self.drawn[object_id] for object_id in cohort.object_ids]
            seen = torch.tensor([not disc.is_away(self.frame) for disc in discs])
            logits = torch.stack([disc.logits(self.frame) for disc in discs])
            masks = torch.where(seen[:, None, None], logits, -10.0)
            useful = 0.9 * float(seen.float().mean())
            sure = torch.where(seen, 5.0, -5.0)
            memories.append(replace(memory, mask_logits=masks, object_logits=sure, usefulness=useful))
        return memories


def random_model(dtype: torch.dtype = torch.float32) -> Model:
    torch.manual_seed(0)
    state: Mapping[str, Tensor] = Detector(debug()).state_dict()
    weights = Weights(config=debug(), state=dict(state), origin="random")
    return make_model(weights, torch.device("cpu"), dtype)


@contextmanager
def scripted(model: Model, history_frames: int = 1000) -> Iterator[Script]:
    """A session on a stream that follows the script."""
    with model.open_video(history_frames=history_frames) as session:
        script = Script(session)
        concept = VideoConcept(name=CONCEPT, concept=Concept(phrase=CONCEPT))
        session.state = replace(session.state, concepts={CONCEPT: concept})
        detect, propagate = partial(script.detect, video.detect), partial(script.propagate, video_step.propagate)
        with mock.patch.object(video, "detect", detect), mock.patch.object(video_step, "propagate", propagate):
            yield script
