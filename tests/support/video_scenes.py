"""Sessions for tests: a model of random weights whose objects stay in sight, pictures, and scripted detections."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from unittest.mock import Mock

import av
import numpy as np
import pytest
import torch
from jaxtyping import UInt8

from masklet.checkpoints.weights import Weights
from masklet.config import debug
from masklet.inference.model import Model, make_model
from masklet.inference.rules.association import FrameDetections
from masklet.inference.rules.rules import Rules
from masklet.inference.video import video_session as video
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.records import VideoConcept
from masklet.models.detector import Detector, ImageFeatures

SIZE = (48, 64)
COUNT = 18  # a session on a stream knows no length, and looks back as one on at least 16 frames
RULES = Rules(  # of the scripted squares: the tracker's random masks lie all over the picture, and nobody is lost
    confirmation_delay=5,
    max_unmatched=100,
    max_duplicate=100,
    min_hit_iou=0.01,
    min_match_iou=0.01,
    occlusion_iou=1.1,
    reprompt_every=6,
    reprompt_min_overlap=0.05,
    reprompt_min_object_logit=-10.0,
)
Box = tuple[int, int, int, int]
Script = Callable[[int], Sequence[Box]]


@cache
def weights() -> Weights:
    torch.manual_seed(3)
    state = {name: tensor.detach().clone() for name, tensor in Detector(debug()).state_dict().items()}
    state["click.decoder.object_head.layers.2.bias"] += 2
    return Weights(config=debug(), state=state, origin="random")


@cache
def model() -> Model:
    return make_model(weights(), torch.device("cpu"), torch.float32)


@cache
def pictures(count: int = COUNT) -> list[UInt8[np.ndarray, "height width 3"]]:
    """Noise with a red and a green disc that move apart."""
    random, rows, columns = np.random.default_rng(1), *np.mgrid[: SIZE[0], : SIZE[1]]
    frames = []
    for index in range(count):
        frame = random.integers(0, 90, (*SIZE, 3))
        for colour, (row, column) in {(230, 60, 40): (16, 12 + 2 * index), (60, 220, 80): (34, 50 - index)}.items():
            frame[(rows - row) ** 2 + (columns - column) ** 2 < 64] = colour
        frames.append(frame.astype(np.uint8))
    return frames


def plain(results: Sequence[FrameResult]) -> list[dict]:
    """All of the results but their images."""
    return [result.to_json() for result in results]


def assert_alike(results: Sequence[FrameResult], others: Sequence[FrameResult]) -> None:
    """The same objects with the same masks, though they were computed in a batch of another size.

    A product of matrices of another shape may round its last bits otherwise, on some processors and not on others; a
    pixel whose logit is all but zero then falls on the other side.
    """
    assert [(r.index, r.ids.tolist(), r.concepts) for r in results] == [
        (r.index, r.ids.tolist(), r.concepts) for r in others
    ]
    for result, other in zip(results, others, strict=True):
        np.testing.assert_allclose(result.scores, other.scores, atol=1e-4)
        np.testing.assert_allclose(result.object_scores, other.object_scores, atol=1e-4)
        assert (result.masks != other.masks).sum() <= 4


def untimed(results: Sequence[FrameResult]) -> list[dict]:
    return [{key: value for key, value in entry.items() if key != "time"} for entry in plain(results)]


@cache
def _trunks() -> torch.Tensor:
    return torch.cat([model().encode(picture).trunk for picture in pictures()])


def script(monkeypatch: pytest.MonkeyPatch, squares: Mapping[str, Script]) -> Mock:
    """Detections of each phrase by the number of the frame, which is told by its features; counts the frames asked."""

    def detect(
        _model: Model, features: ImageFeatures, concepts: Sequence[VideoConcept], *_: object
    ) -> dict[str, FrameDetections]:
        frame = int((_trunks() - features.trunk).flatten(1).abs().sum(1).argmin())
        return {concept.name: _detections(squares[concept.name](frame)) for concept in concepts}

    _trunks()  # before anybody counts
    listening = Mock(side_effect=detect)
    monkeypatch.setattr(video, "detect", listening)
    return listening


def _detections(boxes: Sequence[Box]) -> FrameDetections:
    logits = torch.full((len(boxes), 32, 32), -6.0)
    for row, (x0, y0, x1, y1) in enumerate(boxes):
        logits[row, y0 // 2 : y1 // 2, x0 // 2 : x1 // 2] = 6
    return FrameDetections(
        mask_logits=logits,
        scores=torch.linspace(0.95, 0.9, len(boxes)),
        boxes_xyxy=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4) / 64,
    )


def left(_frame: int) -> list[Box]:
    return [(0, 0, 30, 64)]


def corners(_frame: int) -> list[Box]:
    return [(34, 0, 64, 30), (34, 34, 64, 64)]


def from_third(frame: int) -> list[Box]:
    return [] if frame < 3 else left(frame)


def ids(results: Sequence[FrameResult]) -> list[list[int]]:
    return [result.ids.tolist() for result in results]


def indices(results: Sequence[FrameResult]) -> list[int]:
    return [result.index for result in results]


def write_clip(path: Path, count: int = COUNT) -> Path:
    """The pictures as a video of 10 frames per second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.height, stream.width = SIZE
        for picture in pictures()[:count]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path
