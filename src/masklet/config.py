"""The shipped sizes of the model. A variant is another function that replaces parts of one, never a copy."""

from collections.abc import Callable
from dataclasses import replace

from masklet.models.click import ClickHead
from masklet.models.conv_trunk import ConvTrunk
from masklet.models.decoder import Decoder
from masklet.models.detector import Detector
from masklet.models.fusion import FusionEncoder
from masklet.models.heads import ConceptScorer, MaskHead
from masklet.models.memory import MaskMemory
from masklet.models.prompts import ExemplarEncoder
from masklet.models.recognition import Recognition
from masklet.models.text import TextEncoder
from masklet.models.vision import Trunk, VisionEncoder


def sam3() -> Detector.Config:
    """The published model."""
    return Detector.Config()


def first() -> Detector.Config:
    """The first design of the built-in model, from scratch; the heads of the second begin with its own."""
    return Detector.Config(
        image_size=336,
        vision=VisionEncoder.Config(
            dim=128,
            trunk=Trunk.Config(
                dim=192, depth=12, num_heads=4, hidden=768, window=4, global_blocks=(1, 3, 5, 7, 9, 11), drop_path=0.0
            ),
        ),
        text=TextEncoder.Config(vocab_size=8192, width=192, depth=3, num_heads=4, hidden=768, dim=128),
        prompts=ExemplarEncoder.Config(dim=128, depth=2, num_heads=4, hidden=512, dropout=0.0),
        fusion=FusionEncoder.Config(dim=128, depth=3, num_heads=4, hidden=512, dropout=0.0),
        decoder=Decoder.Config(dim=128, depth=3, num_heads=4, hidden=512, bias_hidden=32, num_queries=80, dropout=0.0),
        scoring=ConceptScorer.Config(dim=128, hidden=512, dropout=0.0),
        masks=MaskHead.Config(dim=128, num_heads=4),
        click=ClickHead.Config(dim=128, num_heads=4, hidden=512, iou_hidden=128),
        memory=MaskMemory.Config(dim=128, memory_dim=32, depth=2, hidden=512),
    )


def tiny() -> Detector.Config:
    """The built-in model, which begins with an ImageNet classifier's trunk: docs/model_card.md."""
    heads = first()
    return replace(
        heads,
        image_size=448,
        vision=VisionEncoder.Config(dim=128, trunk=ConvTrunk.Config(width=1.1, depth=1.2)),
        text=replace(heads.text, meaning_dim=128),
        recognition=Recognition.Config(meaning_dim=128),
    )


def debug() -> Detector.Config:
    """Small enough for every test; the sizes of the golden files."""
    return Detector.Config(
        image_size=112,
        vision=VisionEncoder.Config(
            dim=32, trunk=Trunk.Config(dim=32, depth=4, num_heads=2, hidden=148, window=4, global_blocks=(1, 3))
        ),
        text=TextEncoder.Config(vocab_size=1000, width=24, depth=2, num_heads=2, hidden=96, dim=32),
        prompts=ExemplarEncoder.Config(dim=32, depth=2, num_heads=4, hidden=64),
        fusion=FusionEncoder.Config(dim=32, depth=2, num_heads=4, hidden=64),
        decoder=Decoder.Config(dim=32, depth=2, num_heads=4, hidden=64, bias_hidden=32, num_queries=10),
        scoring=ConceptScorer.Config(dim=32, hidden=64),
        masks=MaskHead.Config(dim=32, num_heads=4),
        click=ClickHead.Config(dim=32),
        memory=MaskMemory.Config(dim=32, memory_dim=8, depth=2, hidden=64),
    )


PRESETS: dict[str, Callable[[], Detector.Config]] = {"sam3": sam3, "tiny": tiny, "first": first, "debug": debug}
