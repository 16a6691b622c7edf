"""`masklet eval coco`, `counting`, `semantic` and `verdicts`: files, and a model that finds a coin everywhere."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import masklet
from masklet.cli import main
from masklet.eval.tasks.semantic import UNJUDGED
from masklet.ops.masks import rle_encode
from masklet.protocols import ImageSegmenter, Segmenter

HEIGHT, WIDTH = 40, 60
COIN = np.zeros((HEIGHT, WIDTH), dtype=bool)
COIN[10:20, 10:30] = True


class Found(SimpleNamespace):
    def __len__(self):
        return len(self.scores)


class FakeSession(ImageSegmenter):
    """One coin at a score of 0.9 times its presence, a tenth; nothing else."""

    size = (HEIGHT, WIDTH)

    def find(self, phrases, *, threshold, assume_present):
        score = 0.9 if assume_present else 0.6
        found = [phrase for phrase in phrases if phrase == "coin" and score > threshold]
        return Found(
            presence={phrase: 0.9 if phrase == "coin" else 0.1 for phrase in phrases},
            phrases=tuple(found),
            scores=np.array([score] * len(found), np.float32),
            boxes=np.array([[10, 10, 30, 20]] * len(found), np.float32).reshape(-1, 4),
            mask=lambda _index, *, cut: COIN if cut < 0.9 else COIN & False,
        )

    def close(self):
        pass


class FakeModel(Segmenter):
    identity = "fake"

    def open(self, _image):
        return FakeSession()


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """A folder to work in, with two pictures and a model of that name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(masklet, "load", lambda _name, **_: FakeModel(), raising=False)
    (tmp_path / "pictures").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (WIDTH, HEIGHT), (name == "a" and "white") or "black").save(
            tmp_path / "pictures" / f"{name}.png"
        )
    return tmp_path


def put(name: str, document) -> str:
    Path(name).write_text(json.dumps(document))
    return name


def run(capsys, *arguments: str) -> dict:
    assert main(["eval", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.fixture
def coco(place) -> str:
    labels = {
        "images": [
            {"id": i, "file_name": f"{name}.png", "width": WIDTH, "height": HEIGHT} for i, name in ((1, "a"), (2, "b"))
        ],
        "categories": [{"id": 5, "name": "coin"}, {"id": 9, "name": "leaf"}],
        "annotations": [
            {
                "id": i,
                "image_id": 1,
                "category_id": key,
                "bbox": [10, 10, 20, 10],
                "area": 200,
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": rle_encode(COIN)},
            }
            for i, key in ((1, 5), (2, 9))
        ],
    }
    return put(str(place / "labels.json"), labels)


def test_ap_of_a_file(coco, capsys):
    results = put("results.json", [{"image_id": 1, "category_id": 5, "bbox": [10, 10, 20, 10], "score": 0.7}])
    metrics = run(capsys, "coco", "--gt", coco, "--pred", results)["metrics"]
    assert metrics["bbox"]["AP_all"] == pytest.approx(0.5)  # one of two categories


def test_ap_of_a_model_that_is_asked_for_every_category(coco, capsys):
    arguments = ["coco", "--gt", coco, "--model", "fake", "--images", "pictures", "--iou", "both", "--out", "run"]
    metrics = run(capsys, *arguments)["metrics"]
    assert metrics["segm"]["AP_all"] == metrics["bbox"]["AP_all"]
    assert metrics["bbox"]["AP_50"] == pytest.approx(0.5)  # the coin of the second picture is no better than the first
    results = json.loads(Path("run/results.json").read_text())
    assert [(each["image_id"], each["category_id"]) for each in results] == [(1, 5), (2, 5)]
    assert Path("run/report.html").exists()
    again = run(capsys, *arguments[:2], coco, "--pred", "run/results.json", "--present-only")["metrics"]
    assert again["bbox"]["AP_50"] == pytest.approx(0.5)


def test_the_table_of_ap(coco, capsys):
    results = put("results.json", [])
    assert main(["eval", "coco", "--gt", coco, "--pred", results, "--out", "run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["by", "AP_all", "AP_50"]
    assert lines[1].split()[:2] == ["boxes", "0.00"]


def test_counting_of_a_model_takes_presence_for_granted(place, capsys):
    questions = [
        {"id": 1, "file_name": "a.png", "text_input": "coin", "count": 1},
        {"id": 2, "file_name": "b.png", "text_input": "leaf", "count": 3},
    ]
    gt = put(str(place / "questions.json"), questions)
    scores = run(capsys, "counting", "--gt", gt, "--model", "fake", "--images", "pictures", "--out", "run")
    assert scores["metrics"] == {"MAE": 1.5, "accuracy": 0.5}
    (record,) = json.loads(Path("run/counting/predictions.json").read_text())
    assert record["score"] == pytest.approx(0.9)
    assert (
        run(capsys, "counting", "--gt", gt, "--pred", "run/counting/predictions.json")["metrics"] == scores["metrics"]
    )


def test_semantic_of_a_model_and_of_folders(place, capsys):
    truth = np.where(COIN, 3, UNJUDGED).astype(np.uint8)
    (place / "maps").mkdir()
    for name in ("a", "b"):
        Image.fromarray(truth).save(place / "maps" / f"{name}.png")
    classes = put("classes.json", {"3": "coin", "4": "leaf"})
    arguments = ["semantic", "--gt", "maps", "--model", "fake", "--images", "pictures", "--classes", classes]
    scores = run(capsys, *arguments, "--out", "run")
    assert scores["metrics"] == {"mIoU": 1.0, "pixel_accuracy": 1.0}
    assert scores["classes"] == {"coin": 1.0}
    assert run(capsys, "semantic", "--gt", "maps", "--pred", "run/labels")["metrics"]["mIoU"] == 1.0
    assert main(["eval", "semantic", "--gt", "maps", "--model", "fake", "--images", "pictures"]) == 1
    assert "--model needs --classes" in capsys.readouterr().err


@pytest.mark.usefixtures("place")
def test_verdicts(capsys):
    people = put("people.json", [{"id": 1, "verdict": "accept"}, {"id": 2, "verdict": "reject"}])
    said = put("said.json", [{"id": 1, "verdict": "reject"}, {"id": 2, "verdict": "reject"}])
    metrics = run(capsys, "verdicts", "--gt", people, "--pred", said)["metrics"]
    assert (metrics["rejection_precision"], metrics["rejection_recall"]) == (0.5, 1)
    assert main(["eval", "verdicts", "--gt", people, "--pred", said, "--out", "run"]) == 0
    assert "rejection_precision" in capsys.readouterr().out
    assert Path("run/report.html").exists()


@pytest.mark.parametrize("command", ["coco", "counting", "semantic"])
@pytest.mark.usefixtures("place")
def test_either_predictions_or_a_model(command, capsys):
    Path("gt").mkdir()
    assert main(["eval", command, "--gt", "gt"]) == 2
    assert "give either --pred with a file of predictions, or --model" in capsys.readouterr().err
