"""`masklet train` on pictures of one's own: estimate, validation with pictures, report, and how it ends."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import masklet
from masklet import cli
from masklet.checkpoints.adapters import read
from masklet.config import PRESETS
from masklet.train.run.observers import Observer
from masklet.train.run.validator import read_validations
from masklet.workflows.observer import JobObserver
from masklet.workflows.training import train
from masklet.workflows.training.train_report import ReportJob, TrainReport

COLORS = {"red square": (220, 30, 30), "blue square": (40, 60, 230), "green square": (30, 200, 40)}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty pictures of squares in two of three colours, every fifth in a folder of its own."""
    folder = tmp_path_factory.mktemp("pictures")
    images, annotations = [], []
    for index in range(30):
        pixels = np.random.default_rng(index).integers(90, 120, (96, 128, 3)).astype(np.uint8)
        for row, kind in enumerate((index % 3, (index + 1) % 3)):
            x, y, side = 8 + 60 * row, 10 + index, 30
            pixels[y : y + side, x : x + side] = list(COLORS.values())[kind]
            outline = [[x, y, x + side, y, x + side, y + side, x, y + side]]
            label = {"image_id": index, "category_id": kind, "bbox": [x, y, side, side], "segmentation": outline}
            annotations.append({"id": len(annotations), **label})
        name = f"{'far/' if index % 5 == 0 else ''}{index}.png"
        (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / "images" / name)
        images.append({"id": index, "file_name": name, "width": 128, "height": 96})
    categories = [{"id": number, "name": name} for number, name in enumerate(COLORS)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def arguments(base: Path, pictures: Path, out: Path, *more: str) -> list[str]:
    small = ["device=cpu", "bfloat16=false", "data.workers=0", "phases.0.image_size=112", "phases.0.steps=2"]
    few = ["train=['decoder.*']", "log_every=1", "validation.pictures=3", "data.sources.mine.everyday_negatives=0"]
    return [
        "train",
        "finetune",
        *small,
        *few,
        f"initial_weights={base}",
        f"data.root={pictures}",
        "--out",
        str(out),
        *more,
    ]


def run(capsys: pytest.CaptureFixture[str], *given: Any) -> tuple[int, str, str]:
    status = cli.main([str(each) for each in given])
    output = capsys.readouterr()
    return status, output.out, output.err


def test_a_run_is_shown_validated_and_drawn(capsys, base, pictures, tmp_path) -> None:
    status, out, err = run(capsys, *arguments(base, pictures, tmp_path, "--no-report"))
    assert status == 0
    lines = read_validations(tmp_path)
    assert [line["step"] for line in lines] == [0, 2]
    before, after = (100 * line["metrics"]["cgF1"] for line in lines)
    assert out.startswith(f"finished: {tmp_path} (cgF1 {before:.1f} before, {after:.1f} after 2 updates")
    for said in ("about ", "on cpu (2 updates of 2 images, validation not counted)", "validation of the base: cgF1"):
        assert said in err
    assert "update 2 of 2 (phase 1 of 1, 112 px): loss " in err
    assert list((tmp_path / "tensorboard").iterdir())

    rows = {row["phrase"]: row for row in lines[1]["phrases"]}
    assert rows.keys() == COLORS.keys()
    folders = [tmp_path / "pictures" / name for name in ("truth", "step-000000", "step-000002")]
    names = [sorted(path.name for path in folder.iterdir()) for folder in folders]
    assert names[0] == names[1] == names[2]
    count = len(names[0])  # of those held out, each shows two of three colours
    assert count in (2, 3)
    assert all(row["positives"] + row["negatives"] == count for row in rows.values())
    assert sum(row["positives"] for row in rows.values()) == 2 * count
    assert all(len(np.unique(np.asarray(Image.open(folders[0] / name)), axis=0)) > 50 for name in names[0])
    assert masklet.load(tmp_path / "weights.safetensors", device="cpu").image_size == 112
    assert read(tmp_path / "last.safetensors").config == PRESETS["debug"]()


def test_as_json_nothing_else_is_said_and_the_report_is_made(capsys, base, pictures, tmp_path, monkeypatch) -> None:
    def report_training(job: ReportJob, observer: JobObserver) -> TrainReport:
        observer.advanced()
        (job.out / "report.html").write_text("a page")
        return TrainReport(page=None, forgetting=None, remedies=(), notes=("forgetting: nothing",))

    monkeypatch.setattr(train, "report_training", report_training)
    status, out, err = run(capsys, *arguments(base, pictures, tmp_path, "--json"))
    state = json.loads(out)
    assert status == 0
    assert all("warning: " in line for line in err.splitlines()), err
    assert (state["out"], state["complete"], state["best_step"]) == (str(tmp_path), True, 2)
    assert state["report"] == str(tmp_path / "report.html")
    figures = [line["metrics"]["cgF1"] for line in read_validations(tmp_path)]
    assert [state["cgF1_before"], state["cgF1_after"]] == figures
    status, out, _ = run(capsys, *arguments(base, pictures, tmp_path, "--resume"))
    assert status == 0
    assert out.startswith("forgetting: nothing\nfinished: ")


def test_an_estimate_alone_leaves_nothing(capsys, base, pictures, tmp_path) -> None:
    status, out, err = run(capsys, *arguments(base, pictures, tmp_path / "run", "--estimate"))
    assert (status, err) == (0, "")
    assert out.startswith("about ")
    assert out.endswith("on cpu (2 updates of 2 images, validation not counted)\n")
    assert not (tmp_path / "run").exists()
    status, out, _ = run(capsys, *arguments(base, pictures, tmp_path / "run", "--estimate", "--json"))
    assert json.loads(out)["updates"] == 2


def test_a_run_stopped_by_hand_says_how_to_go_on(capsys, base, pictures, tmp_path, monkeypatch) -> None:
    def press(self: Observer, step: int) -> None:
        del self
        if step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    given = arguments(base, pictures, tmp_path, "--no-report")
    with monkeypatch.context() as patched:
        patched.setattr("masklet.cli.train_display.TrainDisplay.stepped", press)
        status, out, err = run(capsys, *given)
    assert (status, out) == (130, "")
    assert err.splitlines()[-1] == (
        f"masklet: stopped; {tmp_path} holds a checkpoint, and the same command with --resume goes on from there"
    )
    status, out, _ = run(capsys, *given, "--resume")
    assert status == 0
    assert "finished" in out


def test_without_pictures_held_out_it_is_said_that_nothing_is_validated(capsys, base, pictures, tmp_path) -> None:
    whole = "data.sources.mine.split=all"
    status, out, err = run(capsys, *arguments(base, pictures, tmp_path, whole))
    assert status == 0
    assert "no validation: the data holds no images out" in err
    assert out == f"finished: {tmp_path}\n"
    assert not (tmp_path / "validation.jsonl").exists()


def test_a_full_disk_is_one_line_and_the_older_checkpoint_stands(capsys, base, pictures, tmp_path, monkeypatch) -> None:
    from safetensors import SafetensorError

    given = arguments(base, pictures, tmp_path, "--no-report")

    def fail(*_: Any, **__: Any) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patched:
        patched.setattr("masklet.train.run.run_state.save_file", fail)
        status, _, err = run(capsys, *given)
    assert status == 1
    assert "cannot write" in err.splitlines()[-1]
    assert "No space left on device" in err.splitlines()[-1]
    assert not list((tmp_path / "checkpoints").glob("step-????????"))
    assert run(capsys, *given, "--resume")[0] == 0


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_of_two_processes_the_first_validates_and_speaks(base, pictures, tmp_path, parallel) -> None:
    given = arguments(base, pictures, tmp_path, f"parallel={parallel}", "--no-report", "--json")
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "masklet",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*launch, *given], check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    state = json.loads(done.stdout)
    assert (state["complete"], state["best_step"]) == (True, 2)
    assert [line["step"] for line in read_validations(tmp_path)] == [0, 2]
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 2
    alone = arguments(base, pictures, tmp_path / "alone", "--no-report", "--json")
    assert cli.main(alone) == 0
    for one, two in zip(read_validations(tmp_path / "alone"), read_validations(tmp_path), strict=True):
        assert two["metrics"] == pytest.approx(one["metrics"], abs=0.02, nan_ok=True)
