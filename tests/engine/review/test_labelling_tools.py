"""Corrections by people in other tools come back to the pixel, and what a person made is never overwritten."""

import json
from pathlib import Path

import numpy as np
import pytest
from engine_world import ColourSegmenter, open_world, run_world, true_masks, write_photos

from masklet.data.labels.conversion import WRITERS, LabelExport, find_image, read_any
from masklet.data.labels.layouts import LabelFiles
from masklet.engine.ledger.ledger import RULES
from masklet.engine.project.exports import EXPORTS
from masklet.engine.records import Move, Outcome
from masklet.engine.review.corrections import TOOLS, export_for_correction, import_corrections, is_rechecked
from masklet.engine.snapshots import take_snapshot
from masklet.engine.stages.stage import Project
from masklet.engine.states import Cause, State
from masklet.errors import InputError
from masklet.formats.coco import CocoBuilder
from masklet.formats.records import RunLengths
from masklet.media.images import read_image
from masklet.ops.masks import rle_decode, rle_encode

FILES = {"coco": "coco.json", "labelstudio": "tasks.json", "cvat": "annotations.xml", "labelme": "."}


@pytest.fixture
def waiting(tmp_path: Path) -> Project:
    """A project that overlooks much, all of whose pairs wait for correction; photos lie in folders."""
    photos = write_photos(tmp_path / "photos" / "below", 3)
    project = open_world(tmp_path / "project", photos.parent)
    run_world(project, ColourSegmenter(drop=0.4))
    for pair in project.view.pairs():
        cause = Cause.SOME_MISSING if pair["state"] == State.HUMAN_PENDING else Cause.AUDIT_FAILED
        project.view.ledger.act(Outcome(moves=[Move(pair_id=pair["pair_id"], cause=cause)]), RULES)
    return project


def truth_in(tool: str, project: Project, folder: Path) -> Path:
    """All squares of all photos, as a tool would give them back after correction."""
    builder = CocoBuilder()
    pairs = project.view.pairs()
    for media in project.view.media():
        pixels = read_image(project.originals / media["uri"])
        builder.add_image(media["uri"], (media["height"], media["width"]))
        for text in sorted({pair["text"] for pair in pairs}):
            builder.add_category(text)
            for mask in true_masks(pixels, text):
                builder.add_object(text, None, RunLengths(size=list(mask.shape), counts=rle_encode(mask)))
    export = LabelExport(labels=builder.build(), folder=folder, find_image=lambda name: project.originals / name)
    WRITERS[tool](export)
    return folder / FILES[tool]


@pytest.mark.parametrize("tool", TOOLS)
def test_what_went_out_comes_back_as_it_was(waiting: Project, tmp_path: Path, tool: str) -> None:
    count = export_for_correction(waiting, tmp_path / "out", tool)
    assert count == len(waiting.view.pairs(State.TO_CORRECT)) == 9
    labels = read_any(LabelFiles(labels=tmp_path / "out" / FILES[tool]), find_image(tmp_path / "out" / FILES[tool]))
    assert len(labels.annotations) == sum(
        len(waiting.view.accepted(pair["pair_id"], maskset))
        for pair in waiting.view.pairs()
        if (maskset := waiting.view.maskset(pair["pair_id"]))
    )
    assert import_corrections(waiting, tmp_path / "out" / FILES[tool], "Ada") == {"unchanged": 9}


@pytest.mark.parametrize("tool", TOOLS)
def test_corrections_of_each_tool_are_a_persons_labels(waiting: Project, tmp_path: Path, tool: str) -> None:
    counts = import_corrections(waiting, truth_in(tool, waiting, tmp_path / "done"), "Ada", all_done=True)
    assert counts == {"corrected": 9}
    run_world(waiting, ColourSegmenter(drop=0.4), run_id="second")
    rows = {row["pair_id"]: row for row in waiting.view.annotations()}
    for pair in waiting.view.pairs():
        if is_rechecked(pair["pair_id"]):
            continue
        row = rows[pair["pair_id"]]
        masks = waiting.view.masks(waiting.view.maskset_by_id(row["maskset_id"]) or {})
        found = sorted(mask.counts for mask in masks)
        pixels = read_image(waiting.originals / waiting.view.one_media(pair["media_id"])["uri"])
        assert found == sorted(rle_encode(mask) for mask in true_masks(pixels, pair["text"]))
        assert row["tier"] == "HQ-human"


