"""Evaluation images are found again when resized, encoded anew or cropped, and others are not taken for them."""

import io
from pathlib import Path

import numpy as np
import pytest
from engine_world import open_world, paint, run_world, write_photos
from PIL import Image

from masklet.engine.curation import guard
from masklet.engine.curation.guard import ALIKE, LeakGuard, grey_copy, likeness, register_set
from masklet.engine.project.upkeep import collect_garbage
from masklet.engine.records import Fact
from masklet.engine.runner import Runner
from masklet.engine.snapshots import take_snapshot
from masklet.engine.stages.ingest import Ingest, source_fact
from masklet.engine.stages.stage import Project
from masklet.errors import InputError


def scene(seed: int, sides: tuple[int, ...] = (3, 6, 12, 24)) -> Image.Image:
    """Something with structure of all sizes, as photos have."""
    rng = np.random.default_rng(seed)
    layers = [rng.normal(size=(side, side, 3)).astype(np.float32) for side in sides]
    total = np.zeros((240, 320, 3), np.float32)
    for layer in layers:
        grown = [
            np.asarray(Image.fromarray(layer[..., c]).resize((320, 240), Image.Resampling.BICUBIC)) for c in range(3)
        ]
        total += np.stack(grown, -1)
    return Image.fromarray((128 + 40 * total).clip(0, 255).astype(np.uint8))


def resized(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    scale = rng.uniform(0.3, 1.6)
    return image.resize((round(image.width * scale), round(image.height * scale)))


def encoded(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=int(rng.integers(25, 60)))
    return Image.open(file).convert("RGB")


def cropped(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    width, height = (round(0.9 * side) for side in image.size)
    left, top = int(rng.integers(0, image.width - width + 1)), int(rng.integers(0, image.height - height + 1))
    return image.crop((left, top, left + width, top + height))


def all_three(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return encoded(resized(cropped(image, rng), rng), rng)


CHANGES = (resized, encoded, cropped, all_three)


@pytest.fixture
def guarded(tmp_path: Path) -> Project:
    """A project of changed copies of twelve evaluation images, and of twelve others."""
    for folder in ("eval", "photos"):
        (tmp_path / folder).mkdir()
    rng = np.random.default_rng(0)
    for number in range(12):
        scene(number).save(tmp_path / "eval" / f"{number}.png")
        change = CHANGES[number % 4]
        change(scene(number), rng).save(tmp_path / "photos" / f"copy-{change.__name__}-{number}.png")
        scene(100 + number).save(tmp_path / "photos" / f"other-{number}.png")
    project = open_world(tmp_path / "project", tmp_path / "photos")
    register_set(project, "gold", tmp_path / "eval")
    return project


def test_copies_are_caught_by_name_and_others_are_not(guarded: Project) -> None:
    source = source_fact("mixed", "CC0-1.0")
    run = Fact(table="run", values={"run_id": "first", "started_at": 0, "code": "", "config": ""})
    guarded.view.ledger.add([source, run])
    Runner(guarded, [Ingest(source_id=source.values["source_id"]), LeakGuard()], "first").run()
    uris = {row["media_id"]: row["uri"] for row in guarded.view.media()}
    caught = {uris[media_id]: row["uri"] for media_id, row in guarded.view.leaks().items()}
    copies = [uri for uri in uris.values() if uri.startswith("copy")]
    assert sorted(caught) == sorted(copies)
    assert all(uri.rpartition("-")[2] == caught[uri] for uri in copies)


def test_what_leaks_is_in_no_snapshot_and_is_told(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 4)
    (tmp_path / "eval").mkdir()
    Image.fromarray(paint(np.random.default_rng([0, 1]))).resize((190, 190)).save(tmp_path / "eval" / "x.jpg")
    project = open_world(tmp_path / "project", photos)
    run_world(project)
    before = take_snapshot(project.view).manifest
    register_set(project, "gold", tmp_path / "eval")
    run_world(project, guard=LeakGuard(), run_id="second")
    after = take_snapshot(project.view).manifest
    (leak,) = after["left_out"]
    assert (leak["set"], leak["image"]) == ("gold", "x.jpg")
    assert before["counts"]["images"] - after["counts"]["images"] == 1
    assert leak["media"] not in {entry["media"] for entry in after["annotations"]}
    assert collect_garbage(project.view, dry_run=True) == []


def test_different_images_are_far_apart() -> None:
    copies = [grey_copy(np.asarray(scene(number))) for number in range(6)]
    values = [likeness(a, b) for i, a in enumerate(copies) for b in copies[:i]]
    assert max(values) < ALIKE - 0.2


def test_what_is_finely_patterned_is_found_between_the_places_of_the_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cloths = [scene(number, (24,)) for number in range(4)]
    pairs = [(grey_copy(np.asarray(cropped(cloth, rng))), grey_copy(np.asarray(cloth))) for cloth in cloths]
    assert min(likeness(part, whole) for part, whole in pairs) >= ALIKE
    monkeypatch.setattr(guard, "NEARLY", 2.0)  # never searched for
    assert min(likeness(part, whole) for part, whole in pairs) < ALIKE


def test_nothing_to_guard_is_told(guarded: Project, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images to guard"):
        register_set(guarded, "gold", tmp_path / "empty")
    with pytest.raises(InputError, match="has a name"):
        register_set(guarded, " ", tmp_path / "eval")
