"""Why a label exists, what rests on what, taking back, comparing snapshots, and whether a project is whole."""

import json
import math
import sqlite3
from pathlib import Path

import numpy as np
import pytest
import yaml
from engine_world import PHRASES, ColourSegmenter, open_world, run_world, write_photos

from masklet.data.labels.layouts import LAYOUTS, LabelFiles, recognise
from masklet.data.sources import CocoConfig
from masklet.engine.ledger.tables import TABLES
from masklet.engine.project.answers import _agreement
from masklet.engine.project.exports import EXPORTS
from masklet.engine.project.lineage import impact, revoke, why
from masklet.engine.project.statistics import next_step, statistics
from masklet.engine.project.upkeep import collect_garbage, verify_store
from masklet.engine.project.versions import diff, revert
from masklet.engine.records import Author
from masklet.engine.snapshots import load_snapshot, take_snapshot
from masklet.engine.stages.stage import Project
from masklet.engine.states import State
from masklet.engine.verify.bands import expected_calibration_error
from masklet.errors import InputError


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 6))
    run_world(made)
    return made


def test_every_label_says_why_it_exists(project: Project) -> None:
    snapshot = take_snapshot(project.view)
    for row in project.view.annotations():
        text = "\n".join(why(project.view, row["annotation_id"]).lines())
        for part in ("squares (CC0-1.0)", row["text"], "colours-0.0", "all masks: accept", snapshot.snapshot_id[:12]):
            assert part in text
    with pytest.raises(InputError, match="0 annotations"):
        why(project.view, "nothing")


def test_impact_is_what_rests_on_a_name(project: Project) -> None:
    everything = {row["annotation_id"] for row in project.view.annotations()}
    assert {row["annotation_id"] for row in impact(project.view, "actor", ColourSegmenter().identity)} == everything
    assert {row["annotation_id"] for row in impact(project.view, "source", "squares")} == everything
    assert {row["text"] for row in impact(project.view, "phrase", PHRASES[0])} == {PHRASES[0]}
    assert len(impact(project.view, "phrase", PHRASES[0])) == 6
    model = ColourSegmenter().identity
    assert impact(project.view, "model", model) == impact(project.view, "actor", model)
    with pytest.raises(InputError, match="0 of kind person"):
        impact(project.view, "person", model)
    with pytest.raises(InputError, match="0 of kind actor"):
        impact(project.view, "actor", "nobody")


def test_a_revoked_phrase_is_gone_from_the_next_snapshot_and_not_asked_again(project: Project) -> None:
    before = take_snapshot(project.view)
    assert len(revoke(project.view, "phrase", PHRASES[0])) == 6
    segmenter = ColourSegmenter()
    run_world(project, segmenter, run_id="second")
    assert segmenter.calls == []
    after = take_snapshot(project.view)
    assert {entry["phrase"] for entry in after.manifest["annotations"]} == set(PHRASES[1:])
    assert load_snapshot(project.view, before.snapshot_id[:8]).manifest == before.manifest
    assert not verify_store(project.view)


def test_a_revoked_source_gives_nothing_any_more(project: Project) -> None:
    revoke(project.view, "source", "squares")
    assert project.view.annotations() == []
    assert project.view.pairs() == []


def test_a_revoked_model_is_asked_for_nothing_but_another_one_does_the_work_anew(project: Project) -> None:
    before = take_snapshot(project.view)
    revoke(project.view, "actor", ColourSegmenter().identity)
    assert project.view.annotations() == []
    with pytest.raises(InputError, match="was revoked"):
        run_world(project, run_id="second")
    other = ColourSegmenter(score=0.95)
    run_world(project, other, run_id="third")
    assert len(other.calls) == 6
    after = take_snapshot(project.view)
    assert after.manifest["counts"] == before.manifest["counts"]
    assert after.snapshot_id != before.snapshot_id
    assert {word for _, _, word in diff(project.view, before.snapshot_id, after.snapshot_id).changed} == {"other masks"}


def test_the_rules_themselves_stay(project: Project) -> None:
    with pytest.raises(InputError, match="rules"):
        revoke(project.view, "actor", "masklet")


