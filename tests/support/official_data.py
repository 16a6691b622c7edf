"""The golden files of the official code (tests/golden/official), and how closely their numbers can be met.

`ATOL` is five times the noise: the difference that the official code shows against itself with other kernels, which was
measured when the files were made. Where it was not measured the reason stands beside the number. The relative tolerance
is zero everywhere: values are of the order of one to twenty, and the noise of a small one is no smaller.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from masklet.checkpoints.names import official
from masklet.models.detector import Detector
from masklet.types import Exemplars, PromptBatch

GOLDEN = Path(__file__).parents[1] / "golden"

ATOL = {
    "vision": 2e-5,  # noise 4e-6
    "text": 2e-5,  # as vision: a transformer of the same depth
    "token": 1e-4,  # image, query and exemplar tokens inside the detector; values up to 30
    "pixel": 5e-5,  # pixel embedding, before the masks
    "logit": 7.5e-5,  # noise 1.5e-5
    "box": 1e-5,  # noise 2e-6
    "mask": 7.5e-4,  # noise 1.5e-4, on values up to 23
    "presence": 3.5e-5,  # noise 7e-6
    "semantic": 4e-5,  # noise 8e-6
    "score": 1e-5,  # noise 2e-6
    "click": 1.75e-4,  # noise 3.5e-5, on values up to 6
    "function": 5e-5,  # noise 1e-5, single functions
}


def tensors(name: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / f"{name}.safetensors")


def cases(name: str) -> dict:
    return json.loads((GOLDEN / f"{name}.json").read_text())


def check(actual: Tensor, expected: Tensor, kind: str) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=ATOL[kind])


def load_official(detector: Detector, weights: dict[str, Tensor]) -> Detector:
    """Fills a detector from tensors under their official names."""
    layout = official(detector.config)
    state = {name: value for entry in layout.entries for name, value in entry.read(weights).items()}
    detector.load_state_dict(state)
    return detector.eval().requires_grad_(requires_grad=False)


def make_prompts(
    token_ids: Tensor,
    token_valid: Tensor,
    phrase_index: list[int],
    image_index: list[int],
    exemplars: Exemplars | None = None,
) -> PromptBatch:
    """Prompts by their indices; without exemplars unless given."""
    return PromptBatch(
        token_ids=token_ids,
        token_valid=token_valid,
        phrase_index=torch.tensor(phrase_index, dtype=torch.long),
        image_index=torch.tensor(image_index, dtype=torch.long),
        exemplars=exemplars or make_exemplars(torch.zeros(len(phrase_index), 0, 4)),
    )


def make_exemplars(
    boxes: Tensor, labels: Tensor | None = None, valid: Tensor | None = None, points: Tensor | None = None
) -> Exemplars:
    """Exemplar boxes cxcywh and points, positive and valid; `labels` and `valid` say otherwise of the boxes."""
    points = torch.zeros(len(boxes), 0, 2) if points is None else points
    every_box, every_point = boxes.shape[:2], points.shape[:2]
    return Exemplars(
        boxes_cxcywh=boxes,
        box_labels=torch.ones(every_box, dtype=torch.long) if labels is None else labels,
        box_valid=torch.ones(every_box, dtype=torch.bool) if valid is None else valid.bool(),
        points_xy=points,
        point_labels=torch.ones(every_point, dtype=torch.long),
        point_valid=torch.ones(every_point, dtype=torch.bool),
    )
