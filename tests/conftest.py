"""Settings for every test: no time limits, as machines are shared, and no network for what would reach for one.

And the one model that many tests train from.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from torch import Tensor

    from masklet.models.detector import Detector

os.environ["HF_HUB_OFFLINE"] = "1"

settings.register_profile("masklet", deadline=None, max_examples=50)
settings.load_profile("masklet")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole debug model with random weights, in a file that nobody changes."""
    import torch

    from masklet.checkpoints.weights import Weights, write
    from masklet.config import PRESETS
    from masklet.models.detector import Detector

    torch.manual_seed(0)
    config = PRESETS["debug"]()
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    write(Weights(config=config, state=dict(Detector(config).state_dict()), origin="a test"), path)
    return path


@pytest.fixture(scope="session")
def official_weights() -> "dict[str, Tensor]":
    """The golden model under its official names."""
    from official_data import tensors

    return tensors("official/weights_detector") | tensors("official/weights_tracker")


@pytest.fixture(scope="session")
def detector(official_weights: "dict[str, Tensor]") -> "Detector":
    """Our model with the weights of the golden files. Do not change it: every test sees the same one."""
    from official_data import load_official

    from masklet.config import debug
    from masklet.models.detector import Detector

    return load_official(Detector(debug()), official_weights)
