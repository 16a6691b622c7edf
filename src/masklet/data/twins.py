"""Images that are the same, or look the same: a digest of their pixels, and a thumbnail to correlate with others.

The thumbnail has 16 x 16 grey values without their mean and contrast, so it survives resizing, compression and another
exposure. Copies correlate by 0.99 or more; images of different things by 0.9 at most, but for those from one camera
that does not move, of which it may be asked just the same whether one of them should be held out from the others.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

SIDE = 16
NEAR = 0.98
_LEAST_CONTRAST = 2.0  # standard deviation of grey values; plainer thumbnails are noise
_CHUNK = 256


@dataclass(frozen=True)
class Fingerprint:
    """A digest of the pixels, and the thumbnail as a unit vector; None of an image that is too plain to have one."""

    content: bytes
    thumbnail: Float32[np.ndarray, " pixel"] | None


def fingerprint(image: UInt8[np.ndarray, "height width 3"]) -> Fingerprint:
    """Of RGB pixels."""
    content = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16)
    content.update(str(image.shape).encode())
    grey = Image.fromarray(image).convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    values = np.asarray(grey, np.float32).ravel()
    values = values - values.mean()
    if values.std() < _LEAST_CONTRAST:
        return Fingerprint(content.digest(), None)
    return Fingerprint(content.digest(), (values / np.linalg.norm(values)).astype(np.float32))


def near_twins(images: Mapping[str, Fingerprint], others: Mapping[str, Fingerprint]) -> Iterator[tuple[str, str]]:
    """Names of images that look like one of the others, with the name of the one they are most like."""
    names, thumbnails = _thumbnails(images)
    other_names, other_thumbnails = _thumbnails(others)
    if not names or not other_names:
        return
    for first in range(0, len(names), _CHUNK):
        likeness = thumbnails[first : first + _CHUNK] @ other_thumbnails.T
        best = likeness.argmax(axis=1)
        for row in np.flatnonzero(likeness.max(axis=1) >= NEAR).tolist():
            yield names[first + row], other_names[int(best[row])]


def _thumbnails(prints: Mapping[str, Fingerprint]) -> tuple[list[str], np.ndarray]:
    usable = {name: each.thumbnail for name, each in prints.items() if each.thumbnail is not None}
    return list(usable), np.array(list(usable.values()), np.float32).reshape(-1, SIDE * SIDE)
