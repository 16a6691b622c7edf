"""Pictures that are the same, or look the same: a digest of their pixels, and a small hash of what they show.

The hash says for 16 x 16 places whether a picture gets darker to the right, so it survives resizing and compression.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

SIDE = 16
NEAR = 16  # of 256 places may differ; unrelated photos differ in about 100
_LEAST_CONTRAST = 4  # standard deviation of grey values; of plainer pictures the hash is noise
_CHUNK = 1024


@dataclass(frozen=True)
class Fingerprint:
    """A digest of the pixels, and the hash; None for a picture that is too plain to have one."""

    content: bytes
    gradient: Bool[np.ndarray, " place"] | None


def fingerprint(image: UInt8[np.ndarray, "height width 3"]) -> Fingerprint:
    """Of RGB pixels."""
    content = hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16)
    content.update(str(image.shape).encode())
    grey = Image.fromarray(image).convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BOX)
    values = np.asarray(grey, np.int64)
    gradient = (values[:, 1:] < values[:, :-1]).ravel() if values.std() >= _LEAST_CONTRAST else None
    return Fingerprint(content.digest(), gradient)


def near_twins(pictures: Mapping[str, Fingerprint], others: Mapping[str, Fingerprint]) -> Iterator[tuple[str, str]]:
    """Names of pictures that look like one of the others, with the name of the one they are most like."""
    names, hashes = _hashes(pictures)
    other_names, other_hashes = _hashes(others)
    if not names or not other_names:
        return
    for first in range(0, len(names), _CHUNK):
        agreement = hashes[first : first + _CHUNK] @ other_hashes.T  # of +1 and -1: places less twice those that differ
        best = agreement.argmax(axis=1)
        differing = (SIDE * SIDE - agreement[np.arange(len(best)), best]) / 2
        for row in np.flatnonzero(differing <= NEAR).tolist():
            yield names[first + row], other_names[int(best[row])]


def _hashes(prints: Mapping[str, Fingerprint]) -> tuple[list[str], np.ndarray]:
    usable = {name: each.gradient for name, each in prints.items() if each.gradient is not None}
    return list(usable), np.array(list(usable.values()), np.float32).reshape(-1, SIDE * SIDE) * 2 - 1
