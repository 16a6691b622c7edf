"""Segment anything with concepts: say a noun phrase or show an example, get a mask of every instance.

    import masklet
    model = masklet.load("tiny")
    result = model.segment("photo.jpg", "coin")
    with model.open_video("clip.mp4") as session: ...

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from masklet.calibration import Calibration
    from masklet.config import PRESETS
    from masklet.errors import InputError
    from masklet.inference.clicks import ClickResult
    from masklet.inference.image import Concept, ImageSession, Model, load
    from masklet.inference.results import ImageResult
    from masklet.inference.rules import Rules
    from masklet.inference.tracks import FrameResult
    from masklet.inference.video import VideoSession
    from masklet.types import Detections

__version__ = "0.1.0"

_HOMES = {
    "Calibration": "masklet.calibration",
    "ClickResult": "masklet.inference.clicks",
    "Concept": "masklet.inference.image",
    "Detections": "masklet.types",
    "FrameResult": "masklet.inference.tracks",
    "ImageResult": "masklet.inference.results",
    "ImageSession": "masklet.inference.image",
    "InputError": "masklet.errors",
    "Model": "masklet.inference.image",
    "PRESETS": "masklet.config",
    "Rules": "masklet.inference.rules",
    "VideoSession": "masklet.inference.video",
    "load": "masklet.inference.image",
}

__all__ = [
    "PRESETS",
    "Calibration",
    "ClickResult",
    "Concept",
    "Detections",
    "FrameResult",
    "ImageResult",
    "ImageSession",
    "InputError",
    "Model",
    "Rules",
    "VideoSession",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'masklet' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
