"""A folder becomes a project that can be read, told about, reviewed and exported, all by commands."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from engine_world import PHRASES, ColourSegmenter, write_photos

from masklet.cli import main
from masklet.engine.review.verdict_file import Decision, to_text
from masklet.engine.states import FINAL, State
from masklet.errors import InputError
from masklet.workflows.engine.cost import Cost
from masklet.workflows.engine.folder import SETTINGS, open_project, parse_phrase_list, read_settings, write_settings
from masklet.workflows.engine.run import EngineJob, EngineResult, resume_engine, run_engine
from masklet.workflows.observer import JobObserver


def job(folder: Path, count: int = 3) -> EngineJob:
    return EngineJob(photos=write_photos(folder / "photos", count), folder=folder / "project", phrases=PHRASES)


def made(folder: Path, segmenter: ColourSegmenter | None = None, count: int = 3) -> EngineResult:
    result = run_engine(job(folder, count), segmenter=segmenter or ColourSegmenter())  # type: ignore[arg-type]
    assert result is not None
    return result


def test_a_project_can_be_read_by_people_and_programs(tmp_path: Path) -> None:
    result = made(tmp_path)
    assert result.is_complete
    assert set(map(State, result.stats.states)) == FINAL
    names = {path.name for path in result.folder.iterdir()}
    assert {"README.md", "index.html", "ledger.sqlite", "blobs", "snapshot", "project.json"} <= names
    assert "9 SYN" in (result.folder / "README.md").read_text()
    page = result.page.read_text()
    assert page.count("data:image/jpeg") == 9
    assert 'src="http' not in page
    assert json.loads((result.folder / "snapshot" / "manifest.json").read_text())["counts"]["pairs"] == 9


def test_the_cost_is_said_first_and_no_means_no(tmp_path: Path) -> None:
    told: list[Cost] = []

    def refuse(cost: Cost) -> bool:
        told.append(cost)
        return False

    assert run_engine(job(tmp_path), confirm=refuse, segmenter=ColourSegmenter()) is None  # type: ignore[arg-type]
    assert (told[0].photos, told[0].pairs, told[0].measured) == (3, 9, 3)
    assert open_project(tmp_path / "project").view.counts() == {}


def test_questions_for_people_are_those_that_come(tmp_path: Path) -> None:
    told: list[Cost] = []
    doubtful = ColourSegmenter(score=0.5)
    result = run_engine(job(tmp_path), confirm=lambda cost: not told.append(cost), segmenter=doubtful)  # type: ignore[arg-type]
    assert result is not None
    from masklet.engine.review.queues import queue

    asked = len(queue(open_project(tmp_path / "project"), "masks"))
    assert told[0].items_for_people >= asked > 0


def test_a_second_run_says_that_nothing_is_left_and_asks_nothing(tmp_path: Path) -> None:
    made(tmp_path)
    segmenter = ColourSegmenter()

    def never(cost: Cost) -> bool:
        raise AssertionError(cost)

    assert run_engine(job(tmp_path), confirm=never, segmenter=segmenter)  # type: ignore[arg-type]
    assert segmenter.calls == []


def test_progress_is_told_stage_by_stage(tmp_path: Path) -> None:
    told: list[str] = []

    class Listener(JobObserver):
        def started(self, total: int | None, unit: str) -> None:
            told.append(f"{unit} {total}")

    run_engine(job(tmp_path), Listener(), segmenter=ColourSegmenter())  # type: ignore[arg-type]
    stages = (
        "ingest 3",
        "duplicates 1",
        "phrases 3",
        "masks 3",
        "verify-masks 9",
        "verify-exhaustivity 9",
        "finalise 9",
    )
    assert told == list(stages)


def test_people_answer_and_the_project_goes_on(tmp_path: Path) -> None:
    doubtful = ColourSegmenter(score=0.5)
    made(tmp_path, doubtful)
    project = open_project(tmp_path / "project")
    from masklet.engine.review.queues import queue

    said = [
        Decision(pair=item.pair_id, maskset=item.maskset_id, number=item.number, label="accept")
        for item in queue(project, "masks")
    ]
    (tmp_path / "said.json").write_text(to_text("masks", said))
    folder = str(tmp_path / "project")
    assert main(["engine", "review-import", folder, str(tmp_path / "said.json"), "--name", "Ada"]) == 0
    result = resume_engine(tmp_path / "project", segmenter=doubtful)  # type: ignore[arg-type]
    assert set(map(State, result.stats.states)) == FINAL


def test_commands_tell_of_a_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = made(tmp_path)
    folder = str(result.folder)
    annotation = open_project(result.folder).view.annotations()[0]["annotation_id"]
    assert result.snapshot is not None
    name = result.snapshot.snapshot_id
    for arguments, said in {
        ("stats", folder): "3 images",
        ("why", folder, annotation[:16]): "photos (unknown)",
        ("impact", folder, "phrase", PHRASES[0]): PHRASES[0],
        ("verify-store", folder): "whole",
        ("gc", folder, "--dry-run"): "0 blobs would be removed",
        ("snapshot", folder): name[:12],
        ("diff", folder, name[:8]): "nothing",
        ("revert", folder, name[:8]): "latest",
        ("export", folder, "--format", "coco", "--out", str(tmp_path / "coco")): "files",
        ("review", folder, "--task", "audit", "--out", str(tmp_path / "s.html")): "",
        ("revoke", folder, "phrase", PHRASES[0], "--yes"): "3 labels were taken back",
    }.items():
        status = main(["engine", *arguments])
        out = capsys.readouterr()
        assert said in out.out
        assert status == 0 or "nothing is open" in out.err


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "Invalid JSON"),
        ("[]", "project.json"),
        ('{"photos": 3}', "photos"),
        ('{"photos": "/", "negatives": -1}', "negatives"),
    ],
)
def test_a_project_folder_of_others_is_not_trusted(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / SETTINGS).write_text(content)
    with pytest.raises(InputError, match=said):
        read_settings(tmp_path)


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty and no project"):
        run_engine(job(tmp_path), segmenter=ColourSegmenter())  # type: ignore[arg-type]
    with pytest.raises(InputError, match="is no project"):
        open_project(tmp_path)
    with pytest.raises(InputError, match="own"):
        EngineJob(photos=tmp_path, folder=tmp_path, phrases=PHRASES)


def test_phrases_come_in_normal_form() -> None:
    assert parse_phrase_list(" Red  Mug, cat,,cat ") == ("red mug", "cat")
    assert parse_phrase_list("") == ()
    with pytest.raises(InputError, match="names nothing"):
        parse_phrase_list(" , ")
    with pytest.raises(InputError, match="at most"):
        parse_phrase_list("a sentence that goes on and on for too long")


def test_a_promoted_model_stays_unless_another_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made(tmp_path)
    folder = tmp_path / "project"
    write_settings(folder, replace(read_settings(folder), model="/rounds/1/weights.safetensors"))
    made(tmp_path)
    assert read_settings(folder).model == "/rounds/1/weights.safetensors"
    jobs: list[EngineJob] = []
    monkeypatch.setattr("masklet.workflows.engine.run.run_engine", lambda job, *_, **__: jobs.append(job))
    arguments = ["engine", "run", str(tmp_path / "photos"), "--phrases", "coin", "--out", str(folder)]
    main(arguments)
    main([*arguments, "--model", "tiny"])
    main([*arguments[:-1], str(tmp_path / "new")])
    main(["engine", "adapt", str(tmp_path / "photos"), "--phrases", "coin", "--project", str(folder)])
    models = [each.settings().model for each in jobs]
    assert models == ["/rounds/1/weights.safetensors", "tiny", "tiny", "/rounds/1/weights.safetensors"]
