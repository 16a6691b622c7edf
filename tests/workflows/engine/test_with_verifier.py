"""`--with-verifier` of segment and eval concepts: a project's verifier judges what its model finds."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.cli import main
from masklet.engine.records import MaskRow
from masklet.engine.verify.choices import ExhaustivityItem, MaskItem
from masklet.engine.verify.head import HeadCalibration, LiteHead, save_heads
from masklet.errors import InputError
from masklet.ops.masks import rle_encode
from masklet.workflows.engine.verifier import ModelFeatures
from masklet.workflows.model_choice import ModelChoice
from masklet.workflows.segment_folder import SegmentJob

SIDE = 112
ABSENT = 0.3  # what the verifier says to: nothing is left out of no masks


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)).save(path)
    return path


def constant(size: int, yes: float) -> LiteHead:
    """Says yes with one probability, whatever it sees."""
    return LiteHead(
        mean=np.zeros(size),
        spread=np.ones(size),
        first=np.zeros((2, size)),
        first_bias=np.zeros(2),
        second=np.zeros(2),
        second_bias=np.zeros(1),
        overall=HeadCalibration(
            curve_x=np.array([-1.0, 1.0]), curve_y=np.array([yes, yes]), bands=np.array([0.9, 0.1])
        ),
    )


def verifier(base: Path, path: Path, yes: float) -> Path:
    """A file as `train-verifier` writes it, for the model in `base`."""
    maker = ModelFeatures(ModelChoice(name=str(base), device="cpu"))
    image, square = np.zeros((SIDE, SIDE, 3), np.uint8), np.zeros((SIDE, SIDE), bool)
    square[10:30, 10:30] = True
    mask = MaskRow(counts=rle_encode(square), size=(SIDE, SIDE), box=(10.0, 10.0, 30.0, 30.0), score=0.5)
    of_mask = maker.of_mask(MaskItem(read=lambda: image, phrase="coin", mask=mask, presence=0.5))
    of_whole = maker.of_whole(ExhaustivityItem(read=lambda: image, phrase="coin", masks=(), presence=0.5))
    heads = {"masks": constant(len(of_mask), yes), "whole": constant(len(of_whole), ABSENT)}
    save_heads(path, heads, maker.identity)
    return path


def segmented(photo: Path, base: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict:
    arguments = ["segment", str(photo), "-p", "coin", "-p", "cat", "--threshold", "0", "--json"]
    assert main([*arguments, "--model", str(base), "--device", "cpu", *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_segment_has_the_verifiers_presence_and_only_what_it_takes(base, photo, tmp_path, capsys) -> None:
    alone = segmented(photo, base, capsys)
    takes = verifier(base, tmp_path / "takes.npz", yes=0.95)
    taken = segmented(photo, base, capsys, "--with-verifier", str(takes))
    for before, after in zip(alone["phrases"], taken["phrases"], strict=True):
        assert len(before["detections"]) > 1
        assert after["presence"] == pytest.approx(1 - ABSENT, abs=1e-4)
        expected = [min(1.0, each["score"] * (1 - ABSENT) / before["presence"]) for each in before["detections"]]
        assert [each["score"] for each in after["detections"]] == pytest.approx(expected, rel=0.01, abs=1e-3)
        assert [each["box"] for each in after["detections"]] == [each["box"] for each in before["detections"]]
    rejects = verifier(base, tmp_path / "rejects.npz", yes=0.05)
    refused = segmented(photo, base, capsys, "--with-verifier", str(rejects))
    assert [each["detections"] for each in refused["phrases"]] == [[], []]


def test_eval_concepts_measures_both_as_one_system(base, photo, tmp_path, capsys) -> None:
    labels = {
        "images": [{"id": 1, "file_name": photo.name, "width": SIDE, "height": SIDE}],
        "categories": [{"id": 1, "name": "coin"}, {"id": 2, "name": "cat"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0}
            | {"segmentation": [[10, 10, 50, 10, 50, 50, 10, 50]]}
        ],
    }
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    rejects = verifier(base, tmp_path / "rejects.npz", yes=0.05)
    found = {}
    for name, more in {"alone": [], "both": ["--with-verifier", str(rejects)]}.items():
        arguments = ["eval", "concepts", "--gt", str(tmp_path / "labels.json"), "--images", str(photo.parent), "--json"]
        paths = ["--model", str(base), "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / name)]
        assert main([*arguments, *paths, "--device", "cpu", *more]) == 0
        scores = json.loads(capsys.readouterr().out)
        assert ("verifier" in scores["settings"]) == (name == "both")
        found[name] = [json.loads(path.read_text()) for path in (tmp_path / name).rglob("predictions*.json*")]
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert any(found["alone"])
    assert found["both"] != found["alone"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--with-verifier", "gone.npz"], "train-verifier"),
        (["--with-verifier", "other.npz"], "was trained for another model"),
        (["--with-verifier", "text.npz"], "is no verifier that can be read"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(base, photo, tmp_path, capsys, monkeypatch, more, said) -> None:
    monkeypatch.chdir(tmp_path)
    save_heads(tmp_path / "other.npz", {"masks": constant(3, 1.0)}, "another")
    (tmp_path / "text.npz").write_text("no numbers")
    arguments = ["segment", str(photo), "-p", "coin", "--model", str(base), "--device", "cpu", "--json"]
    assert main([*arguments, *more]) == 1
    assert said in capsys.readouterr().err


def test_a_verifier_wants_phrases_and_no_calibration(tmp_path) -> None:
    with pytest.raises(InputError, match="judges phrases"):
        SegmentJob(images=("a.jpg",), boxes=((0.0, 0.0, 1.0, 1.0),), verifier=tmp_path / "verifier.npz")


def test_predictions_of_files_cannot_be_judged(tmp_path, capsys) -> None:
    arguments = ["eval", "concepts", "--gt", "x.json", "--pred", "y.json", "--with-verifier", "v.npz"]
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    assert "in place of --pred" in capsys.readouterr().err
