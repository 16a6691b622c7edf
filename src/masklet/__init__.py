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
    from masklet.config import PRESETS
    from masklet.errors import InputError
    from masklet.formats.calibration import Calibration
    from masklet.inference.concepts import Concept
    from masklet.inference.image.clicks import ClickResult
    from masklet.inference.image.image_result import ImageResult
    from masklet.inference.image.image_session import ImageSession
    from masklet.inference.model import Model, load
    from masklet.inference.result import Result
    from masklet.inference.rules.rules import Rules
    from masklet.inference.video.frame_result import FrameResult
    from masklet.inference.video.video_session import VideoSession
    from masklet.media.download import fetch
    from masklet.types import Detections

__version__ = "0.1.0"

_HOMES = {
    "Calibration": "masklet.formats.calibration",
    "ClickResult": "masklet.inference.image.clicks",
    "Concept": "masklet.inference.concepts",
    "Detections": "masklet.types",
    "FrameResult": "masklet.inference.video.frame_result",
    "ImageResult": "masklet.inference.image.image_result",
    "ImageSession": "masklet.inference.image.image_session",
    "InputError": "masklet.errors",
    "Model": "masklet.inference.model",
    "PRESETS": "masklet.config",
    "Result": "masklet.inference.result",
    "Rules": "masklet.inference.rules.rules",
    "VideoSession": "masklet.inference.video.video_session",
    "fetch": "masklet.media.download",
    "load": "masklet.inference.model",
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
    "Result",
    "Rules",
    "VideoSession",
    "fetch",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'masklet' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
