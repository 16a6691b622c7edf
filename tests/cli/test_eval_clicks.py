"""`masklet eval clicks`: three kinds of users, one table, page and plot."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import masklet
from masklet import cli
from masklet.ops.masks import rle_encode
from masklet.protocols import ImageSegmenter, Segmenter, VideoSegmenter

SIZE = (24, 32)
COIN = np.zeros(SIZE, bool)
COIN[4:16, 6:18] = True


class Answer:
    """The coin, as an answer to anything."""

    index, ids = 0, (0,)
    masks, logits = COIN[None], [None]
    presence, phrases = {}, ()
    size, concepts, object_scores, areas = COIN.shape, (), None, None

    def __init__(self, index=0, *, there=True):
        self.index = index
        self.scores = np.full(int(there), 0.9, np.float32)
        self.boxes = np.array([[6, 4, 18, 16]], np.float32)[: len(self.scores)]

    def __len__(self):
        return 1

    def mask(self, _place, *, cut=0.5):
        assert cut == 0.5
        return COIN


class FakeModel(Segmenter, ImageSegmenter, VideoSegmenter):
    """Always finds the coin, and no leaf."""

    identity, size = "fake", COIN.shape

    def __init__(self):
        self.opened = []

    def open(self, image):
        self.opened.append(Path(image).name)
        return self

    def open_video(self, source):
        self.frames = list(source)
        return self

    def click(self, *_, **__):
        return Answer()

    def find(self, phrase, **_):
        return Answer(there=phrase != "leaf")

    def track(self, *, start):
        return (Answer(index) for index in range(start, len(self.frames)))

    def close(self):
        pass


@pytest.fixture
def model(monkeypatch, tmp_path):
    fake = FakeModel()
    monkeypatch.setattr(masklet, "load", lambda *_, **__: fake, raising=False)
    monkeypatch.chdir(tmp_path)
    return fake


@pytest.fixture
def labels(tmp_path):
    """Three pictures with a coin, and a clip of two frames in DAVIS layout."""
    for folder in ("images", "frames/walk", "truth/walk"):
        (tmp_path / folder).mkdir(parents=True)
    document = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "coin"}, {"id": 2, "name": "leaf"}]}
    segmentation = {"size": list(SIZE), "counts": rle_encode(COIN)}
    for i in range(3):
        document["images"].append({"id": i, "file_name": f"{i}.png", "width": SIZE[1], "height": SIZE[0]})
        annotation = {"id": i, "image_id": i, "category_id": 1, "bbox": [6, 4, 12, 12], "segmentation": segmentation}
        document["annotations"].append(annotation)
        Image.new("RGB", SIZE[::-1], (i, i, i)).save(tmp_path / "images" / f"{i}.png")
    for i in range(2):
        Image.new("RGB", SIZE[::-1]).save(tmp_path / "frames" / "walk" / f"{i:05d}.jpg")
        Image.fromarray(COIN.astype(np.uint8)).save(tmp_path / "truth" / "walk" / f"{i:05d}.png")
    (tmp_path / "labels.json").write_text(json.dumps(document))
    return "eval", "clicks", "--gt", "labels.json", "--images", "images"


def run(capsys, *arguments):
    status = cli.main([str(each) for each in arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_clicks_on_images_give_a_curve(model, labels, capsys):
    status, out, err = run(capsys, *labels, "--rounds", 3, "--limit", 2, "--out", "run")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == ["tiny on labels.json: 2 objects", ""]
    assert lines[2] == "Mean IoU by clicks"
    assert lines[3].split() == ["clicks", "all", "objects", "small"]
    assert [line.split() for line in lines[4:7]] == [[str(k), "100.0", "100.0"] for k in (1, 2, 3)]
    assert lines[-1] == f"report: {Path('run/report.html')}"
    assert len(model.opened) == 2
    assert Path("run/curve.svg").read_text().startswith("<svg")
    assert "Mean IoU" in Path("run/report.html").read_text()
    scores = json.loads(Path("run/scores.json").read_text())
    assert scores["figures"]["mean_IoU"] == [1, 1, 1]
    assert scores["settings"] == {
        "gt": "labels.json",
        "images": "images",
        "mode": "images",
        "rounds": 3,
        "limit": 2,
        "seed": 0,
        "model": "tiny",
    }


@pytest.mark.usefixtures("model")
def test_objects_of_videos_are_followed(labels, capsys):
    given = ("--mode", "videos", "--gt", "truth", "--images", "frames", "--json")
    status, out, err = run(capsys, *labels, *given)
    assert (status, err) == (0, "")
    figures = json.loads(out)["figures"]
    assert figures == {"objects": 1, "videos": 1, "offline_J&F": [1.0] * 8, "online_J&F": [1.0] * 8}


@pytest.mark.usefixtures("model")
def test_concepts_are_corrected_by_examples(labels, capsys):
    status, out, _ = run(capsys, *labels, "--mode", "exemplars", "--rounds", 2)
    assert status == 0
    assert out.startswith("tiny on labels.json: 6 pairs, 3 positive pairs\n\ncgF1 by examples\n")
    rows = [line.split() for line in out.split("pmF1 by examples\n")[1].splitlines()]
    assert rows[1:] == [["0", "100.0", "100.0"], *[[str(k), *["100.0"] * 3] for k in (1, 2)]]


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode", "mouse"], "unknown mode 'mouse': choose from images, videos, exemplars"),
        (["--gt", "gone.json"], "no such file or folder: gone.json"),
        (["--mode", "videos"], "labels.json is not a folder"),
        (["--mode", "videos", "--gt", "images"], "images holds no folders"),
        (["--gt", "boxes.json"], "boxes.json has no object with a mask to click on"),
        (["--gt", "crowd.json", "--mode", "exemplars"], "crowd.json has no phrase whose instances are all labelled"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(labels, capsys, arguments, message):
    document = json.loads(Path("labels.json").read_text())
    for annotation in document["annotations"]:
        del annotation["segmentation"]
    Path("boxes.json").write_text(json.dumps(document))
    images = [image | {"text_input": "coin", "is_instance_exhaustive": 0} for image in document["images"]]
    annotations = [{"image_id": image["id"], "bbox": [0, 0, 1, 1]} for image in images]
    Path("crowd.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    status, out, err = run(capsys, *labels, *arguments)
    assert (status, out) == (1, "")
    assert message in err
    assert err.count("\n") == 1
