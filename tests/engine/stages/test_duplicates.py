"""Copies are caught, whatever was done to them on the way; other photos are not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from masklet.engine.stages.duplicates import MOST_BITS, clusters, near_pairs
from masklet.engine.stages.ingest import perceptual_hash
from masklet.media.images import read_image


def photo(seed: int) -> Image.Image:
    """Smooth light and dark, as photos have."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 255, (7, 9, 3)).astype(np.uint8))
    return small.resize((360, 280), Image.Resampling.BICUBIC)


COPIES = {
    "smaller": lambda image, path: image.resize((180, 140)).save(path),
    "larger": lambda image, path: image.resize((500, 389)).save(path),
    "re-encoded": lambda image, path: image.save(path.with_suffix(".jpg"), quality=40),
    "brighter": lambda image, path: ImageEnhance.Brightness(image).enhance(1.15).save(path),
    "less contrast": lambda image, path: ImageEnhance.Contrast(image).enhance(0.8).save(path),
}


@pytest.mark.parametrize("change", COPIES)
@pytest.mark.parametrize("seed", range(5))
def test_copies_are_caught(tmp_path: Path, change: str, seed: int) -> None:
    photo(seed).save(tmp_path / "original.png")
    COPIES[change](photo(seed), tmp_path / "copy.png")
    hashes = [(path.name, perceptual_hash(read_image(path))) for path in sorted(tmp_path.iterdir())]
    assert len(clusters(hashes)) == 1


def test_other_photos_are_not() -> None:
    hashes = [(str(seed), perceptual_hash(np.asarray(photo(seed)))) for seed in range(200)]
    assert clusters(hashes) == []


def test_pairs_are_those_of_a_plain_count_of_bits() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2**63, 40, dtype=np.uint64)
    values[1::2] = values[::2] ^ np.uint64(0b1010101)
    plain = {
        (a, b) for a in range(40) for b in range(a + 1, 40) if bin(int(values[a]) ^ int(values[b])).count("1") <= 6
    }
    assert set(near_pairs(values, MOST_BITS)) == plain
    assert plain >= {(place, place + 1) for place in range(0, 40, 2)}


def test_a_cluster_reaches_through_others() -> None:
    assert clusters([("a", f"{0:016x}"), ("b", f"{0b111111:016x}"), ("c", f"{0b111111111111:016x}")]) == [
        ["a", "b", "c"]
    ]
