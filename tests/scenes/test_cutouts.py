"""Scenes composed of cut-outs, from a handful of tiny ones made here."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scene_checks import assert_labelled, assert_same

from masklet.scenes.cutouts import CutoutLibrary, build_composition, compose_scene
from masklet.scenes.layout import SceneConfig

CONFIG = SceneConfig(size=128)
ROWS = replace(CONFIG, row_share=1.0)
NAMES = [["dalmatian", "dog", "animal"], ["dog", "animal"], ["cat", "animal"], ["mug"], ["red apple", "apple", "fruit"]]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("pack")
    cutouts, backgrounds = root / "cutouts", root / "backgrounds"
    cutouts.mkdir()
    backgrounds.mkdir()
    records = []
    for number in range(40):
        image = Image.new("RGBA", (60, 40 + number))
        ImageDraw.Draw(image).ellipse((4, 4, 55, 35 + number), fill=(6 * number, 200 - 4 * number, 90, 255))
        image.save(cutouts / f"{number}.webp")
        phrases = NAMES[number % len(NAMES)]
        records.append({"file": f"{number}.webp", "phrases": phrases, "group": "Animals & Nature"})
    (cutouts / "index.json").write_text(json.dumps(records))
    noise = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(noise).save(backgrounds / "a.png")
    record = {"file": "a.png", "source": "grocery", "present_phrases": ["dalmatian"]}
    (backgrounds / "index.json").write_text(json.dumps([record]))
    return cutouts, backgrounds


@pytest.fixture(scope="module")
def library(folders: tuple[Path, Path]) -> CutoutLibrary:
    return CutoutLibrary.open(*folders)


def test_splits_share_no_file(folders: tuple[Path, Path]) -> None:
    train, held_out = (CutoutLibrary.open(*folders, split=split) for split in ("train", "heldout"))
    files = [{cutout.path for cutout in part.cutouts} for part in (train, held_out)]
    assert not files[0] & files[1]
    assert len(files[0] | files[1]) == 40
    assert len(train.backgrounds) + len(held_out.backgrounds) == 1


def test_same_seed_same_scene(library: CutoutLibrary, folders: tuple[Path, Path]) -> None:
    assert_same(compose_scene(5, library, CONFIG), compose_scene(5, CutoutLibrary.open(*folders), CONFIG))


def test_composed_labels_are_exact(library: CutoutLibrary) -> None:
    for seed in range(25):
        example = compose_scene(seed, library, CONFIG)
        assert example.source == "cutouts"
        assert_labelled(example)


def test_rows_stand_side_by_side(library: CutoutLibrary) -> None:
    rows = [
        sorted(build_composition(np.random.default_rng(seed), library, ROWS).pasted, key=lambda one: one.x)
        for seed in range(60)
    ]
    rows = [row for row in rows if len(row) > 1]
    assert len(rows) >= 45
    # Upright, of one size, mostly of one name; side by side unless one between was refused
    assert max(abs(one.rotation) for row in rows for one in row) < 0.4
    assert np.median([max(one.size for one in row) / min(one.size for one in row) for row in rows]) < 1.5
    assert 0.6 < np.mean([len({one.cutout.nouns[0] for one in row}) == 1 for row in rows]) < 1
    gaps = [
        (after.x - before.x) / (before.size / 2 + after.size / 2) for row in rows for before, after in pairwise(row)
    ]
    assert np.mean(np.array(gaps) < 1.1) > 0.8
    for seed in range(15):
        assert_labelled(compose_scene(seed, library, ROWS))


def test_broader_words_cover_narrower_ones(library: CutoutLibrary) -> None:
    for seed in range(60):
        answers = {query.phrase: set(query.object_index) for query in compose_scene(seed, library, CONFIG).queries}
        for narrow, broad in (("dalmatian", "dog"), ("dog", "animal"), ("cat", "animal"), ("red apple", "apple")):
            assert answers.get(narrow, set()) <= answers.get(broad, answers.get(narrow, set()))


def test_nothing_doubtful_is_denied(library: CutoutLibrary) -> None:
    dog, cat, apple = (library.by_noun[noun][0] for noun in ("dog", "cat", "apple"))
    assert "dalmatian" in library.unclear_nouns(dog)
    assert "dalmatian" not in library.unclear_nouns(cat)
    assert "circle" in library.unclear_nouns(cat)
    assert apple.colour == "red"
    assert "red apple" not in apple.nouns


def test_photo_grounds_limit_what_is_denied(folders: tuple[Path, Path]) -> None:
    backgrounds = [
        *CutoutLibrary.open(*folders).backgrounds,
        *CutoutLibrary.open(*folders, split="heldout").backgrounds,
    ]
    library = CutoutLibrary(CutoutLibrary.open(*folders).cutouts, tuple(backgrounds))
    clear = library.clear_of(backgrounds[0])
    assert "dalmatian" not in clear
    assert "animal" not in clear
    for seed in range(40):
        for query in compose_scene(seed, library, CONFIG).queries:
            assert query.object_index or query.exhaustive
