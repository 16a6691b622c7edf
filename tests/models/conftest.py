import pytest
from official_data import load_official, tensors
from torch import Tensor

from masklet.config import debug
from masklet.models.detector import Detector


@pytest.fixture(scope="session")
def official_weights() -> dict[str, Tensor]:
    """The golden model under its official names."""
    return tensors("official/weights_detector") | tensors("official/weights_tracker")


@pytest.fixture(scope="session")
def detector(official_weights: dict[str, Tensor]) -> Detector:
    """Our model with the weights of the golden files. Do not change it: every test sees the same one."""
    return load_official(Detector(debug()), official_weights)
