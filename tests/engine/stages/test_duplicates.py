"""Copies are caught, whatever was done to them on the way; other photos are not."""

from pathlib import Path

import numpy as np
import pytest
from engine_world import open_world, run_world
from PIL import Image, ImageEnhance

from masklet.engine.stages.duplicates import MOST_BITS, clusters, looks_alike, near_pairs, small_copy
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
    images = {path.name: read_image(path) for path in sorted(tmp_path.iterdir())}
    hashes = [(name, perceptual_hash(image)) for name, image in images.items()]
    assert len(clusters(hashes, lambda a, b: looks_alike(small_copy(images[a]), small_copy(images[b])))) == 1


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


def test_hashes_of_blocks_are_all_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("masklet.engine.stages.duplicates.BLOCK", 3)
    monkeypatch.setattr("masklet.engine.stages.duplicates.WIDE", 7)
    values = np.random.default_rng(0).integers(0, 8, 40, dtype=np.uint64)
    every = {(a, b) for a in range(40) for b in range(a + 1, 40)}
    assert set(near_pairs(values, 64)) == every


def test_photos_of_other_colours_are_not_copies(tmp_path: Path) -> None:
    """A hash of light and dark alone takes them for the same, and only one of them would be labelled."""
    photos = tmp_path / "photos"
    photos.mkdir()
    grey = np.asarray(photo(3).convert("L"), int) // 3 + 40
    for name, (red, blue) in {"dusk": (40, 0), "noon": (0, 105)}.items():  # the same to a grey eye
        tinted = np.stack([grey + red, grey, grey + blue], -1).astype(np.uint8)
        Image.fromarray(tinted).save(photos / f"{name}.png")
        Image.fromarray(tinted).resize((180, 140)).save(photos / f"{name} small.png")
    hashes = [(path.name, perceptual_hash(read_image(path))) for path in sorted(photos.iterdir())]
    assert len(clusters(hashes)) == 1
    project = open_world(tmp_path / "project", photos)
    run_world(project)
    uris = {row["media_id"]: row["uri"] for row in project.view.media()}
    found = {uris[media_id]: uris[other] for media_id, other in project.view.clusters().items()}
    assert found == {f"{name}{small}.png": f"{name}.png" for name in ("dusk", "noon") for small in ("", " small")}
