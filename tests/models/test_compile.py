"""PyTorch traces the whole model without a graph break, to the same numbers. `make test` runs it without the hook."""

import pytest
import torch

from masklet.config import debug
from masklet.models.detector import Detector
from masklet.types import Exemplars, PromptBatch

pytestmark = pytest.mark.compile


def words_only(num_prompts: int) -> PromptBatch:
    none = torch.zeros(num_prompts, 0, dtype=torch.long)
    exemplars = Exemplars(
        boxes_cxcywh=torch.zeros(num_prompts, 0, 4),
        box_labels=none,
        box_valid=none.bool(),
        points_xy=torch.zeros(num_prompts, 0, 2),
        point_labels=none,
        point_valid=none.bool(),
    )
    return PromptBatch(
        token_ids=torch.randint(1, 900, (num_prompts, 4), generator=torch.Generator().manual_seed(0)),
        token_valid=torch.ones(num_prompts, 4, dtype=torch.bool),
        phrase_index=torch.arange(num_prompts),
        image_index=torch.zeros(num_prompts, dtype=torch.long),
        exemplars=exemplars,
    )


def test_the_whole_detector_is_one_graph() -> None:
    torch.manual_seed(0)
    detector = Detector(debug()).eval()
    images, prompts = torch.randn(1, 3, 112, 112), words_only(2)
    with torch.inference_mode():
        plain = detector(images, prompts)
        traced = torch.compile(detector, backend="eager", fullgraph=True)(images, prompts)
    torch.testing.assert_close(traced.pred_logits, plain.pred_logits)
    torch.testing.assert_close(traced.pred_masks, plain.pred_masks)
