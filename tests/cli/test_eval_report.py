"""`masklet eval report` and `masklet eval compare` on runs of a few pairs."""

import json
from pathlib import Path

import pytest

from masklet.cli import main

FOUND = {"scores": [0.9], "iou": [[0.95]], "predicted_areas": [40], "predicted_boxes_xyxy": [[1, 1, 9, 6]]}
MISSED: dict = {}
WRONG = {"scores": [0.8], "iou": [], "predicted_areas": [40], "predicted_boxes_xyxy": [[1, 1, 9, 6]]}


def write_run(folder: Path, answers: list[dict], *, kind: str = "segm", images: list[str] | None = None) -> Path:
    """Even pairs show their concept."""
    folder.mkdir()
    lines = []
    for index, answer in enumerate(answers):
        pair = {
            "pair_id": index,
            "phrase": f"p{index}",
            "image": f"{index}.png",
            "subset": "s",
            "height": 20,
            "width": 20,
        }
        truth = {"truth_areas": [40], "truth_boxes_xyxy": [[1, 1, 9, 6]]} if index % 2 == 0 else {}
        lines.append(json.dumps(pair | truth | answer) + "\n")
    (folder / "outcomes.jsonl").write_text("".join(lines))
    scores = {
        "format": "masklet-eval-concepts",
        "version": 1,
        "settings": {"images": images or []},
        "metrics": {kind: {"cgF1": 0.5}},
        "subsets": {},
        "strata": {},
    }
    (folder / "scores.json").write_text(json.dumps(scores))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run", [FOUND, WRONG, MISSED, {}])


@pytest.fixture
def better(tmp_path: Path) -> Path:
    return write_run(tmp_path / "better", [FOUND, {}, FOUND, {}])


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    assert main(["eval", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_page_is_written_beside_the_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "report", str(run)]) == 0
    assert capsys.readouterr().out == f"report: {run / 'report.html'}\n"
    html = (run / "report.html").read_text()
    assert "4 pairs of image and phrase, compared by masks" in html
    assert html.count("<figure") == 2
    assert main(["eval", "report", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"report": str(run / "report.html")}


def test_pictures_are_those_of_the_folder_given_or_known_to_the_run(tmp_path: Path, run: Path) -> None:
    from PIL import Image

    (tmp_path / "pictures").mkdir()
    for index in range(4):
        Image.new("RGB", (20, 20), (0, 60 * index, 0)).save(tmp_path / f"pictures/{index}.png")
    main(["eval", "report", str(run)])
    without = (run / "report.html").read_text()
    main(["eval", "report", str(run), "--images", str(tmp_path / "pictures")])
    given = (run / "report.html").read_text()
    scores = json.loads((run / "scores.json").read_text()) | {"settings": {"images": [str(tmp_path / "pictures")]}}
    (run / "scores.json").write_text(json.dumps(scores))
    main(["eval", "report", str(run)])
    assert (run / "report.html").read_text() == given != without


def test_two_runs_are_compared(tmp_path: Path, run: Path, better: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "comparison"
    assert main(["eval", "compare", str(run), str(better), "--out", str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["figure", "run", "better", "change"]
    assert lines[2].split()[:4] == ["IL_MCC", "0.000", "1.000", "1.000"]
    assert lines[5:] == ["4 pairs: 2 got better, 0 got worse", f"report: {target / 'report.html'}"]
    scores = json.loads((target / "scores.json").read_text())
    assert scores["figures"]["IL_MCC"]["difference"] == pytest.approx(1, abs=1e-5)
    assert (scores["better"], scores["worse"], scores["runs"]) == (2, 0, ["run", "better"])
    assert "better compared with run" in (target / "report.html").read_text()


def test_figures_alone_are_printed_as_json(
    tmp_path: Path, run: Path, better: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    assert main(["eval", "compare", str(better), str(run), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["format"] == "masklet-eval-compare"
    assert scores["figures"]["IL_MCC"]["difference"] == pytest.approx(-1, abs=1e-5)
    assert set(tmp_path.rglob("*")) == before


def test_runs_of_the_same_name_are_named_by_their_path(
    tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    again = write_run(tmp_path / "other" / "run", [FOUND, {}, FOUND, {}])
    main(["eval", "compare", str(run), str(again), "--json"])
    assert json.loads(capsys.readouterr().out)["runs"] == [str(run), str(again)]


def test_what_is_no_run_is_refused(tmp_path: Path, run: Path, better: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no scores.json" in complaint(capsys, "report", tmp_path / "nowhere")
    (better / "outcomes.jsonl").unlink()
    assert "there is no outcomes.jsonl" in complaint(capsys, "compare", run, better)
    assert "no such folder" in complaint(capsys, "report", run, "--images", tmp_path / "nowhere")
    (run / "scores.json").write_text("{}")
    assert "scores.json: format: is missing" in complaint(capsys, "report", run)


def test_runs_that_differ_are_refused(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fewer = write_run(tmp_path / "fewer", [FOUND, WRONG])
    assert "the runs differ: 2 pairs of" in complaint(capsys, "compare", run, fewer, "--json")
    boxes = write_run(tmp_path / "boxes", [FOUND, WRONG, MISSED, {}], kind="bbox")
    assert "compares by segm" in complaint(capsys, "compare", run, boxes)
    assert not (tmp_path / "out").exists()
