"""`masklet calibrate`, and the file that it writes in the hands of `segment` and `track`."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import masklet
from masklet import cli
from masklet.cli import calibrate as _command  # noqa: F401 - adds it to the application
from masklet.errors import InputError
from masklet.formats.calibration import Calibration, Thresholds, read_calibration, write_calibration
from masklet.ops.masks import rle_encode
from masklet.protocols import ImageSegmenter, Segmenter

SIZE = (20, 30)


class FakeSession(ImageSegmenter):
    """A coin that is there at a score of 0.8 and a shadow at 0.6; no leaf."""

    size = SIZE

    def find(self, phrases, *, threshold, assume_present):
        assert not assume_present
        found = [
            (score, phrase) for score in (0.8, 0.6) for phrase in phrases if phrase == "coin" and score > threshold
        ]
        self.presence = {phrase: 0.9 if phrase == "coin" else 0.1 for phrase in phrases}
        self.phrases = tuple(phrase for _, phrase in found)
        self.scores = np.array([score for score, _ in found], np.float32)
        self.boxes = np.array([[4, 4, 12, 12], [20, 4, 28, 12]], np.float32)[: len(found)]
        return self

    def __len__(self):
        return len(self.scores)

    def mask(self, index, *, cut):
        mask = np.zeros(SIZE, bool)
        left = 4 + 16 * index
        mask[4:12, left : left + 8 + round(10 * (0.5 - cut))] = True
        return mask

    def close(self):
        pass


class FakeModel(Segmenter):
    identity = "fake-8-float32"

    def __init__(self):
        self.opened = 0

    def open(self, image):
        assert Path(image).is_file()
        self.opened += 1
        return FakeSession()


@pytest.fixture
def model(monkeypatch, tmp_path):
    fake = FakeModel()
    monkeypatch.setattr(masklet, "load", lambda *_, **__: fake, raising=False)
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def labels(tmp_path):
    """Twelve pictures of a coin, 8 x 9."""
    mask = np.zeros(SIZE, bool)
    mask[4:12, 4:13] = True
    segmentation = {"size": list(SIZE), "counts": rle_encode(mask)}
    (tmp_path / "images").mkdir()
    document = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "coin"}, {"id": 2, "name": "leaf"}]}
    for i in range(12):
        document["images"].append({"id": i, "file_name": f"{i}.png", "width": 30, "height": 20})
        annotation = {"id": i, "image_id": i, "category_id": 1, "bbox": [4, 4, 9, 8], "segmentation": segmentation}
        document["annotations"].append(annotation)
        Image.fromarray(np.full((*SIZE, 3), i, np.uint8)).save(tmp_path / "images" / f"{i}.png")
    (tmp_path / "labels.json").write_text(json.dumps(document))
    return "--gt", "labels.json", "--images", "images"


def run(capsys, *arguments):
    status = cli.main([str(each) for each in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


@pytest.mark.usefixtures("model")
def test_thresholds_are_chosen_and_what_to_expect_is_shown(labels, capsys):
    status, out, err = run(capsys, "calibrate", *labels, "--folds", 3)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "24 pairs in 12 images, each judged by thresholds chosen on others (3 folds)"
    assert lines[1].split() == ["uncalibrated", "calibrated"]
    assert "local F1              83.3       100.0" in lines
    assert "mask IoU              88.9       100.0" in lines
    assert lines[-2:] == [
        "1 phrases with thresholds of their own; all others: presence 0, score 0.6, mask 0.4",
        "-> calibration.json",
    ]
    found = read_calibration("calibration.json")
    assert found.model == "fake-8-float32"
    assert found.phrases == {"coin": Thresholds(presence=0.0, score=0.6, mask=0.4)}
    assert found.validation["calibrated"]["local_F1"] == pytest.approx(1.0)


def test_answers_are_kept_for_another_run(model, labels, capsys):
    for _ in range(2):
        status, out, _ = run(capsys, "calibrate", *labels, "--out", "new/c.json", "--limit", 6, "--json")
        assert status == 0
    assert json.loads(out) == json.loads(Path("new/c.json").read_text())
    assert model.opened == 6
    assert len(list(Path("new/c.answers/fake-8-float32").iterdir())) == 6


@pytest.mark.usefixtures("model")
def test_a_target_precision_is_met(labels, capsys):
    status, out, _ = run(capsys, "calibrate", *labels, "--target-precision", 0.9, "--json")
    assert status == 0
    found = json.loads(out)
    assert found["validation"]["target_precision"] == 0.9
    assert found["default"]["score"] == 0.6


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target-precision", "1.5"], "the target precision must lie between 0 and 1, not 1.5"),
        (["--folds", "13"], "12 images with labels cannot be split into 13 parts"),
        (["--gt", "gone.json"], "gone.json: cannot be read"),
        (["--images", "gone"], "no such file: gone"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(labels, capsys, arguments, message):
    status, out, err = run(capsys, "calibrate", *labels, *arguments)
    assert (status, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1


def test_segment_takes_the_file(monkeypatch, tmp_path, capsys):
    seen = []

    class Stop(InputError):
        pass

    class Segmenting:
        identity = "fake-8-bfloat16"

        def segment(self, _image, _phrases=None, *, calibration, **_):
            seen.append(calibration)
            raise Stop("enough")

    monkeypatch.setattr(masklet, "load", lambda *_, **__: Segmenting(), raising=False)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (30, 20)).save("a.png")
    mine = Calibration(model="fake-8-float32", default=Thresholds(score=0.3))
    write_calibration(mine, "mine.json")
    write_calibration(Calibration(model="other-8-float32", default=Thresholds()), "other.json")
    assert run(capsys, "segment", "a.png", "-p", "coin", "--calibration", "mine.json")[2] == "masklet: a.png: enough\n"
    assert seen == [mine]
    arguments = json.loads(Path("out/manifest.json").read_text())["arguments"]
    assert arguments["calibration"] == mine.digest
    status, _, err = run(capsys, "segment", "a.png", "-p", "coin", "--calibration", "other.json")
    assert status == 1
    assert "was made for the model other-8-float32" in err
    status, _, err = run(capsys, "segment", "a.png", "-p", "coin", "--calibration", "a.png")
    assert (status, len(seen)) == (1, 1)
    assert "a.png is not a calibration" in err


def test_track_takes_the_file_and_a_run_goes_on_only_with_the_same(monkeypatch, tmp_path, capsys):
    seen = []

    class Stop(InputError):
        pass

    class Tracking:
        def open_video(self, _source, *, delay, calibration):
            seen.append((delay, calibration))
            raise Stop("enough")

    monkeypatch.setattr(masklet, "load", lambda *_, **__: Tracking(), raising=False)
    monkeypatch.chdir(tmp_path)
    Path("frames").mkdir()
    Image.new("RGB", (30, 20)).save("frames/0.png")
    mine = Calibration(model="fake-8-float32", default=Thresholds(score=0.3))
    write_calibration(mine, "mine.json")
    assert run(capsys, "track", "frames", "-p", "coin", "--calibration", "mine.json")[2] == "masklet: enough\n"
    assert seen == [(None, mine)]

    from masklet.workflows.track_job import TrackJob, TrackPrompts

    prompts = TrackPrompts(phrases=("coin",))
    job = TrackJob(video="frames", prompts=prompts, calibration=mine)
    assert job.arguments["calibration"] == mine.digest
    assert TrackJob(video="frames", prompts=prompts).arguments["calibration"] is None
