import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from random_model import random_weights

import masklet
from masklet import cli
from masklet.checkpoints.names import FORMATS
from masklet.checkpoints.weights import write
from masklet.errors import InputError
from masklet.inference.image.image_result import ImageResult
from masklet.ops.masks import rle_decode
from masklet.types import Detections


class FakeModel:
    """Finds one instance of every phrase but "cat", in the upper left quarter."""

    device, dtype = torch.device("cpu"), torch.float32
    identity = "fake-336-float32"

    def __init__(self):
        self.calls = []

    def segment(self, image, phrases=None, *, boxes=None, not_boxes=None, threshold=None, calibration=None):
        self.calls.append((phrases, boxes, not_boxes, threshold))
        self.calibration = calibration
        if phrases and any(len(phrase) > 100 for phrase in phrases):
            raise InputError("the phrase is too long")
        queries = tuple([phrases] if isinstance(phrases, str) else phrases or ["visual"])
        found = [index for index, phrase in enumerate(queries) if phrase != "cat"]
        height, width = image.shape[:2]
        logits = torch.full((len(found), 8, 8), -4.0)
        logits[:, :4, :4] = 4
        detections = Detections(
            boxes_xyxy=torch.tensor([[0, 0, width / 2, height / 2]] * len(found)).reshape(-1, 4),
            scores=torch.full((len(found),), 0.75),
            mask_logits=logits,
            prompt_index=torch.tensor(found, dtype=torch.long),
            presence=torch.tensor([0.02 if phrase == "cat" else 0.9 for phrase in queries]),
        )
        return ImageResult(image=image, detections=detections, queries=queries)


@pytest.fixture
def model(monkeypatch, tmp_path):
    fake = FakeModel()

    def load(name_or_path, device="auto", dtype="auto"):
        if name_or_path != "tiny":
            raise InputError(f"unknown model {name_or_path!r} on {device} as {dtype}")
        return fake

    monkeypatch.setattr(masklet, "load", load, raising=False)
    monkeypatch.chdir(tmp_path)
    return fake


def picture(path, size=(30, 20)):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path)
    return str(path)


