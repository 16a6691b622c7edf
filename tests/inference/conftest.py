import numpy as np
import pytest
import torch

from masklet.inference.image.image_result import ImageResult
from masklet.types import Detections


@pytest.fixture
def result():
    """Two cats (the second in two parts) and no dog, on a picture of 40 x 60 with masks of 20 x 30."""
    logits = torch.full((2, 20, 30), -5.0)
    logits[0, 2:8, 3:12] = 5
    logits[1, 10:18, 5:10] = 5
    logits[1, 10:18, 15:25] = 5
    detections = Detections(
        boxes_xyxy=torch.tensor([[6.0, 4.0, 24.0, 16.0], [10.0, 20.0, 65.0, 36.0]]),
        scores=torch.tensor([0.9, 0.6]),
        mask_logits=logits,
        prompt_index=torch.tensor([0, 0]),
        presence=torch.tensor([0.97, 0.02]),
    )
    image = np.full((40, 60, 3), 128, dtype=np.uint8)
    return ImageResult(image=image, detections=detections, queries=("cat", "dog"))
