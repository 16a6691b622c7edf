"""`masklet eval video` and `masklet eval vos`: tables, files and errors, of predictions in files and of a model."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import masklet
from masklet.cli import main
from masklet.protocols import Segmenter, VideoSegmenter

GOLDEN = Path(__file__).parents[1] / "golden/video_metrics"
OFFICIAL = json.loads((GOLDEN / "official_results.json").read_text())["dataset_results"]
TRUTH = ["eval", "video", "--gt", str(GOLDEN / "gt.json")]
GIVEN = [*TRUTH, "--pred", str(GOLDEN / "pred.json")]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_prints_the_figures_of_papers(capsys: pytest.CaptureFixture) -> None:
    assert main(GIVEN) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["masks", "boxes"]
    rows = {line[:10].strip(): line[10:].split() for line in lines[1:]}
    assert rows["cgF1"] == ["22.2", "23.0"]
    assert rows["VL_MCC"] == ["0.607", "0.607"]
    assert rows["pHOTA"] == ["45.5", "44.0"]
    assert rows["TETA"] == ["62.0", "-"]
    assert lines[-1] == "report: out/report.html"


def test_prints_everything_as_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main([*GIVEN, "--json", "--processes", "2"]) == 0
    figures = json.loads(capsys.readouterr().out)["metrics"]
    assert {name: figures[name] for name in OFFICIAL} == pytest.approx(OFFICIAL, abs=2e-8)
    assert list(tmp_path.iterdir()) == []


def test_writes_scores_and_a_page(tmp_path: Path) -> None:
    assert main([*GIVEN, "--out", "new"]) == 0
    scores = json.loads((tmp_path / "new/scores.json").read_text())
    assert scores["format"] == "masklet-eval-video"
    assert len(scores["pairs"]) == 11
    assert (scores["pairs"][0]["video"], scores["pairs"][0]["phrase"]) == ("synth_000000", "red disc")
    assert scores["metrics"]["video_mask_teta"] == OFFICIAL["video_mask_teta"]
    page = (tmp_path / "new/report.html").read_text()
    assert "purple balloon" in page
    assert "synth_000002" in page
    assert "45.5" in page


class FakeModel(Segmenter):
    identity = "fake-1"

    def open_video(self, source: Sequence[Path]) -> "FakeVideo":
        return FakeVideo(len(source))


class Frame(SimpleNamespace):
    def __len__(self) -> int:
        return len(self.ids)


class FakeVideo(VideoSegmenter):
    """Finds one object in every frame for every phrase."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.phrases: list[str] = []

    def add_concept(self, phrase: str, *, frame: int) -> None:
        assert frame == 0
        self.phrases.append(phrase)

    def track(self) -> Iterator[Frame]:
        count = len(self.phrases)
        masks = np.zeros((count, 48, 64), bool)
        masks[:, 10:20, 10:30] = True
        given = {"ids": np.arange(count), "scores": np.full(count, 0.75, np.float32), "masks": masks}
        other = dict.fromkeys(("size", "object_scores", "areas", "mask"))
        for index in range(self.length):
            yield Frame(index=index, concepts=tuple(self.phrases), **given, **other)

    def close(self) -> None:
        pass


