"""Settings for every test: no time limits, as machines are shared, and no network for what would reach for one.

And the one model that many tests train from.
"""

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"

settings.register_profile("masklet", deadline=None, max_examples=50)
settings.load_profile("masklet")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole debug model with random weights, in a file that nobody changes."""
    import torch

    from masklet.config import PRESETS
    from masklet.models.detector import Detector
    from masklet.models.weights import Weights, write

    torch.manual_seed(0)
    config = PRESETS["debug"]()
    path = tmp_path_factory.mktemp("base") / "base.safetensors"
    write(Weights(config=config, state=dict(Detector(config).state_dict()), origin="a test"), path)
    return path
