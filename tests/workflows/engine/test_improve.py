"""A model learns from a project's labels and is measured before and after; others can learn from them, too."""

import json
from pathlib import Path

import pytest
from engine_world import PHRASES, ColourSegmenter, write_photos

from masklet.cli import main
from masklet.engine.project.exports import EXPORTS
from masklet.engine.project.lineage import reopen_unfinished
from masklet.engine.snapshots import load_snapshot
from masklet.engine.states import FINAL, State
from masklet.errors import InputError
from masklet.train.recipes.schema import load_recipe
from masklet.train.run.validator import validation_images
from masklet.workflows.engine.folder import open_project, read_settings
from masklet.workflows.engine.improve import HeldOut, LoopJob, is_better, run_loop
from masklet.workflows.engine.run import EngineJob, run_engine
from masklet.workflows.training.train import TrainJob, check_data

SMALL = (
    *("phases.0.steps=2", "phases.0.image_size=112", "phases.0.batch_size=2", "phases.0.accumulate=1"),
    *("phases.0.max_queries=4", "data.workers=0", "checkpoint_activations=false", "train=['decoder.*']"),
    *("log_every=1", "device=cpu", "validation.pictures=3", "bfloat16=false"),
)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with labels of all splits."""
    folder = tmp_path_factory.mktemp("improve")
    job = EngineJob(photos=write_photos(folder / "photos", 24), folder=folder / "project", phrases=PHRASES)
    run_engine(job, segmenter=ColourSegmenter())  # type: ignore[arg-type]
    return folder / "project"


def test_a_snapshot_is_trained_from_by_its_folder_alone(labelled: Path, base: Path, tmp_path: Path) -> None:
    recipe = load_recipe("finetune", [f"data.root={labelled / 'snapshot'}", f"initial_weights={base}", *SMALL])
    found = validation_images(recipe)
    assert found is not None
    source, _ = found
    names = {source.name(index) for index in range(len(source))}
    train = json.loads((labelled / "snapshot" / "train.json").read_text())
    assert names <= {image["file_name"] for image in train["images"]}
    overrides = (f"data.root={labelled / 'snapshot'}", f"initial_weights={base}", *SMALL)
    checked = check_data(TrainJob(recipe="finetune", overrides=overrides, out=tmp_path / "run"))
    assert not checked.findings.has_errors
    assert checked.findings.tallies["mine"].negatives > 0


def test_a_round_is_measured_before_and_after(labelled: Path, base: Path, tmp_path: Path) -> None:
    settings = labelled / "project.json"
    kept = settings.read_text()
    settings.write_text(json.dumps(json.loads(kept) | {"model": str(base)}))
    try:
        result = run_loop(LoopJob(project=labelled, out=tmp_path / "round", overrides=SMALL, device="cpu"))
        now = read_settings(labelled).model
    finally:
        settings.write_text(kept)
    assert result.weights.is_file()
    assert set(result.before) == set(result.after)
    assert result.is_promoted == is_better(result.before, result.after)
    assert (now == str(result.weights.resolve())) == result.is_promoted
    report = (tmp_path / "round" / "loop.md").read_text()
    assert "| before | after |" in report
    assert "of the engine's own making" in report
    events = [row["payload"] for row in open_project(labelled).view.ledger.read(events_of())]
    assert any(result.snapshot in payload for payload in events) == result.is_promoted


def test_a_new_field_is_labelled_and_learnt_without_people(
    labelled: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    photos, snapshot, out = write_photos(tmp_path / "photos", 10), labelled / "snapshot", tmp_path / "round"
    monkeypatch.setattr("masklet.workflows.engine.run.LateModel", lambda _: ColourSegmenter())
    command = ["engine", "adapt", str(photos), *SMALL, "--phrases", ",".join(PHRASES), "--model", str(base)]
    command += ["--project", str(tmp_path / "project"), "--general", f"{snapshot / 'train.json'}:{snapshot / 'images'}"]
    command += ["--gold", f"{snapshot / 'val.json'}:{snapshot / 'images'}", "--out", str(out), "--device", "cpu"]
    assert main([*command, "--yes"]) == 0
    told = capsys.readouterr().out
    recipe = json.loads((out / "recipe.json").read_text())
    assert recipe["data"]["sources"]["general"]["annotations"] == str((snapshot / "train.json").resolve())
    assert recipe["phases"][0]["weights"] == {"mine": 0.5, "general": 0.5}
    view = open_project(tmp_path / "project").view
    assert set(view.counts()) <= FINAL
    assert not [row for pair in view.pairs() for row in view.verdicts(pair["pair_id"]) if row["kind"] == "person"]
    assert "| before | after |" in told
    assert f"{min(200, len(view.pairs()))} pairs that nobody looked at: {out / 'audit.html'}" in told
    assert (out / "audit.html").is_file()


def events_of():
    from sqlalchemy import select

    from masklet.engine.ledger.tables import event

    return select(event).where(event.c.kind == "promoted")


def figures(value: float | None) -> dict:
    return {"gold": {"cgF1": value, "IL_MCC": None, "positive_micro_F1": None}}


@pytest.mark.parametrize(
    ("before", "after", "taken"), [(0.5, 0.6, True), (0.5, 0.497, False), (0.5, 0.494, False), (None, 0.0, True)]
)
def test_a_worse_model_is_not_taken(before: float | None, after: float, taken: bool) -> None:  # noqa: FBT001
    assert is_better(figures(before), figures(after)) is taken


def test_one_set_may_not_pay_for_another() -> None:
    before = figures(0.5) | {"other": figures(0.5)["gold"]}
    after = figures(0.9) | {"other": figures(0.49)["gold"]}
    assert not is_better(before, after)


def test_a_new_model_is_asked_what_is_open_and_nothing_that_people_decided(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 3)
    doubtful = ColourSegmenter(score=0.5)
    job = EngineJob(photos=photos, folder=tmp_path / "project", phrases=PHRASES)
    run_engine(job, segmenter=doubtful)  # type: ignore[arg-type]
    project = open_project(tmp_path / "project")
    waiting = project.view.pairs(State.HUMAN_MASKS)
    final = project.view.pairs(*FINAL)
    assert waiting
    assert reopen_unfinished(project.view) == len(waiting)
    assert project.view.pairs(*FINAL) == final
    run_engine(job, segmenter=ColourSegmenter())  # type: ignore[arg-type]
    assert set(project.view.counts()) <= FINAL


def test_a_small_model_gets_a_data_set_and_its_command(labelled: Path, tmp_path: Path, capsys) -> None:
    assert main(["engine", "distil", str(labelled), "--out", str(tmp_path / "yolo")]) == 0
    out = capsys.readouterr().out
    assert f"yolo segment train data={tmp_path / 'yolo' / 'data.yaml'}" in out
    assert (tmp_path / "yolo" / "data.yaml").is_file()
    assert "yolo segment train" in (tmp_path / "yolo" / "README.md").read_text()


def test_labels_of_one_tier_alone(labelled: Path, capsys) -> None:
    assert main(["engine", "snapshot", str(labelled), "--tier", "SYN"]) == 0
    folder = Path(capsys.readouterr().out.rpartition("data.root=")[2].strip())
    assert (folder / "images").is_dir()
    assert "tier SYN carry" in (folder / "DATASHEET.md").read_text()
    assert main(["engine", "snapshot", str(labelled), "--tier", "HQ-human"]) == 1
    assert "no label is of tier HQ-human" in capsys.readouterr().err


def test_what_is_to_be_measured_on_must_be_there(labelled: Path, tmp_path: Path, capsys) -> None:
    assert main(["engine", "loop", str(labelled), "--gold", str(tmp_path / "gone.json")]) == 1
    assert "expected LABELS:IMAGES" in capsys.readouterr().err
    empty = LoopJob(
        project=tmp_path, out=tmp_path / "round", gold=(HeldOut(name="x", labels=tmp_path, images=tmp_path),)
    )
    with pytest.raises(InputError, match="is no project"):
        run_loop(empty)


@pytest.mark.parametrize("layout", ["saco", "coco"])
def test_exports_have_the_same_bytes_each_time(labelled: Path, tmp_path: Path, layout: str) -> None:
    project = open_project(labelled)
    first, second = (EXPORTS[layout](project, load_snapshot(project.view, "latest"), tmp_path / n) for n in "ab")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