def test_snapshots_are_compared_and_gone_back_to(project: Project, tmp_path: Path) -> None:
    first = take_snapshot(project.view)
    write_photos(tmp_path / "photos", 7)
    run_world(project, run_id="second")
    second = take_snapshot(project.view)
    found = diff(project.view, first.snapshot_id, "latest")
    assert found.added == [("0006.png", phrase) for phrase in sorted(PHRASES)]
    assert not found.removed
    assert not found.changed
    back = diff(project.view, second.snapshot_id, first.snapshot_id)
    assert back.removed == found.added
    revert(project.view, first.snapshot_id[:10])
    assert load_snapshot(project.view, "latest").snapshot_id == first.snapshot_id
    with pytest.raises(InputError, match="0 snapshots"):
        revert(project.view, "f" * 64)


def test_a_whole_project_is_whole_and_each_kind_of_damage_is_told(project: Project) -> None:
    assert verify_store(project.view) == []
    blobs = list(project.blobs)
    project.blobs.path(blobs[0]).write_bytes(b"other")
    project.blobs.path(blobs[1]).unlink()
    with sqlite3.connect(project.blobs.folder.parent / "ledger.sqlite") as raw:
        annotation = raw.execute("SELECT annotation_id FROM annotation LIMIT 1").fetchone()[0]
        raw.execute("UPDATE annotation SET polarity = 1 - polarity WHERE annotation_id = ?", [annotation])
        pair = raw.execute("SELECT pair_id FROM pair WHERE state = 'final_positive' LIMIT 1").fetchone()[0]
        raw.execute("UPDATE pair SET state = 'queued' WHERE pair_id = ?", [pair])
    text = "\n".join(verify_store(project.view))
    told = (f"{blobs[0]} is damaged", f"{blobs[1]} is missing", f"{annotation} was changed", f"{pair} is queued")
    for part in (*told, "1 pairs are queued, 0 were counted"):
        assert part in text


def test_garbage_is_what_no_row_refers_to(project: Project) -> None:
    kept = set(project.blobs)
    lost = project.blobs.put(b"left behind by a killed unit")
    assert collect_garbage(project.view, dry_run=True) == [lost]
    assert collect_garbage(project.view, dry_run=False) == [lost]
    assert set(project.blobs) == kept
    assert verify_store(project.view) == []


def test_statistics_count_what_is_there(project: Project) -> None:
    found = statistics(project.view)
    assert (found.images, found.broken, found.duplicates, found.phrases) == (6, 0, 0, 3)
    assert sum(found.states.values()) == sum(found.tiers.values()) == 18
    assert found.tiers == {"SYN": 18}
    positive = [row for row in project.view.annotations() if row["polarity"]]
    masks = sum(len(json.loads(row["masks"])) for row in positive)
    assert found.masks_per_positive == pytest.approx(masks / len(positive))
    assert json.loads(json.dumps(found.to_json()))["paper_seconds_per_pair"]["with verifiers"] == 23
    assert "6 images" in found.lines()[0]
    assert found.coverage == {"other products": 3}
    absent = sum(not row["polarity"] for row in project.view.annotations())
    assert found.share_of_negatives == pytest.approx(absent / 18)


def test_agreement_is_that_of_models_and_people_on_what_both_answered(project: Project) -> None:
    rows = [
        row
        for pair in project.view.pairs()
        for row in project.view.verdicts(pair["pair_id"], "exhaustivity")
        if row["label"] == "accept"
    ]
    person = Author(kind="person", name="ann").fact()
    project.view.ledger.add([person])
    said = {rows[0]["verdict_id"]: "accept", rows[1]["verdict_id"]: "accept", rows[2]["verdict_id"]: "reject"}
    columns = TABLES["verdict"].c.keys()
    answers = [
        {name: row[name] for name in columns}
        | {"verdict_id": f"by hand {key}", "actor_id": person.values["actor_id"], "label": said[key]}
        for row in rows
        if (key := row["verdict_id"]) in said
    ]
    with project.view.ledger.transaction() as connection:
        connection.execute(TABLES["verdict"].insert(), answers)
    figures = statistics(project.view)
    assert figures.agreement.keys() == {"exhaustivity"}
    found = figures.agreement["exhaustivity"]
    assert (found.both, found.equal, found.accepted, found.false_accepts) == (3, 2, 3, 1)
    likely = [row["confidence"] for row in rows[:3]]
    assert found.calibration == pytest.approx(expected_calibration_error(likely, [True, True, False]))
    assert "people took back 1 of 3" in "\n".join(figures.lines())


