"""Licences that do not mix are refused by name, and a datasheet says what a data set is made of."""

from pathlib import Path

import pytest
from engine_world import ColourSegmenter, open_world, run_world, write_photos

from masklet.cli import main
from masklet.engine.project.licences import check_mix, family_of
from masklet.engine.snapshots import take_snapshot
from masklet.errors import InputError
from masklet.workflows.engine.folder import open_project
from masklet.workflows.engine.plan import parse_licences
from masklet.workflows.engine.run import EngineJob, run_engine


@pytest.mark.parametrize(
    ("licence", "family"),
    [
        ("CC0-1.0", "open"),
        ("cc-by-4.0", "open"),
        ("Apache-2.0", "open"),
        ("CC-BY-NC-4.0", "nc"),
        ("CC BY-NC-SA 4.0", "nc"),
        ("CC-BY-SA-4.0", "sa"),
        ("ODbL-1.0", "sa"),
        ("CC-BY-ND-4.0", "nd"),
        ("unknown", "unknown"),
        ("my own words", "unknown"),
    ],
)
def test_families(licence: str, family: str) -> None:
    assert family_of(licence) == family


@pytest.mark.parametrize(
    ("licences", "family"),
    [
        (["CC0-1.0"], "open"),
        (["unknown"], "unknown"),
        (["CC0-1.0", "CC-BY-4.0", "CC-BY-NC-4.0"], "nc"),
        (["CC-BY-4.0", "CC-BY-SA-4.0"], "sa"),
    ],
)
def test_those_that_mix_give_the_strictest(licences: list[str], family: str) -> None:
    assert check_mix(licences) == family


@pytest.mark.parametrize(
    ("licences", "refused"),
    [
        (["unknown", "CC0-1.0"], "unknown cannot"),
        (["CC-BY-SA-4.0", "CC-BY-NC-4.0"], "CC-BY-SA-4.0 cannot"),
        (["CC-BY-SA-3.0", "ODbL-1.0"], "CC-BY-SA-3.0, ODbL-1.0 cannot"),
        (["CC-BY-ND-4.0", "MIT"], "CC-BY-ND-4.0 cannot"),
    ],
)
def test_those_that_do_not_are_named(licences: list[str], refused: str) -> None:
    with pytest.raises(InputError, match=refused):
        check_mix(licences)


def test_folders_have_licences_of_their_own() -> None:
    assert parse_licences("CC0-1.0") == {"": "CC0-1.0"}
    assert parse_licences("flickr=CC-BY-4.0, own/a = CC0-1.0") == {
        "": "unknown",
        "flickr": "CC-BY-4.0",
        "own/a": "CC0-1.0",
    }
    with pytest.raises(InputError, match="FOLDER=CC-BY"):
        parse_licences("flickr=")


def test_a_mixed_project_gives_no_snapshot_but_of_one_licence(tmp_path: Path, capsys) -> None:
    for name, seed in (("flickr", 1), ("own", 2)):
        write_photos(tmp_path / "photos" / name, 2, seed=seed)
    folder = tmp_path / "project"
    job = EngineJob(
        photos=tmp_path / "photos",
        folder=folder,
        phrases=("red square",),
        licence="flickr=CC-BY-NC-4.0,own=CC-BY-SA-4.0",
    )
    result = run_engine(job, segmenter=ColourSegmenter())  # type: ignore[arg-type]
    assert result is not None
    assert result.snapshot is None
    assert "do not mix" in result.next_step
    assert main(["engine", "snapshot", str(folder)]) == 1
    assert "CC-BY-SA-4.0 cannot stand beside" in capsys.readouterr().err
    assert main(["engine", "snapshot", str(folder), "--licence", "CC-BY-SA-4.0"]) == 0
    taken = take_snapshot(open_project(folder).view, ["CC-BY-SA-4.0"]).manifest
    assert (taken["licences"], taken["counts"]["images"]) == (["CC-BY-SA-4.0"], 2)


def test_the_datasheet_says_what_rests_on_whom(tmp_path: Path) -> None:
    from masklet.engine.project.datasheet import datasheet

    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 4))
    run_world(project)
    snapshot = take_snapshot(project.view)
    sheet = datasheet(project.view, snapshot.snapshot_id, snapshot.manifest)
    counts = snapshot.manifest["counts"]
    assert f"{counts['images']} images, {counts['pairs']} pairs" in sheet
    assert "| squares | CC0-1.0 | - |" in sheet
    assert f"| SYN | {counts['pairs']} |" in sheet
    assert sheet == datasheet(project.view, snapshot.snapshot_id, snapshot.manifest)
