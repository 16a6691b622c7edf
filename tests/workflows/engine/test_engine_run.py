"""A folder becomes a project that can be read, told about, reviewed and exported, all by commands."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from engine_world import PHRASES, ColourSegmenter, write_photos

from masklet.cli import main
from masklet.engine.review.queues import queue
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
    assert "9 SYN (SYN rests on the model's own scores alone" in (result.folder / "README.md").read_text()
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
    asked = len(queue(open_project(tmp_path / "project"), "masks"))
    assert told[0].items_for_people >= asked > 0


def test_people_are_asked_about_everything_where_they_are_to_come_first(tmp_path: Path) -> None:
    told: list[Cost] = []
    asking = replace(job(tmp_path), people=True)
    result = run_engine(asking, confirm=lambda cost: not told.append(cost), segmenter=ColourSegmenter())  # type: ignore[arg-type]
    assert result is not None
    assert result.stats.tiers == {}
    assert set(map(State, result.stats.states)) <= {State.HUMAN_MASKS, State.HUMAN_PENDING}
    masks, whole = (len(queue(open_project(tmp_path / "project"), task)) for task in ("masks", "exhaustivity"))
    assert masks > 0
    assert told[0].items_for_people == masks + 9  # each of the pairs is asked about once its masks are
    assert whole == result.stats.states.get(str(State.HUMAN_PENDING), 0)


def test_a_second_run_says_that_nothing_is_left_and_asks_nothing(tmp_path: Path) -> None:
    made(tmp_path)
    segmenter = ColourSegmenter()

    def never(cost: Cost) -> bool:
        raise AssertionError(cost)

    assert run_engine(job(tmp_path), confirm=never, segmenter=segmenter)  # type: ignore[arg-type]
    assert segmenter.calls == []


def told_costs(folder: Path, **what: object) -> list[Cost]:
    """The costs that are said before a run that is not begun, of four photos."""
    told: list[Cost] = []
    photos = write_photos(folder / "photos", 4)
    one = EngineJob(photos=photos, folder=folder / "project", **what)  # type: ignore[arg-type]
    run_engine(one, confirm=lambda cost: bool(told.append(cost)), segmenter=ColourSegmenter())  # type: ignore[arg-type]
    return told


def test_every_way_to_find_phrases_says_its_cost_first(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("[red square, green square]")
    (walked,) = told_costs(tmp_path / "walk", ontology=tmp_path / "own.yaml")
    assert (walked.photos, walked.measured) == (4, 4)
    assert 0 < walked.pairs <= 8
    (tmp_path / "captions.txt").write_text("0001.png\ta dog and two red mugs on a table\n")
    (told,) = told_costs(tmp_path / "captions", captions=tmp_path / "captions.txt")
    assert (told.photos, told.pairs, told.measured) == (1, 3, 1)  # the others have no caption
    photos = write_photos(tmp_path / "labels" / "photos", 4)
    image = {"id": 1, "file_name": "0002.png", "width": 96, "height": 96}
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [2, 2, 20, 20]}
    labels = {"images": [image], "annotations": [box], "categories": [{"id": 1, "name": "red square"}]}
    (photos.parent / "labels.json").write_text(json.dumps(labels))
    (checked,) = told_costs(tmp_path / "labels", labels=photos.parent / "labels.json")
    assert (checked.photos, checked.pairs, checked.measured) == (1, 1, 1)
    assert "no calls to a language model" in str(checked)


@pytest.mark.parametrize("kind", ["phrases", "walk", "captions"])
def test_broken_photos_and_copies_are_done_once_they_are_known(tmp_path: Path, kind: str) -> None:
    photos = write_photos(tmp_path / "photos", 2)
    (photos / "broken.png").write_bytes(b"no photo")
    (photos / "copy.png").write_bytes((photos / "0000.png").read_bytes())
    (tmp_path / "captions.txt").write_text("".join(f"{path.name}\tnothing to be seen\n" for path in photos.iterdir()))
    ways = {"phrases": {"phrases": PHRASES}, "captions": {"captions": tmp_path / "captions.txt"}, "walk": {}}
    one = EngineJob(photos=photos, folder=tmp_path / "project", **ways[kind])  # type: ignore[arg-type]
    assert run_engine(one, segmenter=ColourSegmenter())  # type: ignore[arg-type]

    def never(cost: Cost) -> bool:
        raise AssertionError(cost)

    assert run_engine(one, confirm=never, segmenter=ColourSegmenter())  # type: ignore[arg-type]
    (photos / "also broken.png").write_bytes(b"no photo either")
    result = run_engine(one, segmenter=ColourSegmenter())  # type: ignore[arg-type]
    assert result is not None
    assert result.stats.broken == 2


def test_a_folder_of_broken_photos_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"no photo")
    one = EngineJob(photos=tmp_path / "photos", folder=tmp_path / "project", phrases=PHRASES)
    with pytest.raises(InputError, match=r"none of the 1 photos can be read: .*a\.png"):
        run_engine(one, segmenter=ColourSegmenter())  # type: ignore[arg-type]


def test_work_is_on_record_and_phrases_are_counted_by_origin(tmp_path: Path, capsys) -> None:
    result = made(tmp_path)
    assert result.stats.work["masks"][0] == 3
    assert result.stats.pairs_an_hour is not None
    assert "final pairs an hour of work" in "\n".join(result.stats.lines())
    page = result.page.read_text()
    assert "Where phrases came from" in page
    assert "Work" in page
    assert main(["engine", "stats", str(result.folder), "--channels", "--json"]) == 0
    (channel,) = json.loads(capsys.readouterr().out)["channels"]
    states = result.stats.states
    assert (channel["phrases from"], channel["pairs"]) == ("listed", 9)
    assert (channel["present"], channel["absent"]) == (states["final_positive"], states["final_negative"])
    assert main(["engine", "stats", str(result.folder), "--channels"]) == 0
    assert "listed: 9 pairs" in capsys.readouterr().out


def test_why_shows_what_was_judged(tmp_path: Path, capsys) -> None:
    result = made(tmp_path)
    project = open_project(result.folder)
    row = next(row for row in project.view.annotations() if row["polarity"])
    page = tmp_path / "why.html"
    assert main(["engine", "why", str(result.folder), row["annotation_id"], "--out", str(page)]) == 0
    assert page.read_text().count("data:image/jpeg") == 1 + len(json.loads(row["masks"]))
    uri = project.view.one_media(row["media_id"])["uri"]
    again = job(tmp_path)
    (tmp_path / "photos" / uri).write_bytes(b"another photo, which is broken")
    run_engine(again, segmenter=ColourSegmenter())  # type: ignore[arg-type]
    capsys.readouterr()
    assert main(["engine", "why", str(result.folder), row["annotation_id"], "--out", str(page)]) == 1
    assert "has changed since it was judged" in capsys.readouterr().err


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


def test_a_licence_stays_unless_another_is_named(tmp_path: Path) -> None:
    first = replace(job(tmp_path), licence="CC0-1.0")
    for one in (first, replace(first, licence=None), replace(first, licence="CC-BY-4.0")):
        result = run_engine(one, segmenter=ColourSegmenter())  # type: ignore[arg-type]
        assert result is not None
        assert result.snapshot is not None
        assert result.snapshot.manifest["licences"] == ["CC-BY-4.0" if one.licence == "CC-BY-4.0" else "CC0-1.0"]