def run(capsys, *arguments):
    status = cli.main([str(each) for each in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_one_image_gives_a_summary_and_an_overlay(model, capsys):
    status, out, err = run(capsys, "segment", picture("coins.png"), "-p", "coin", "-p", "cat", "--threshold", "0.4")
    assert (status, err) == (0, "")
    assert out == f"coins.png: coin 1, cat absent (presence 0.02) -> {Path('out/coins.overlay.png')}\n"
    assert Image.open("out/coins.overlay.png").format == "PNG"
    assert model.calls == [(["coin", "cat"], None, None, 0.4)]


@pytest.mark.usefixtures("model")
def test_json_prints_one_object_for_each_image_and_nothing_else(capsys):
    status, out, err = run(capsys, "segment", picture("a.png"), picture("b.png"), "-p", "coin", "-p", "cat", "--json")
    assert (status, err) == (0, "")
    first, second = map(json.loads, out.splitlines())
    assert [each["image"] for each in (first, second)] == ["a.png", "b.png"]
    coin, cat = first["phrases"]
    assert (cat["presence"], cat["detections"]) == (0.02, [])
    detection = coin["detections"][0]
    assert (detection["score"], detection["box"]) == (0.75, [0, 0, 15, 10])
    assert rle_decode(detection["mask"]["counts"], *detection["mask"]["size"]).shape == (20, 30)
    assert not Path("out").exists()


def test_boxes_reach_the_model(model, capsys):
    image = picture("a.png")
    status, out, _ = run(capsys, "segment", image, "--box", "1,2,3,4", "--box", "5,6,7,8", "--not-box", "0,0,30,20")
    assert status == 0
    assert "visual 1" in out
    assert model.calls == [(None, [(1, 2, 3, 4), (5, 6, 7, 8)], [(0, 0, 30, 20)], None)]


@pytest.mark.usefixtures("model")
def test_a_folder_keeps_its_shape_and_every_format_is_written(capsys):
    for name in ("in/b.png", "in/a.png", "in/deep/a.png", "in/a.jpg"):
        picture(name)
    Path("in/notes.txt").write_text("not a picture")
    status, out, _ = run(
        capsys, "segment", "in", "-p", "coin", "--out", "res", "--format", "overlay,coco,json,png,yolo"
    )
    assert status == 0
    assert [line.split(":")[0] for line in out.splitlines()] == ["a.jpg", "a.png", "b.png", "a.png"]
    for stem in ("a.jpg", "a.png", "b", "deep/a"):
        for ending in (".overlay.png", ".json", ".coco.json", ".txt", ".masks/001-coin.png"):
            assert Path("res", stem + ending).is_file(), stem + ending
    coco = json.loads(Path("res/coco.json").read_text())
    assert [each["id"] for each in coco["annotations"]] == [1, 2, 3, 4]
    assert [each["image_id"] for each in coco["annotations"]] == [1, 2, 3, 4]
    assert coco["categories"] == [{"id": 1, "name": "coin"}]
    assert Path("res/classes.txt").read_text() == "coin\n"


@pytest.mark.usefixtures("model")
def test_patterns_expand_and_files_of_the_same_name_do_not_overwrite_each_other(capsys):
    picture("one/a.png"), picture("two/a.png")
    assert run(capsys, "segment", "*/a.png", "-p", "coin")[0] == 0
    assert sorted(path.name for path in Path("out").glob("*.png")) == ["a.png-2.overlay.png", "a.png.overlay.png"]


def test_a_second_run_does_only_what_is_missing(model, capsys):
    for name in "abc":
        picture(f"in/{name}.png")
    arguments = ("segment", "in", "-p", "coin")
    run(capsys, *arguments)
    assert len(model.calls) == 3
    _, out, _ = run(capsys, *arguments)
    assert len(model.calls) == 3
    assert "3 of 3 were done before" in out
    os.remove("out/b.overlay.png")
    picture("in/c.png", size=(50, 20))  # changed since
    run(capsys, *arguments)
    assert len(model.calls) == 5
    run(capsys, *arguments, "--threshold", "0.3")  # other arguments
    assert len(model.calls) == 8


def test_a_run_cut_short_is_continued(model, capsys, monkeypatch):
    for name in "abc":
        picture(f"in/{name}.png")
    whole = model.segment

    def stop_at_second(*args, **kwargs):
        if len(model.calls) == 1:
            raise KeyboardInterrupt
        return whole(*args, **kwargs)

    monkeypatch.setattr(model, "segment", stop_at_second)
    status, _, err = run(capsys, "segment", "in", "-p", "coin", "--format", "coco")
    assert (status, err) == (130, "masklet: stopped\n")
    monkeypatch.setattr(model, "segment", whole)
    _, out, _ = run(capsys, "segment", "in", "-p", "coin", "--format", "coco")
    assert "1 of 3 were done before" in out
    assert len(json.loads(Path("out/coco.json").read_text())["images"]) == 3


@pytest.mark.usefixtures("model")
def test_one_bad_image_does_not_stop_the_others(capsys):
    picture("in/a.png")
    Path("in/b.png").write_bytes(b"")
    picture("in/c.png")
    status, out, err = run(capsys, "segment", "in", "missing.png", "-p", "coin")
    assert status == 1
    assert [line.split(":")[0] for line in out.splitlines()] == ["a.png", "c.png"]
    assert [line.split(": ", 1)[0] for line in err.splitlines()] == ["masklet"] * 3
    assert "is empty" in err
    assert "no such file: missing.png" in err
    assert "2 of 4 images failed" in err


@pytest.mark.parametrize(
    ("arguments", "sentence", "status"),
    [
        (["missing.png", "-p", "coin"], "no such file: missing.png", 1),
        (["text.png", "-p", "coin"], "text.png is not an image", 1),
        (["cut.jpg", "-p", "coin"], "cut.jpg is damaged or cut short", 1),
        (["empty.png", "-p", "coin"], "empty.png is empty", 1),
        (["empty_folder", "-p", "coin"], "no images in empty_folder", 1),
        (["nothing*.png", "-p", "coin"], r"no images in nothing*.png", 1),
        (["good.png", "-p", "  "], "a phrase is empty", 2),
        (["good.png", "-p", "x" * 200], "good.png: the phrase is too long", 1),
        (["good.png"], "nothing to look for", 2),
        (["good.png", "--box", "1,2,3"], "a box is four numbers", 2),
        (["good.png", "--box", "1,2,nan,4"], "not a finite number", 2),
        (["good.png", "--box", "9,2,3,4"], "empty or inverted", 2),
        (["good.png", "--box", "1,2,31,4"], "lies outside the image of 30 x 20", 1),
        (["good.png", "-p", "coin", "--threshold", "1.5"], "between 0 and 1", 2),
        (["good.png", "-p", "coin", "--format", "overlay,gif"], "unknown format 'gif'", 2),
        (["good.png", "-p", "coin", "--model", "huge"], "unknown model 'huge'", 1),
        (["good.png", "-p", "coin", "--out", "good.png/x"], "a file, not a folder", 1),
        (["good.png", "-p", "coin", "--colour"], "No such option", 2),
        ([], "Missing argument", 2),
    ],
)
@pytest.mark.usefixtures("model")
def test_bad_input_is_one_line_on_stderr(capsys, arguments, sentence, status):
    data = Path(picture("good.jpg", size=(200, 200))).read_bytes()
    picture("good.png")
    Path("cut.jpg").write_bytes(data[: len(data) // 2])
    Path("text.png").write_text("hello")
    Path("empty.png").write_bytes(b"")
    Path("empty_folder").mkdir()
    result = run(capsys, "segment", *arguments)
    assert result[:2] == (status, "")
    assert result[2].startswith("masklet: ")
    assert result[2].count("\n") == 1
    assert sentence in result[2]


@pytest.mark.usefixtures("model")
def test_a_full_disk_ends_the_run_in_one_line_without_half_a_file(capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    image = picture("a.png")
    run(capsys, "segment", image, "-p", "coin")
    os.remove("out/a.overlay.png")
    before = sorted(os.listdir("out"))
    monkeypatch.setattr(Path, "replace", full)
    status, _, err = run(capsys, "segment", image, "-p", "coin")
    assert status == 1
    assert err.startswith("masklet: cannot write")
    assert "the disk is full" in err
    assert err.count("\n") == 1
    assert sorted(os.listdir("out")) == before


@pytest.mark.usefixtures("model")
def test_results_inside_the_folder_of_images_are_no_images(capsys):
    os.mkdir("photos")
    picture("photos/a.png")
    for times in (1, 2):
        assert run(capsys, "segment", "photos", "-p", "coin", "--out", "photos/out")[0] == 0
        assert sorted(os.listdir("photos/out")) == ["a.overlay.png", "manifest.json"], times


def test_running_out_of_memory_is_one_line_and_our_own_errors_are_not_hidden(model, capsys, monkeypatch):
    image = picture("a.png")
    for error in (MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate")):
        monkeypatch.setattr(model, "segment", lambda *_, error=error, **__: (_ for _ in ()).throw(error))
        status, _, err = run(capsys, "segment", image, "-p", "coin")
        assert (status, err.count("\n")) == (1, 1)
        assert "out of memory" in err
    monkeypatch.setattr(model, "segment", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        run(capsys, "segment", image, "-p", "coin")


def test_models_are_listed_and_fetched(capsys):
    for arguments in (("models",), ("models", "list")):
        status, out, _ = run(capsys, *arguments)
        assert status == 0
        assert [line.split()[0] for line in out.splitlines()] == ["tiny", "sam3"]
    tiny = Path(json.loads(run(capsys, "models", "--json")[1])[0]["location"])
    assert tiny.is_file()
    assert run(capsys, "models", "fetch", "tiny")[1] == f"tiny: {tiny}\n"
    assert json.loads(run(capsys, "models", "fetch", "tiny", "--json")[1]) == {"name": "tiny", "path": str(tiny)}
    assert run(capsys, "models", "fetch")[0] == 2
    assert run(capsys, "models", "burn", "tiny")[0] == 2
    assert "no model 'huge'" in run(capsys, "models", "fetch", "huge")[2]


def test_weights_are_converted(capsys, tmp_path):
    target = tmp_path / "out.safetensors"
    assert run(capsys, "convert", "tiny", target)[0] == 0
    assert target.is_file()
    status, _, err = run(capsys, "convert", "tiny", tmp_path / "tiny.pt", "--to", "official")
    assert (status, err.count("\n")) == (1, 1)  # the official layout has no such trunk
    write(random_weights(), target)
    assert json.loads(run(capsys, "convert", target, tmp_path / "out.pt", "--to", "official", "--json")[1]) == {
        "path": str(tmp_path / "out.pt"),
        "format": "official",
    }


def test_the_help_names_every_format_of_weights(capsys):
    shown = run(capsys, "convert", "--help")[1]
    assert all(name in shown for name in FORMATS)


def test_weights_that_cannot_be_converted_leave_nothing(capsys, tmp_path):
    target = tmp_path / "out.safetensors"
    (tmp_path / "text.pt").write_text("no weights")
    for source, words in (("gone.pt", "no model 'gone.pt'"), (tmp_path / "text.pt", "is not a weight file")):
        status, _, err = run(capsys, "convert", source, target)
        assert (status, err.count("\n")) == (1, 1)
        assert words in err
    assert "unknown format 'onnx'" in run(capsys, "convert", "tiny", target, "--to", "onnx")[2]
    assert not target.exists()


def test_doctor_measures_the_model(model, capsys):
    status, out, _ = run(capsys, "doctor", "--json")
    report = json.loads(out)
    assert status == 0
    assert report["packages"]["torch"].split("+")[0] == torch.__version__.split("+")[0]
    assert report["image_seconds"] >= 0
    assert len(model.calls) == 4
    assert "median of 3" in run(capsys, "doctor")[1]


@pytest.mark.usefixtures("model")
def test_doctor_reports_what_it_can_when_the_model_is_missing(capsys):
    status, out, err = run(capsys, "doctor", "--model", "huge")
    assert (status, err) == (1, "")
    assert "problem   unknown model 'huge'" in out


def test_a_recipe_is_printed_with_its_overrides(capsys):
    status, out, _ = run(capsys, "train", "builtin", "optim.lr_text=0.5", "--print-config")
    assert (status, json.loads(out)["optim"]["lr_text"]) == (0, 0.5)
    assert "an override is key=value" in run(capsys, "train", "builtin", "fast")[2]


def test_help_and_bad_arguments_do_not_import_torch():
    code = (
        "import sys; from masklet.cli import main; main(['--help']); main(['segment', '--help']);"
        "main(['segment', 'x.png']); sys.exit(int('torch' in sys.modules))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "segment" in result.stdout


def test_the_command_exits_with_its_status(tmp_path):
    command = [sys.executable, "-m", "masklet", "segment", str(tmp_path / "no.png"), "-p", "coin", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"masklet: no such file: {tmp_path / 'no.png'}\n"


def test_no_arguments_print_the_help(capsys):
    status, out, _ = run(capsys)
    assert status == 2
    assert "segment" in out


@pytest.mark.usefixtures("model")
def test_numbers_in_json_are_plain(capsys):
    out = run(capsys, "segment", picture("a.png"), "-p", "coin", "--json")[1]
    assert isinstance(json.loads(out)["phrases"][0]["detections"][0]["box"][0], float)
    assert np.isfinite(json.loads(out)["phrases"][0]["presence"])
