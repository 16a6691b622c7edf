"""A verdict is about the bytes of a photo: it lapses when the file holds another, and is back when the photo is."""

import os
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from engine_world import PHRASES, ColourSegmenter, open_world, paint, run_world, write_photos
from PIL import Image

from masklet.engine.project.lineage import revoke, why
from masklet.engine.project.statistics import next_step, statistics
from masklet.engine.project.upkeep import verify_store
from masklet.engine.project.versions import diff
from masklet.engine.snapshots import export_saco, load_snapshot, take_away, take_snapshot
from masklet.engine.stages.ingest import Ingest, source_fact
from masklet.engine.stages.stage import Project
from masklet.engine.states import State
from masklet.errors import InputError
from masklet.formats.saco import read_saco

ALL = len(PHRASES)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 4))
    run_world(made)
    return made


def exchange(path: Path, seed: int) -> None:
    """Another photo of the same size under the same name."""
    Image.fromarray(paint(np.random.default_rng([9, seed]))).save(path)
    os.utime(path, ns=(seed, seed))


def test_labels_of_a_photo_that_was_exchanged_are_in_no_snapshot(project: Project, tmp_path: Path) -> None:
    before = take_snapshot(project.view)
    old = [row for row in project.view.annotations() if uri_of(project, row) == "0001.png"]
    exchange(project.originals / "0001.png", 1)
    segmenter = ColourSegmenter()
    run_world(project, segmenter, run_id="second")
    assert len(segmenter.calls) == 1  # the new photo alone
    after = take_snapshot(project.view)
    assert after.manifest["counts"]["pairs"] == before.manifest["counts"]["pairs"]
    new = {entry["annotation"] for entry in after.manifest["annotations"]}
    assert not new & {row["annotation_id"] for row in old}
    assert {uri for uri, _, _ in diff(project.view, before.snapshot_id, "latest").changed} == {"0001.png"}
    assert "REPLACED" in "\n".join(why(project.view, old[0]["annotation_id"]).lines())
    figures = statistics(project.view)
    assert (figures.images, figures.replaced) == (4, 1)
    assert "1 changed or gone since" in figures.lines()[0]
    assert sum(figures.states.values()) == 4 * ALL
    assert verify_store(project.view) == []
    with pytest.raises(InputError, match=r"0001\.png changed or went"):
        export_saco(project.view, before, tmp_path / "old", originals=project.originals)
    assert not (tmp_path / "old").exists()


def uri_of(project: Project, row: dict) -> str:
    return project.view.one_media(row["media_id"])["uri"]


def test_labels_are_back_when_the_photo_is_however_often(project: Project, tmp_path: Path) -> None:
    photo, kept = project.originals / "0001.png", tmp_path / "kept.png"
    shutil.copy2(photo, kept)
    before = take_snapshot(project.view).snapshot_id
    for turn in range(2):
        exchange(photo, 1)
        run_world(project, run_id=f"away {turn}")
        assert take_snapshot(project.view).snapshot_id != before
        shutil.copy2(kept, photo)
        segmenter = ColourSegmenter()
        run_world(project, segmenter, run_id=f"back {turn}")
        assert segmenter.calls == []
        assert take_snapshot(project.view).snapshot_id == before


def test_a_snapshot_shows_the_photo_that_its_labels_are_of(project: Project, tmp_path: Path) -> None:
    export_saco(project.view, take_snapshot(project.view), tmp_path / "out", originals=project.originals)
    (project.originals / "0001.png").unlink()
    exchange(project.originals / "0001.png", 1)
    run_world(project, run_id="second")
    export_saco(project.view, take_snapshot(project.view), tmp_path / "out", originals=project.originals)
    shown = (tmp_path / "out" / "images" / "0001.png").read_bytes()
    assert shown == (project.originals / "0001.png").read_bytes()
    (tmp_path / "other" / "images").mkdir(parents=True)
    (tmp_path / "other" / "images" / "0001.png").write_bytes(b"mine")
    with pytest.raises(InputError, match="another image"):
        export_saco(project.view, take_snapshot(project.view), tmp_path / "other", originals=project.originals)
    assert (tmp_path / "other" / "images" / "0001.png").read_bytes() == b"mine"


