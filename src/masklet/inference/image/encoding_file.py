"""What was computed of an image, as a file: a session that is taken up again answers to the last bit as it did before.

Encoding anew would be as right but for the last bits, which depend on what is encoded in the same pass, and slower on a
processor by far. Tensors keep their type and the order of their memory, and lie in the file until they are needed:
sessions that come and go leave no holes in the memory of the process.
"""

import pickle
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from jaxtyping import UInt8

from masklet.files import write_atomically
from masklet.inference.image.image_session import ImageSession
from masklet.inference.predictor import Predictor
from masklet.models.click import ClickFeatures
from masklet.models.conv_trunk import ConvMaps
from masklet.models.detector import ImageFeatures
from masklet.models.heads import PixelTerms
from masklet.nn.attention import KeyValues

_PARTS: list[type | Callable[..., Any]] = [ImageFeatures, ClickFeatures, ConvMaps, PixelTerms, KeyValues]
# Once for the process: the context manager `safe_globals` takes them from other threads when it ends
torch.serialization.add_safe_globals(_PARTS)
_DAMAGED = (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError)


def write_encoding(path: Path, session: ImageSession) -> None:
    """Writes what a session knows of its image. Raises: InputError where it cannot be written."""
    content = {
        "identity": session.predictor.identity,
        "features": session.features,
        "click_features": session.click_features,
    }
    save: Callable[[BinaryIO], object] = partial(torch.save, content)
    write_atomically(path, save)


def read_encoding(path: Path, predictor: Predictor, pixels: UInt8[np.ndarray, "height width 3"]) -> ImageSession | None:
    """The session again; None where there is no such file, or one of another model, or a damaged one."""
    try:
        is_mapped = sys.platform != "win32"  # where a file that is mapped can be neither replaced nor removed
        content = torch.load(path, map_location=predictor.device, weights_only=True, mmap=is_mapped)
        if content["identity"] != predictor.identity:
            return None
        features, click_features = content["features"], content["click_features"]
        return ImageSession(predictor, pixels, features=features, click_features=click_features)
    except _DAMAGED:
        return None
