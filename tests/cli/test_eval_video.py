"""`masklet eval video` and `masklet eval vos`: tables, files and errors, on predictions from files."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import masklet.cli.eval_video  # noqa: F401 - registers the commands
from masklet.cli import main

GOLDEN = Path(__file__).parents[1] / "golden/video_metrics"
OFFICIAL = json.loads((GOLDEN / "official_results.json").read_text())["dataset_results"]
GIVEN = ["eval", "video", "--gt", str(GOLDEN / "gt.json"), "--pred", str(GOLDEN / "pred.json")]


def test_prints_the_figures_of_papers(capsys: pytest.CaptureFixture) -> None:
    assert main(GIVEN) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["masks", "boxes"]
    rows = {line[:10].strip(): line[10:].split() for line in lines[1:]}
    assert rows["cgF1"] == ["22.2", "23.0"]
    assert rows["VL_MCC"] == ["0.607", "0.607"]
    assert rows["pHOTA"] == ["45.5", "44.0"]
    assert rows["TETA"] == ["62.0", "-"]


def test_prints_every_figure_as_json(capsys: pytest.CaptureFixture) -> None:
    assert main([*GIVEN, "--json", "--processes", "2"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert {name: figures[name] for name in OFFICIAL} == pytest.approx(OFFICIAL, abs=2e-8)


def test_writes_scores_and_a_page(tmp_path: Path) -> None:
    assert main([*GIVEN, "--out", str(tmp_path / "new")]) == 0
    scores = json.loads((tmp_path / "new/scores.json").read_text())
    assert scores["format"] == "masklet-eval-video"
    assert len(scores["pairs"]) == 11
    assert (scores["pairs"][0]["video"], scores["pairs"][0]["phrase"]) == ("synth_000000", "red disc")
    assert scores["metrics"]["video_mask_teta"] == OFFICIAL["video_mask_teta"]
    page = (tmp_path / "new/report.html").read_text()
    assert "purple balloon" in page
    assert "synth_000002" in page
    assert "45.5" in page


def test_an_error_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    broken = tmp_path / "pred.json"
    broken.write_text('[{"video_id": 0, "category_id": 3, "score": 0.5}]')
    assert main([*GIVEN[:4], "--pred", str(broken)]) == 1
    assert capsys.readouterr().err == f"masklet: {broken}: prediction 0: segmentations: Field required\n"
    assert main([*GIVEN[:4], "--pred", str(tmp_path / "none.json")]) == 1
    assert "no such file" in capsys.readouterr().err
    assert main([*GIVEN[:4]]) == 2


def test_follows_objects_of_folders(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for side, missing in (("truth", 9), ("predicted", 2)):
        folder = tmp_path / side / "bear"
        folder.mkdir(parents=True)
        for frame in range(6):
            ids = np.zeros((20, 30), np.uint8)
            ids[4:9, 3:9] = 1
            ids[4:9, 13:19] = 2 * (frame != missing)
            Image.fromarray(ids).save(folder / f"{frame:05d}.png")
    given = ["eval", "vos", "--gt", str(tmp_path / "truth"), "--pred", str(tmp_path / "predicted")]
    assert main([*given, "--out", str(tmp_path / "out")]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        ["J&F", "J", "F"],
        ["bear", "87.5", "87.5", "87.5"],
        ["all", "objects", "87.5", "87.5", "87.5"],
    ]
    scores = json.loads((tmp_path / "out/scores.json").read_text())
    assert scores["videos"][0]["objects"][1] == {"id": 2, "J": 0.75, "F": 0.75, "J&F": 0.75}
    assert "bear" in (tmp_path / "out/report.html").read_text()
    assert main([*given, "--all-frames", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["J"] == pytest.approx((1 + 5 / 6) / 2)
    assert main([*given[:4], "--pred", str(tmp_path / "truth/bear")]) == 1
    assert capsys.readouterr().err == f"masklet: {tmp_path}/truth/bear has no folder bear\n"
