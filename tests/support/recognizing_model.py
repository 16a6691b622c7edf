"""A model of the debug size over a classifier's trunk, with meanings: what the built-in model has and SAM 3 has not."""

from dataclasses import replace

from masklet.config import debug
from masklet.models.conv_trunk import ConvTrunk
from masklet.models.detector import Detector
from masklet.models.recognition import Recognition
from masklet.models.vision import VisionEncoder

MEANING_DIM = 16


def recognizing() -> Detector.Config:
    """Images of 64 pixels."""
    return replace(
        debug(),
        image_size=64,
        vision=VisionEncoder.Config(dim=32, trunk=ConvTrunk.Config(width=0.25, depth=1.0, summary_dim=24)),
        text=replace(debug().text, meaning_dim=MEANING_DIM),
        recognition=Recognition.Config(meaning_dim=MEANING_DIM),
    )