def test_what_models_decided_is_corrected_when_the_file_holds_everything(tmp_path: Path) -> None:
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 4))
    run_world(project, ColourSegmenter(drop=0.4))
    file = truth_in("cvat", project, tmp_path / "done")
    before = len(project.view.pairs(State.FINAL_POSITIVE, State.FINAL_NEGATIVE))
    assert import_corrections(project, file, "Ada") == {"not waiting": 12}
    counts = import_corrections(project, file, "Ada", also_final=True)
    assert 0 < counts["corrected"] < before
    assert counts["corrected"] + counts["unchanged"] == before


def test_what_a_person_made_is_never_overwritten(waiting: Project, tmp_path: Path) -> None:
    file = truth_in("labelme", waiting, tmp_path / "done")
    import_corrections(waiting, file, "Ada", all_done=True)
    run_world(waiting, run_id="second")
    before = waiting.view.annotations()
    (tmp_path / "none").mkdir()
    for media in waiting.view.media():
        name = media["uri"].rsplit("/", 1)[-1]
        empty = {"shapes": [], "imagePath": name, "imageHeight": media["height"], "imageWidth": media["width"]}
        path = tmp_path / "none" / media["uri"]
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".json").write_text(json.dumps(empty))
    counts = import_corrections(waiting, tmp_path / "none", "Grace", all_done=True, also_final=True)
    assert counts["corrected"] == 0
    assert waiting.view.annotations() == before


def test_label_studio_forgets_folders_and_phrases_without_shapes(waiting: Project, tmp_path: Path) -> None:
    truth_in("labelstudio", waiting, tmp_path / "done")
    tasks = json.loads((tmp_path / "done" / "tasks.json").read_text())
    for task in tasks:
        task["data"]["image"] = "/data/upload/7/0123abcd-" + task["data"]["image"].rsplit("/", 1)[-1]
        task["annotations"][0]["result"] = []
    (tmp_path / "empty.json").write_text(json.dumps(tasks))
    counts = import_corrections(waiting, tmp_path / "empty.json", "Ada", all_done=True)
    assert counts == {"corrected": 9}
    assert all(not np.any(rle_decode(m.counts, *m.size)) for p in waiting.view.pairs() for m in masks_now(waiting, p))


def masks_now(project: Project, pair: dict) -> list:
    maskset = project.view.maskset(pair["pair_id"])
    return project.view.masks(maskset) if maskset else []


def test_label_studio_gets_its_configuration(waiting: Project, tmp_path: Path) -> None:
    export_for_correction(waiting, tmp_path / "out", "labelstudio")
    config = (tmp_path / "out" / "config.xml").read_text()
    assert all(config.count(f'value="{phrase}"') == 2 for phrase in ("red square", "green square", "blue square"))
    assert len(list((tmp_path / "out" / "images").rglob("*.png"))) == 3


def test_another_tool_is_refused_in_a_sentence(waiting: Project, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose from coco, labelstudio"):
        export_for_correction(waiting, tmp_path, "paint")


@pytest.mark.parametrize("tool", ["labelstudio", "cvat", "labelme"])
def test_snapshots_go_to_tools_with_the_same_bytes_each_time(tmp_path: Path, tool: str) -> None:
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 6))
    run_world(project)
    snapshot = take_snapshot(project.view)
    first, second = (EXPORTS[tool](project, snapshot, tmp_path / name) for name in ("a", "b"))
    assert first
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