def test_a_renamed_photo_keeps_its_labels_under_its_new_name(project: Project, tmp_path: Path) -> None:
    before = take_snapshot(project.view).snapshot_id
    (project.originals / "holiday").mkdir()
    (project.originals / "0002.png").rename(project.originals / "holiday" / "beach.png")
    segmenter = ColourSegmenter()
    run_world(project, segmenter, run_id="second")
    assert segmenter.calls == []
    assert take_snapshot(project.view).snapshot_id == before
    export_saco(project.view, load_snapshot(project.view, "latest"), tmp_path / "out", originals=project.originals)
    names = {pair.file_name for path in (tmp_path / "out").glob("t*.json") for pair in read_saco(path).pairs.values()}
    names |= {pair.file_name for path in (tmp_path / "out").glob("v*.json") for pair in read_saco(path).pairs.values()}
    assert "holiday/beach.png" in names
    assert "0002.png" not in names
    assert (tmp_path / "out" / "images" / "holiday" / "beach.png").is_file()


def test_labels_of_a_photo_that_is_gone_are_in_no_snapshot_until_it_is_back(project: Project, tmp_path: Path) -> None:
    """Before, no run and no sheet came to an end any more."""
    before = take_snapshot(project.view)
    out, kept = tmp_path / "out", tmp_path / "0001.png"
    export_saco(project.view, before, out, originals=project.originals)
    for turn in range(3):  # the same file, with its time, goes and comes back
        shutil.move(project.originals / "0001.png", kept)
        at = {row["uri"]: row["media_id"] for row in project.view.media()}
        project.picture(at["0000.png"])  # the last one is kept
        with pytest.raises(InputError, match=r"0001\.png is gone: put it back, or run again to leave it out"):
            project.picture(at["0001.png"])
        run_world(project, run_id=f"without {turn}")
        assert {uri_of(project, row) for row in project.view.annotations()} == {"0000.png", "0002.png", "0003.png"}
        figures = statistics(project.view)
        assert (figures.images, figures.replaced) == (3, 1)
        export_saco(project.view, take_snapshot(project.view), out, originals=project.originals)
        assert not (out / "images" / "0001.png").exists()
        assert verify_store(project.view) == []
        shutil.move(kept, project.originals / "0001.png")
        segmenter = ColourSegmenter()
        run_world(project, segmenter, run_id=f"with {turn}")
        assert segmenter.calls == []
        assert take_snapshot(project.view).snapshot_id == before.snapshot_id
        assert statistics(project.view).replaced == 0
        export_saco(project.view, before, out, originals=project.originals)
        assert (out / "images" / "0001.png").is_file()


def test_only_what_lies_in_a_snapshot_is_taken_from_it(project: Project, tmp_path: Path) -> None:
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "images").symlink_to(project.originals)
    (tmp_path / "out" / "images").mkdir(parents=True)
    shutil.copy(project.originals / "0001.png", tmp_path / "out" / "images")
    mine = tmp_path / "out" / "mine.png"
    mine.write_bytes(b"mine")
    take_away(tmp_path / "linked", ["0001.png"])
    take_away(tmp_path / "out", ["0001.png", "../mine.png", str(mine), "not/there.png"])
    assert (project.originals / "0001.png").is_file()
    assert mine.is_file()
    assert not list((tmp_path / "out" / "images").iterdir())


def test_a_photo_that_is_renamed_there_and_back_keeps_its_labels(project: Project) -> None:
    before = take_snapshot(project.view).snapshot_id
    for turn, (name, other) in enumerate([("0002.png", "beach.png"), ("beach.png", "0002.png")] * 2):
        (project.originals / name).rename(project.originals / other)
        run_world(project, run_id=f"turn {turn}")
        assert take_snapshot(project.view).snapshot_id == before
        assert other in {row["uri"] for row in project.view.media()}