def test_kappa_and_correlation_are_those_of_a_worked_example() -> None:
    model, person = [True] * 25 + [False] * 25, [True] * 20 + [False] * 5 + [True] * 10 + [False] * 15
    found = _agreement(model, person, [0.5] * 50)
    assert found.kappa == pytest.approx(0.4)
    assert found.mcc == pytest.approx((20 * 15 - 5 * 10) / math.sqrt(25 * 25 * 30 * 20))
    assert (found.false_accepts, found.accepted) == (5, 25)
    assert found.calibration == pytest.approx(0.1)  # said 0.5 of what is right in 0.6


def test_statistics_leave_out_what_no_longer_holds_and_follow_the_latest_cluster(project: Project) -> None:
    before = statistics(project.view)
    rows = project.view.annotations()
    revoked = next(row for row in rows if row["polarity"])
    with project.view.ledger.transaction() as connection:
        table = TABLES["annotation"]
        one = table.c.annotation_id == revoked["annotation_id"]
        connection.execute(table.update().where(one).values(revoked=1, masks="[0, 1, 2, 3, 4]"))
        images = sorted({row["media_id"] for row in rows})
        answers = [(images[1], images[0], 100), (images[2], images[0], 100), (images[2], images[2], 200)]
        keys = ("media_id", "representative", "position")
        found = [dict(zip(keys, each, strict=True)) | {"cluster_row_id": str(n)} for n, each in enumerate(answers)]
        connection.execute(TABLES["cluster"].insert(), found)
    after = statistics(project.view)
    assert sum(after.tiers.values()) == sum(before.tiers.values()) - 1
    assert after.duplicates == sum(one != other for one, other in project.view.clusters().items()) == 1
    positive = [row for row in project.view.annotations() if row["polarity"]]
    masks = [len(json.loads(row["masks"])) for row in positive]
    assert after.masks_per_positive == pytest.approx(sum(masks) / len(masks))


@pytest.mark.parametrize(
    ("state", "command"),
    [
        (State.HUMAN_MASKS, "--task masks"),
        (State.RECHECK, "--task exhaustivity"),
        (State.TO_CORRECT_GROUP, "--for-correction"),
        (State.FINAL_POSITIVE, "--task audit"),
        (State.QUEUED, "engine resume project"),
    ],
)
def test_the_next_step_is_what_is_open(state: State, command: str) -> None:
    assert command in next_step({str(state): 3}, "project")


@pytest.mark.parametrize("layout", EXPORTS)
def test_exports_are_read_back_by_training_with_every_mask(project: Project, tmp_path: Path, layout: str) -> None:
    snapshot = take_snapshot(project.view)
    written = EXPORTS[layout](project, snapshot, tmp_path / "one")
    again = EXPORTS[layout](project, snapshot, tmp_path / "two")
    assert [path.read_bytes() for path in written] == [path.read_bytes() for path in again]
    if layout == "yolo":
        files = [
            (written[0], part) for part in yaml.safe_load(written[0].read_text()) if part in ("train", "val", "test")
        ]
    else:
        files = [(path, "train") for path in written if path.name not in ("manifest.json", "DATASHEET.md")]
    objects = images = 0
    for path, part in files:
        opened = LAYOUTS[recognise(path)].open(
            LabelFiles(labels=path, images=project.originals, part=part), CocoConfig(split="all")
        )
        for index in range(len(opened)):
            example = opened.example(index, np.random.default_rng(0))
            objects += len(example.boxes_xyxy)
            images += 1
    assert objects == snapshot.manifest["counts"]["masks"]
    assert images >= 6
