"""`masklet train`: a look at the data before a run, the whole of it with --check, and no run on broken data."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from masklet import cli
from masklet.train.recipes.schema import parse_recipe
from masklet.train.run.data_check import FIRST_LOOK, DataCheck


def write(folder: Path, count: int = 12, **changes: Any) -> Path:
    """A recipe over `count` pictures of noise with a mug; `changes` are of its first annotation."""
    (folder / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(count):
        Image.fromarray(rng.integers(0, 255, (112, 112, 3)).astype(np.uint8)).save(folder / f"images/{index}.png")
        images.append({"id": index, "file_name": f"{index}.png", "width": 112, "height": 112})
        outline = [[20, 20, 80, 20, 80, 90, 20, 90]]
        label = {"id": index, "image_id": index, "category_id": 1, "bbox": [20, 20, 60, 70], "segmentation": outline}
        annotations.append(label)
    annotations[0] |= changes
    categories = [{"id": 1, "name": "coffee mug"}, {"id": 2, "name": "dog"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "labels.json").write_text(json.dumps(document))
    source = {"kind": "coco", "annotations": "labels.json", "images": "images", "split": "all"}
    recipe = {
        "preset": "debug",
        "device": "cpu",
        "bfloat16": False,
        "data": {"root": str(folder), "sources": {"mugs": source, "unused": {"kind": "yolo", "data": "nowhere.yaml"}}},
        "phases": [{"steps": 1, "image_size": 112, "batch_size": 2, "weights": {"mugs": 1, "unused": 0}}],
    }
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return folder / "recipe.yaml"


def run(capsys, *arguments: Any) -> tuple[int, str, str]:
    status = cli.main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return status, output.out, output.err


def test_a_check_says_what_there_is_and_draws_it(capsys, tmp_path):
    status, out, err = run(capsys, "train", write(tmp_path / "data"), "--check", "--out", tmp_path / "run")
    assert (status, err) == (0, "")
    assert "mugs: 12 images, 2 phrases, 12 objects (12 with masks), 1.0 negatives an image" in out
    sheet = Image.open(tmp_path / "run/data.png")
    assert len(np.unique(np.asarray(sheet).reshape(-1, 3), axis=0)) > 1000
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["data.png"]


def test_a_check_as_json(capsys, tmp_path):
    recipe = write(tmp_path / "data", bbox=[0.2, 0.2, 0.5, 0.6])
    status, out, err = run(capsys, "train", recipe, "--check", "--json", "--out", tmp_path / "run")
    report = json.loads(out)
    assert (status, err) == (1, "")
    assert report["sources"]["mugs"]["objects"] == 12
    (finding,) = report["findings"]
    assert (finding["kind"], finding["severity"], finding["examples"]) == ("fractions", "error", ["0.png"])
    assert Path(report["sheet"]).is_file()


def test_a_run_does_not_begin_on_broken_data(capsys, tmp_path):
    recipe = write(tmp_path / "data", segmentation=[[1, 2, 3]])
    status, out, err = run(capsys, "train", recipe, "--out", tmp_path / "run")
    assert (status, out) == (1, "")
    assert "error: mugs: 1 images or labels cannot be used" in err
    assert "annotation 0: segmentation: a polygon needs three points" in err
    assert err.splitlines()[-1].startswith("masklet: the data has errors, so the run did not begin")
    assert not (tmp_path / "run").exists()


def test_a_run_begins_on_sound_data_and_says_what_to_look_at(capsys, tmp_path):
    recipe = write(tmp_path / "data", segmentation=None)
    status, out, err = run(capsys, "train", recipe, "--out", tmp_path / "run")
    assert status == 0
    assert "finished" in out
    assert "warning: mugs: 1 objects have no mask" in err
    assert (tmp_path / "run/weights.safetensors").is_file()


def test_missing_files_are_one_line(capsys, tmp_path):
    recipe = write(tmp_path / "data")
    (tmp_path / "data/labels.json").unlink()
    for arguments in ([], ["--check"]):
        status, out, err = run(capsys, "train", recipe, "--out", tmp_path / "run", *arguments)
        assert (status, out, len(err.splitlines())) == (1, "", 1)
        assert "labels.json: cannot be read" in err


def opened(folder: Path, *, whole: bool, count: int = 12, **changes: Any) -> DataCheck:
    values = json.loads(write(folder, count).read_text())
    values["data"]["sources"]["mugs"] |= changes
    return DataCheck(parse_recipe(values), whole=whole)


def test_before_a_run_a_sample_is_looked_at(tmp_path):
    small, large = opened(tmp_path / "small", whole=False), opened(tmp_path / "large", whole=False, count=250)
    assert (len(small), len(large)) == (12, FIRST_LOOK)
    assert len(opened(tmp_path / "whole", whole=True, count=250)) == 250


def test_a_check_compares_with_what_is_held_out(tmp_path):
    checked = opened(tmp_path, whole=True, count=60, split="train")
    assert len(checked) == 60
    assert len(checked.sources["mugs"]) < 60
    copied = checked.held_out["mugs"].name(0)
    Image.open(tmp_path / "images" / checked.sources["mugs"].name(0)).save(tmp_path / "images" / copied)
    (finding,) = checked.examine().findings
    assert (finding.kind, finding.count) == ("leaked", 1)
    assert finding.examples[0].startswith(f"{copied} is mugs: ")


@pytest.mark.parametrize("task", ["concept", "tracking"])
def test_names_matter_for_concepts_alone(tmp_path, task):
    values = json.loads(write(tmp_path).read_text())
    values["task"] = task
    values["data"]["sources"]["mugs"]["max_negatives"] = 0
    kinds = [finding.kind for finding in DataCheck(parse_recipe(values), whole=True).examine().findings]
    assert kinds == (["no negatives"] if task == "concept" else [])


def test_what_is_only_clicked_on_is_looked_at_without_its_names(tmp_path):
    values = json.loads(write(tmp_path).read_text())
    masks_alone = {**values["data"]["sources"]["mugs"], "max_negatives": 0}
    values["data"]["sources"]["clicked"] = masks_alone
    for share, looked_at in ((0.0, {"mugs"}), (0.5, {"mugs", "clicked"})):
        values["phases"][0]["clicks"] = {"share": share, "weights": {"clicked": 1}}
        found = DataCheck(parse_recipe(values), whole=True).examine()
        assert (set(found.tallies), found.findings) == (looked_at, ())


def test_pictures_to_validate_on_are_compared_with_those_learnt_from(tmp_path):
    values = json.loads(write(tmp_path, 6).read_text())
    mugs = values["data"]["sources"]["mugs"]
    values["validation"] = {"source": mugs}
    (finding,) = DataCheck(parse_recipe(values), whole=True).examine().findings
    assert (finding.source, finding.kind, finding.count) == ("validation", "leaked", 6)