def test_an_empty_folder_is_a_drive_that_is_not_there(project: Project) -> None:
    for path in project.originals.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no photos are left in"):
        run_world(project, run_id="second")
    assert len(project.view.annotations()) == 4 * ALL


def test_a_ledger_that_counted_looks_is_renewed(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    project = open_world(tmp_path / "project", photos)
    run_world(project)
    before = take_snapshot(project.view).snapshot_id
    project.view.ledger.close()
    with sqlite3.connect(tmp_path / "project" / "ledger.sqlite") as raw:
        raw.execute("ALTER TABLE place ADD COLUMN looks INTEGER NOT NULL DEFAULT 1")
        raw.execute("UPDATE meta SET value = '3' WHERE name = 'schema'")
    again = open_world(tmp_path / "project", photos)
    exchange(photos / "0001.png", 1)
    run_world(again, run_id="second")
    assert statistics(again.view).replaced == 1
    assert take_snapshot(again.view).snapshot_id != before


def test_a_copy_stands_in_for_a_photo_that_was_exchanged(project: Project) -> None:
    shutil.copy(project.originals / "0003.png", project.originals / "copy.png")
    run_world(project, run_id="second")
    exchange(project.originals / "0003.png", 3)
    run_world(project, run_id="third")
    uris = {row["uri"] for row in project.view.media()}
    assert uris == {"0000.png", "0001.png", "0002.png", "0003.png", "copy.png"}
    assert statistics(project.view).replaced == 0
    assert len(project.view.annotations()) == 5 * ALL


def test_a_duplicate_is_labelled_when_the_one_that_stood_for_it_is_gone(project: Project) -> None:
    original = Image.open(project.originals / "0000.png")
    original.resize((80, 80)).save(project.originals / "small.png")
    run_world(project, run_id="second")
    assert statistics(project.view).duplicates == 1
    exchange(project.originals / "0000.png", 0)
    run_world(project, run_id="third")
    assert "small.png" in {uri_of(project, row) for row in project.view.annotations()}


def test_a_broken_photo_that_was_mended_is_broken_no_more(project: Project) -> None:
    (project.originals / "new.png").write_bytes(b"half a photo")
    run_world(project, run_id="second")
    exchange(project.originals / "new.png", 7)
    run_world(project, run_id="third")
    figures = statistics(project.view)
    assert (figures.images, figures.broken) == (5, 0)


def test_photos_get_the_licence_that_is_named_later(project: Project) -> None:
    source = source_fact("squares", "CC-BY-4.0")
    project.view.ledger.add([source])
    stage = Ingest(source_id=source.values["source_id"])
    units = stage.plan(project)
    assert len(units) == 4
    for unit in units:
        project.view.ledger.act(stage.run(project, unit.subject), stage.actor)
    assert stage.plan(project) == []
    assert {row["source_id"] for row in project.view.media()} == {source.values["source_id"]}


def test_what_was_taken_back_is_no_work_that_waits(project: Project) -> None:
    revoke(project.view, "phrase", PHRASES[0])
    run_world(project, run_id="second")
    states = statistics(project.view).states
    assert sum(states.values()) == 4 * (ALL - 1)
    assert "wait for the model" not in next_step(states, "project")
    assert project.view.all_counts()[State.QUEUED] == 4


def test_a_ledger_of_before_knows_its_places_after(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    project = open_world(tmp_path / "project", photos)
    run_world(project)
    before = take_snapshot(project.view).snapshot_id
    counts = project.view.counts()
    project.view.ledger.close()
    with sqlite3.connect(tmp_path / "project" / "ledger.sqlite") as raw:
        raw.execute("DROP TABLE place")
        raw.execute("DROP TABLE replaced")
        raw.execute("UPDATE meta SET value = '2' WHERE name = 'schema'")
    again = open_world(tmp_path / "project", photos)
    assert again.view.counts() == counts
    segmenter = ColourSegmenter()
    run_world(again, segmenter, run_id="second")
    assert segmenter.calls == []
    assert take_snapshot(again.view).snapshot_id == before
    exchange(photos / "0001.png", 1)
    run_world(again, run_id="third")
    assert statistics(again.view).replaced == 1
