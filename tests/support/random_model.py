"""A model of the debug size with random weights, none of which is so small that it does not matter."""

import torch

from masklet.checkpoints.weights import Weights
from masklet.config import debug
from masklet.models.detector import Detector


def random_weights() -> Weights:
    """Always the same ones."""
    torch.manual_seed(3)
    detector = Detector(debug())
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.add_(0.2 * torch.randn(parameter.shape))
    return Weights(config=debug(), state=dict(detector.state_dict()), origin="random")
