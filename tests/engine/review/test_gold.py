"""Three people label gold pairs apart from each other; nobody twice, nothing twice, and nothing is learnt from them."""

import json
from pathlib import Path

import pytest
from engine_world import open_world, run_world, true_masks, write_photos
from scipy import ndimage

from masklet.data.labels.conversion import WRITERS, LabelExport
from masklet.engine.project.upkeep import verify_store
from masklet.engine.review.gold import choose_gold, export_slot, gold_pairs, import_slot, write_gold
from masklet.engine.snapshots import take_snapshot
from masklet.engine.stages.stage import Project
from masklet.errors import InputError
from masklet.formats.coco import CocoBuilder
from masklet.formats.records import RunLengths
from masklet.media.images import read_image
from masklet.ops.masks import rle_encode
from masklet.workflows.engine.gold_scores import people_against_people


@pytest.fixture
def project(tmp_path: Path) -> Project:
    found = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 4))
    run_world(found)
    return found


def labels_of(project: Project, folder: Path, grown: int = 0) -> Path:
    """All squares, outlined by somebody who draws them so many pixels too wide."""
    builder = CocoBuilder()
    for media in project.view.media():
        pixels = read_image(project.originals / media["uri"])
        builder.add_image(media["uri"], (media["height"], media["width"]))
        for text in ("red square", "green square", "blue square"):
            for mask in true_masks(pixels, text):
                drawn = ndimage.binary_dilation(mask, iterations=grown) if grown else mask
                builder.add_object(text, None, RunLengths(size=list(mask.shape), counts=rle_encode(drawn)))
    find = project.originals.joinpath
    WRITERS["labelstudio"](LabelExport(labels=builder.build(), folder=folder, find_image=find))
    return folder / "tasks.json"


def test_gold_is_whole_images_and_never_learnt_from(project: Project) -> None:
    assert choose_gold(project, 4) == 6  # two whole images
    assert choose_gold(project, 4) == 6
    gold = set(gold_pairs(project.view))
    media = {row["media_id"] for row in project.view.pairs() if row["pair_id"] in gold}
    splits = {
        entry["split"] for entry in take_snapshot(project.view).manifest["annotations"] if entry["media"] in media
    }
    assert splits == {"test"}


def test_what_is_handed_out_shows_no_masks(project: Project, tmp_path: Path) -> None:
    choose_gold(project, 6)
    assert export_slot(project, "a", tmp_path / "out") == 6
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    assert [task["annotations"][0]["result"] for task in tasks] == [[], []]


def test_three_people_fill_three_slots_and_their_agreement_is_told(project: Project, tmp_path: Path) -> None:
    choose_gold(project, 6)
    exact = labels_of(project, tmp_path / "exact")
    wide = labels_of(project, tmp_path / "wide", grown=3)
    assert import_slot(project, exact, "a", "Ada")["taken"] == 6
    assert import_slot(project, exact, "b", "Ada") == {
        "yours in another slot": 6,
        "not gold": counted(project, exact) - 6,
    }
    assert import_slot(project, wide, "a", "Grace")["filled before"] == 6
    with pytest.raises(InputError, match="6 in a, 0 in b"):
        write_gold(project, tmp_path / "gold")
    assert import_slot(project, exact, "b", "Grace")["taken"] == 6
    assert import_slot(project, wide, "c", "Alan")["taken"] == 6
    before = project.view.annotations()
    lines = people_against_people(project, tmp_path / "gold")
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in lines[2:]}
    assert float(rows["a"][1]) == 100.0
    assert float(rows["c"][1]) < 80
    assert project.view.annotations() == before
    assert verify_store(project.view) == []
    ids = [
        [image["id"] for image in json.loads((tmp_path / "gold" / f"gold-{s}.json").read_text())["images"]]
        for s in "abc"
    ]
    assert ids[0] == ids[1] == ids[2]


def counted(project: Project, path: Path) -> int:
    from masklet.engine.review.corrections import read_masks

    gold = [project.view.one_pair(key) for key in gold_pairs(project.view)]
    return len(read_masks(project, path, asked=gold))


def test_a_persons_gold_can_be_taken_back(project: Project, tmp_path: Path) -> None:
    from masklet.engine.project.lineage import revoke

    choose_gold(project, 3)
    import_slot(project, labels_of(project, tmp_path / "exact"), "a", "Ada")
    before = project.view.annotations()
    assert len(revoke(project.view, "actor", "Ada")) == 3
    assert project.view.annotations() == before
    assert import_slot(project, labels_of(project, tmp_path / "more"), "a", "Grace")["taken"] == 3
