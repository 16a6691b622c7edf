"""`masklet eval concepts` from the command line: published layouts, a model, and everything that may be wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from masklet.cli import main

CASE = json.loads((Path(__file__).parents[1] / "golden/cgf1_case3_oracle_three_annotators.json").read_text())


@pytest.fixture
def gold(tmp_path, monkeypatch) -> Path:
    """A folder of published files: one subset of three annotators, one of one."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "gold"
    folder.mkdir()
    for name, truth in zip("abc", CASE["ground_truths"], strict=True):
        (folder / f"gold_oracle_merged_{name}_release_test.json").write_text(json.dumps(truth))
    (folder / "silver_single_merged_test.json").write_text(json.dumps(CASE["ground_truths"][0]))
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    for name in ("oracle", "single"):
        (predictions / f"{name}.json").write_text(json.dumps(CASE["predictions"]))
    return folder


@pytest.mark.usefixtures("gold")
def test_subsets_and_annotators_are_found_by_the_names_of_files(capsys):
    assert main(["eval", "concepts", "--gt", "gold", "--pred", "predictions", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["subsets"].keys() == {"oracle", "single"}
    for kind in ("segm", "bbox"):
        for name, value in CASE["expected"][kind].items():
            assert scores["subsets"]["oracle"][kind][name] == pytest.approx(value, abs=1e-12)
        mean = sum(scores["subsets"][name][kind]["cgF1"] for name in ("oracle", "single")) / 2
        assert scores["metrics"][kind]["cgF1"] == pytest.approx(mean, abs=1e-12)
    assert scores["subsets"]["single"]["segm"]["cgF1"] != scores["subsets"]["oracle"]["segm"]["cgF1"]


@pytest.mark.usefixtures("gold")
def test_a_table_figures_outcomes_and_a_page_are_left(capsys):
    assert main(["eval", "concepts", "--gt", "gold", "--pred", "predictions", "--out", "run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:4] == ["subset", "by", "pairs", "cgF1"]
    assert [line.split()[0] for line in lines[1:4]] == ["oracle", "single", "mean"]
    assert f"{100 * CASE['expected']['segm']['cgF1']:.2f}" in lines[1]
    assert {path.name for path in Path("run").iterdir()} == {"scores.json", "outcomes.jsonl", "report.html"}


def test_annotators_may_be_listed_and_order_matters_only_for_ties(gold, capsys):
    files = sorted(map(str, gold.glob("gold_oracle*")))
    arguments = ["eval", "concepts", "--pred", "predictions/oracle.json", "--iou", "masks", "--json"]
    assert main([*arguments, "--gt", ",".join(files)]) == 0
    figures = json.loads(capsys.readouterr().out)["metrics"]
    assert figures.keys() == {"segm"}
    assert figures["segm"]["cgF1"] == pytest.approx(CASE["expected"]["segm"]["cgF1"], abs=1e-12)


def edit(section: str, place: int, **fields):
    """Changes a record of the labels, or of the predictions where the section is "pred"; None takes a field away."""

    def change(truth: dict, predictions: list) -> None:
        record = predictions[place] if section == "pred" else truth[section][place]
        for name, value in fields.items():
            if value is None:
                del record[name]
            else:
                record[name] = value

    return change


SMALL = {"size": [4, 4], "counts": "`0"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit("images", 1, text_input=None), "labels.json: image 102: text_input: is missing"),
        (edit("images", 0, width=0), "labels.json: image 101: width: is "),
        (edit("images", 1, id=101), "labels.json: image 101: id: is given twice"),
        (
            edit("annotations", 0, bbox=[10, 20, 30, 40]),
            "(boxes of these files are fractions of the image, not pixels)",
        ),
        (edit("annotations", 0, image_id=999), "labels.json: annotation 1: image_id: there is no image 999"),
        (edit("categories", 0, id=[1]), "labels.json: category [1]: id: is "),
        (edit("annotations", 0, segmentation=None), "segmentation: is missing; --iou boxes does without it"),
        (edit("annotations", 0, segmentation=SMALL), "segmentation.size: is [4, 4], the image is ["),
        (edit("annotations", 0, segmentation={"size": [24, 32], "counts": "zz~"}), "segmentation.counts: "),
        (edit("pred", 0, score=1.5), "predictions.json: a prediction of image 101: score: is "),
        (edit("pred", 0, score="high"), "predictions.json: a prediction of image 101: score: "),
        (edit("pred", 0, score=float("nan")), "predictions.json: a prediction of image 101: score: "),
        (edit("pred", 0, image_id=None), "predictions.json: a prediction: image_id: is missing"),
    ],
)
def test_a_broken_record_is_named_with_its_field(change, message, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = json.loads(json.dumps({"truth": CASE["ground_truths"][0], "predictions": CASE["predictions"]}))
    change(case["truth"], case["predictions"])
    Path("labels.json").write_text(json.dumps(case["truth"]))
    Path("predictions.json").write_text(json.dumps(case["predictions"]))
    assert main(["eval", "concepts", "--gt", "labels.json", "--pred", "predictions.json"]) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("masklet: ")
    assert captured.err.count("\n") == 1
    assert not Path("out/scores.json").exists()
    assert not list(Path().rglob("*.part"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gt", "gold"], "give either --pred with a file of predictions, or --model"),
        (["--gt", "gold", "--pred", "predictions", "--model", "tiny"], "give either --pred"),
        (["--gt", "gold", "--model", "tiny"], "--model needs --images"),
        (["--gt", "gold", "--model", "tiny", "--images", "nowhere"], "no such folder: nowhere"),
        (["--gt", "gold", "--model", "tiny", "--images", "gold", "--json"], "--model needs --out"),
        (["--gt", "nothing.json", "--pred", "predictions"], "no such file: nothing.json"),
        (["--gt", "predictions/single.json", "--pred", "gold"], "no such file: gold/single.json"),
        (["--gt", "predictions/single.json", "--pred", "predictions/single.json"], "SA-Co labels are expected"),
        (["--gt", "gold", "--pred", "predictions/single.json"], "1 files of predictions were given for 2 subsets"),
        (["--gt", "gold", "--gt", "gold", "--pred", "predictions"], "two subsets are called"),
        (["--gt", "gold", "--pred", "predictions", "--iou", "circles"], "unknown overlap 'circles'"),
        (["--gt", "predictions", "--pred", "predictions"], "SA-Co labels are expected"),
        (["--gt", "empty", "--pred", "predictions"], "no .json file in empty"),
    ],
)
def test_wrong_usage_is_one_line(arguments, message, gold, capsys):
    (gold.parent / "empty").mkdir()
    is_usage = message.startswith(("give either", "--model needs"))
    assert main(["eval", "concepts", *arguments]) == (2 if is_usage else 1)
    assert message in capsys.readouterr().err


@pytest.mark.usefixtures("gold")
def test_what_is_left_out_is_told(capsys):
    strangers = [{**CASE["predictions"][0], "image_id": 10**6}, {**CASE["predictions"][0], "category_id": 77}]
    Path("more.json").write_text(json.dumps(CASE["predictions"] + strangers))
    arguments = ["eval", "concepts", "--gt", "gold/silver_single_merged_test.json", "--json"]
    assert main([*arguments, "--pred", "more.json"]) == 0
    more = capsys.readouterr()
    assert "1 predictions belong to no pair of the labels" in more.err
    assert "1 predictions have a category_id that the labels do not name" in more.err
    assert main([*arguments, "--pred", "predictions/single.json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert json.loads(more.out)["metrics"] == plain["metrics"]


@pytest.mark.usefixtures("gold")
def test_files_are_scored_without_importing_a_model():
    code = (
        "import sys; from masklet.cli import main;"
        "assert main(['eval', 'concepts', '--gt', 'gold', '--pred', 'predictions', '--json']) == 0;"
        "print([name for name in sys.modules if name == 'torch' or name.startswith('masklet.models')], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr.strip() == "[]"


RED, GONE = [[2, 2, 12, 2, 12, 12, 2, 12]], [[20, 4, 28, 4, 28, 14, 20, 14]]


def write_coco(path: Path, objects: list[tuple[int, int, list, float | None]]) -> None:
    """Two images, two phrases, and objects of (image, phrase, outline, score)."""
    images = [{"id": n, "file_name": f"sub/{n}.png", "width": 40, "height": 30} for n in (1, 2)]
    names = [{"id": 7, "name": "red mug"}, {"id": 8, "name": "plate"}]
    annotations = [
        {"id": n, "image_id": image, "category_id": phrase, "segmentation": outline}
        | ({} if score is None else {"score": score})
        for n, (image, phrase, outline, score) in enumerate(objects)
    ]
    path.write_text(json.dumps({"images": images, "categories": names, "annotations": annotations}))


def test_labels_and_predictions_may_be_coco_datasets(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_coco(Path("labels.json"), [(1, 7, RED, None), (1, 7, GONE, None), (2, 8, RED, None)])
    write_coco(Path("found.json"), [(1, 7, RED, 0.9), (2, 8, RED, 0.8)])
    arguments = ["eval", "concepts", "--gt", "labels.json", "--pred", "found.json", "--out", "run"]
    assert main(arguments) == 0
    assert "labels" in capsys.readouterr().out
    subset = json.loads(Path("run/scores.json").read_text())["subsets"]["labels"]
    assert subset["pairs"] == 4
    assert subset["segm"]["positive_micro_F1"] == pytest.approx(0.8, abs=1e-3)  # two of three found, none wrong
    assert subset["segm"]["IL_MCC"] == pytest.approx(1)
    assert main(["eval", "coco", "--gt", "labels.json", "--pred", "found.json", "--iou", "masks", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"]["segm"]["AP_50"] == pytest.approx((1 + 51 / 101) / 2)
    assert main(["eval", "concepts", "--gt", "labels.json", "--pred", "found.json", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["subsets"]["labels"] == subset


@pytest.mark.parametrize("layout", ["lvis", "cvat", "labelstudio", "saco", "imagefolder"])
def test_labels_of_every_layout_give_the_same_figures(layout, tmp_path, capsys, monkeypatch):
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    write_coco(Path("labels.json"), [(1, 7, RED, None), (1, 7, GONE, None), (2, 8, RED, None)])
    write_coco(Path("found.json"), [(1, 7, RED, 0.9), (2, 8, RED, 0.8), (1, 8, GONE, 0.7)])
    Path("sub").mkdir()
    for name in ("1.png", "2.png"):
        Image.new("RGB", (40, 30)).save(Path("sub") / name)
    assert main(["convert-labels", "labels.json", "set", "--to", layout]) == 0
    capsys.readouterr()
    files = {"lvis": "lvis.json", "saco": "saco.json", "cvat": "annotations.xml", "labelstudio": "tasks.json"}
    figures = []
    for gt in ("labels.json", str(Path("set") / files.get(layout, ""))):
        assert main(["eval", "concepts", "--gt", gt, "--pred", "found.json", "--iou", "masks", "--json"]) == 0
        figures.append(json.loads(capsys.readouterr().out)["metrics"]["segm"])
    assert figures[1] == pytest.approx(figures[0], abs=0.02)


def test_what_no_image_has_is_a_dash_not_a_zero(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_coco(Path("labels.json"), [])
    write_coco(Path("found.json"), [(1, 7, RED, 0.9)])
    assert main(["eval", "concepts", "--gt", "labels.json", "--pred", "found.json", "--iou", "masks"]) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[:3] == ["labels", "masks", "4"]
    assert row[3:10] == ["-"] * 7


def test_a_model_that_finds_nothing_has_zeros_and_not_dashes(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_coco(Path("labels.json"), [(1, 7, RED, None)])
    write_coco(Path("found.json"), [])
    command = ["eval", "concepts", "--gt", "labels.json", "--pred", "found.json", "--iou", "masks", "--out", "out"]
    assert main(command) == 0
    row = capsys.readouterr().out.splitlines()[1].split()
    assert row[:10] == ["labels", "masks", "4", "0.00", "0.000", "0.00", "0.00", "-", "0.00", "0.00"]
    assert "no image has what it was asked for" not in Path("out/report.html").read_text(encoding="utf-8")
