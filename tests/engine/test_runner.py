"""From a folder to a snapshot: once, again without doing anything, and however often it is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from engine_world import PHRASES, ColourSegmenter, open_world, run_world, true_masks, write_photos
from sqlalchemy import select

from masklet.engine.ledger.tables import TABLES, work_unit
from masklet.engine.project.statistics import statistics
from masklet.engine.runner import LEAST_FOR_SHARE, PoisonError, check_poison, has_ended
from masklet.engine.snapshots import export_saco, take_snapshot
from masklet.engine.stages.stage import Project
from masklet.engine.states import FINAL, State
from masklet.media.images import read_image
from masklet.ops.masks import rle_decode

WORKER = """
import sys
from pathlib import Path
from engine_world import open_world, run_world
run_world(open_world(Path(sys.argv[1]), Path(sys.argv[2])), run_id=sys.argv[3])
"""
KILLS = 8


def digest(project: Project) -> str:
    return take_snapshot(project.view).snapshot_id


def test_a_folder_becomes_labels_that_are_right(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 5)
    project = open_world(tmp_path / "project", photos)
    assert run_world(project)
    assert set(project.view.counts()) == FINAL
    assert sum(project.view.counts().values()) == 5 * len(PHRASES)
    for row in project.view.annotations():
        image = read_image(photos / project.view.one_media(row["media_id"])["uri"])
        maskset = project.view.maskset_by_id(row["maskset_id"])
        assert maskset is not None
        found = [rle_decode(mask.counts, *mask.size) for mask in project.view.masks(maskset)]
        truth = true_masks(image, row["text"])
        assert len(found) == len(truth)
        assert all(any((mask == other).all() for other in truth) for mask in found)


def test_a_second_run_asks_nothing_and_adds_nothing(tmp_path: Path) -> None:
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 4))
    run_world(project)
    before = {name: project.view.ledger.count(name) for name in TABLES}
    segmenter = ColourSegmenter()
    run_world(project, segmenter, run_id="second")
    after = {name: project.view.ledger.count(name) for name in TABLES}
    assert segmenter.calls == []
    assert after == before | {"run": before["run"] + 1}


def test_every_phrase_of_a_photo_is_asked_at_once(tmp_path: Path) -> None:
    segmenter = ColourSegmenter()
    run_world(open_world(tmp_path / "project", write_photos(tmp_path / "photos", 3)), segmenter)
    assert segmenter.calls == [tuple(sorted(PHRASES))] * 3


def test_a_new_photo_is_all_that_is_done_again(tmp_path: Path) -> None:
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 3))
    run_world(project)
    write_photos(tmp_path / "photos", 4)
    segmenter = ColourSegmenter()
    run_world(project, segmenter, run_id="second")
    assert len(segmenter.calls) == 1


def test_a_broken_photo_is_a_row_and_stops_nothing(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 2)
    (photos / "broken.png").write_bytes(b"\x89PNG not quite")
    (photos / "again.png").write_bytes((photos / "0000.png").read_bytes())
    project = open_world(tmp_path / "project", photos)
    assert run_world(project)
    rows = project.view.ledger.read(select(TABLES["media"].c.uri, TABLES["media"].c.error))
    assert [row["uri"] for row in rows if row["error"]] == ["broken.png"]
    assert len(project.view.annotations()) == 2 * len(PHRASES)
    figures = statistics(project.view)
    assert (figures.images, figures.broken, figures.copies) == (2, 1, 1)
    assert "2 images (1 broken, 1 equal copies" in figures.lines()[0]


def test_a_photo_that_vanishes_is_left_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    project = open_world(tmp_path / "project", photos)

    class Thief(ColourSegmenter):
        def open(self, image):
            (photos / "0001.png").unlink(missing_ok=True)
            return super().open(image)

    assert run_world(project, Thief())
    assert project.view.all_counts()[State.QUEUED] == len(PHRASES)
    assert set(project.view.counts()) <= FINAL
    assert statistics(project.view).replaced == 1
    query = select(work_unit.c.error).where(work_unit.c.state == "poison")
    assert "0001.png" in project.view.ledger.read(query)[0]["error"]


def test_too_many_failures_stop_a_stage() -> None:
    check_poison("masks", {"done": LEAST_FOR_SHARE, "poison": 2})
    check_poison("masks", {"done": 3, "poison": 3})
    with pytest.raises(PoisonError, match="3 of 203"):
        check_poison("masks", {"done": LEAST_FOR_SHARE, "poison": 3})


def test_only_processes_of_this_machine_are_known_to_have_ended() -> None:
    import socket

    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    assert has_ended(f"{socket.gethostname()}:{done.pid}")
    assert not has_ended(f"{socket.gethostname()}:{os.getpid()}")
    assert not has_ended(f"elsewhere.{socket.gethostname()}:{done.pid}")
    assert not has_ended("a worker")


def start_worker(project: Path, photos: Path, run_id: str) -> subprocess.Popen:
    paths = os.pathsep.join([str(Path(__file__).parents[1] / "support"), *sys.path])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", WORKER, str(project), str(photos), run_id], env=environment)


@pytest.mark.slow
def test_killed_at_any_point_the_snapshot_is_the_same(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 40)
    undisturbed = open_world(tmp_path / "undisturbed", photos)
    run_world(undisturbed)
    place = tmp_path / "killed"
    for kill in range(KILLS):
        worker = start_worker(place, photos, f"run {kill}")
        units = place / "ledger.sqlite"
        while not units.exists() and worker.poll() is None:
            time.sleep(0.02)
        time.sleep(0.05 + 0.07 * (kill * 7 % 5))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    assert start_worker(place, photos, "last").wait() == 0
    survived = open_world(place, photos)
    assert digest(survived) == digest(undisturbed)
    assert not survived.blobs.damaged()


def test_the_same_snapshot_is_exported_byte_by_byte(tmp_path: Path) -> None:
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 12))
    run_world(project)
    snapshot = take_snapshot(project.view)
    first, second = (export_saco(project.view, snapshot, tmp_path / name) for name in ("one", "two"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    manifest = json.loads(first[-1].read_text())
    assert manifest["counts"]["pairs"] == 12 * len(PHRASES)
    assert manifest["licences"] == ["CC0-1.0"]


@pytest.mark.slow
def test_several_workers_complete_each_unit_once(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 20)
    alone = open_world(tmp_path / "alone", photos)
    run_world(alone)
    workers = [start_worker(tmp_path / "shared", photos, f"worker {number}") for number in range(3)]
    assert [worker.wait() for worker in workers] == [0, 0, 0]
    shared = open_world(tmp_path / "shared", photos)
    assert digest(shared) == digest(alone)
    for name in ("verdict", "maskset", "annotation", "event"):
        assert shared.view.ledger.count(name) == alone.view.ledger.count(name)