class KeptMasks(VideoSegmenter):
    """Objects stay where they were given, and are not seen before."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.given: dict[int, tuple[int, np.ndarray]] = {}

    def add_mask(self, object_id: int, frame: int, mask: np.ndarray) -> None:
        assert object_id not in self.given
        self.given[object_id] = (frame, mask)

    def track(self, *, start: int) -> Iterator[Frame]:
        assert start == 0
        ids = np.array(sorted(self.given))
        other = dict.fromkeys(("size", "scores", "object_scores", "areas", "concepts")) | {"mask": self.given.get}
        for index in range(self.length):
            masks = [mask & (index >= frame) for _, (frame, mask) in sorted(self.given.items())]
            yield Frame(index=index, ids=ids, masks=np.stack(masks), **other)

    def close(self) -> None:
        pass


class Keeper(Segmenter):
    identity = "keeper"

    def open_video(self, source: Sequence[Path]) -> KeptMasks:
        return KeptMasks(len(source))


def test_a_model_is_given_each_object_by_its_first_mask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    for folder in ("truth/bear", "frames/bear"):
        (tmp_path / folder).mkdir(parents=True)
    for frame in range(6):
        Image.new("RGB", (30, 20)).save(tmp_path / f"frames/bear/{frame:05d}.jpg")
        if frame % 2 == 0:  # every other frame has labels; the second object moves once
            ids = np.zeros((20, 30), np.uint8)
            ids[4:9, 3:9] = 1
            ids[4:9, 13 + 8 * (frame == 4) : 19 + 8 * (frame == 4)] = 2 * (frame > 0)
            Image.fromarray(ids).save(tmp_path / f"truth/bear/{frame:05d}.png")
    monkeypatch.setattr(masklet, "load", lambda *_, **__: Keeper(), raising=False)
    asked = ["eval", "vos", "--gt", "truth", "--model", "tiny", "--videos", "frames", "--all-frames"]
    assert main([*asked, "--out", "run"]) == 0
    assert {path.name for path in (tmp_path / "run/predictions/bear").iterdir()} == {
        f"{frame:05d}.png" for frame in (0, 2, 4)
    }
    scores = json.loads((tmp_path / "run/scores.json").read_text())
    assert scores["settings"]["model"] == "tiny"
    assert [each["J"] for each in scores["videos"][0]["objects"]] == [1.0, pytest.approx(2 / 3)]
    (tmp_path / "frames/bear/00002.jpg").unlink()
    capsys.readouterr()
    assert main([*asked, "--out", "again"]) == 1
    assert "video bear: there is no frame 00002" in capsys.readouterr().err
    assert main(asked[:6]) == 2
    assert "--model needs --videos" in capsys.readouterr().err


def test_asks_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    for video in json.loads((GOLDEN / "gt.json").read_text())["videos"]:
        for name in video["file_names"]:
            (tmp_path / "frames" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "frames" / name).write_text(name)
    monkeypatch.setattr(masklet, "load", lambda *_, **__: FakeModel(), raising=False)
    asked = [*TRUTH, "--model", "tiny", "--videos", "frames", "--out", "run"]
    assert main(asked) == 0
    predictions = json.loads((tmp_path / "run/predictions.json").read_text())
    assert len(predictions) == 11
    assert {each["score"] for each in predictions} == {0.75}
    scores = json.loads((tmp_path / "run/scores.json").read_text())
    assert scores["settings"]["model"] == "tiny"
    assert scores["metrics"]["video_mask_demo_ilmcc_50_95"] == 0, "found everywhere, so it says nothing"
    assert len(list((tmp_path / "cache/masklet/answers/fake-1/videos").iterdir())) == 3
    capsys.readouterr()
    assert main([*GIVEN, "--model", "tiny"]) == 2
    assert "either --pred" in capsys.readouterr().err
    assert main([*TRUTH, "--model", "tiny", "--out", "run"]) == 2
    assert "--model needs --videos" in capsys.readouterr().err
    assert main([*asked[:-2], "--json"]) == 2
    assert "--model needs --out" in capsys.readouterr().err


def test_an_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    broken = tmp_path / "pred.json"
    broken.write_text('[{"video_id": 0, "category_id": 3, "score": 0.5}]')
    assert main([*TRUTH, "--pred", str(broken)]) == 1
    assert capsys.readouterr().err == f"masklet: {broken}: prediction 0: segmentations: is missing\n"
    assert main([*TRUTH, "--pred", str(tmp_path / "none.json")]) == 1
    assert "no such file" in capsys.readouterr().err
    assert main(TRUTH) == 2
    assert "either --pred" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_follows_objects_of_folders(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for side, missing in (("truth", 9), ("predicted", 2)):
        folder = tmp_path / side / "bear"
        folder.mkdir(parents=True)
        for frame in range(6):
            ids = np.zeros((20, 30), np.uint8)
            ids[4:9, 3:9] = 1
            ids[4:9, 13:19] = 2 * (frame != missing)
            Image.fromarray(ids).save(folder / f"{frame:05d}.png")
    given = ["eval", "vos", "--gt", "truth", "--pred", "predicted"]
    assert main(given) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["J&F", "J", "F"],
        ["bear", "87.5", "87.5", "87.5"],
        ["all", "objects", "87.5", "87.5", "87.5"],
        ["report:", "out/report.html"],
    ]
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert scores["videos"][0]["objects"][1] == {"id": 2, "J": 0.75, "F": 0.75, "J&F": 0.75}
    assert "bear" in (tmp_path / "out/report.html").read_text()
    assert main([*given, "--all-frames", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["J"] == pytest.approx((1 + 5 / 6) / 2)
    assert main([*given[:4], "--pred", "truth/bear"]) == 1
    assert capsys.readouterr().err == "masklet: truth/bear has no folder bear\n"
