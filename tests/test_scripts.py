"""Scripts outside of the package: they use public names, and run at the smallest size that each can be given."""

import ast
import json
import os
import re
import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from engine_world import PHRASES, ColourSegmenter, true_masks, write_photos
from house import ROOT
from PIL import Image
from random_model import random_weights
from recognizing_model import recognizing

from masklet.checkpoints.weights import Weights
from masklet.data.schema import PhraseQuery
from masklet.formats.coco import CocoBuilder
from masklet.formats.records import RunLengths
from masklet.inference.model import make_model
from masklet.media.images import read_image
from masklet.models.detector import Detector
from masklet.ops.masks import rle_encode
from masklet.scenes.layout import SceneConfig
from masklet.scenes.scene import render_scene

SCRIPTS = sorted(path for folder in ("benchmarks", "examples", "runs") for path in (ROOT / folder).glob("*.py"))
SMALLEST = {
    "benchmarks/eval.py": ["--pairs", "50", "--turns", "1"],
    "benchmarks/video_memory.py": ["--frames", "6", "--every", "3", "--history", "3"],
    "benchmarks/tracking.py": ["--clips", "1", "--frames", "3", "--image-size", "128"],
    "benchmarks/train.py": ["--steps", "1", "--size", "112", "--batch", "1"],
    "benchmarks/scenes.py": [],
    "runs/report.py": ["--pictures", "2", "--clips", "1", "--users", "1", "--out", "OUT"],
    "examples/track.py": ["OUT"],
}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_use_public_names_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    used = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) != "self"
    }
    imports = (node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom))
    used |= {alias.name for node in imports for alias in node.names}
    assert not {name for name in used - own if name.startswith("_") and not name.startswith("__")}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALLEST)
def test_scripts_run_at_their_smallest_size(name: str, tmp_path: Path) -> None:
    arguments = [str(tmp_path) if each == "OUT" else each for each in SMALLEST[name]]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(ROOT / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def load_script(name: str) -> Any:
    """A script as a module."""
    spec = spec_from_file_location(Path(name).stem + "_script", ROOT / name)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_last_step_of_the_built_in_model_judges_every_pair() -> None:
    """Its whole is a run on data that is not here."""
    module = load_script("runs/finish_builtin.py")
    example = render_scene(7_000_000, SceneConfig(size=112))
    found = module.pairs_at(module.shifted(random_weights(), 1.0), [example])
    asked = [each for each in example.queries if each.exhaustive]
    assert found.keys() == set(module.EVEN_SCORES)
    assert {len(pairs) for pairs in found.values()} == {len(asked)}


@pytest.mark.slow
@pytest.mark.parity
def test_the_video_benchmark_runs_both_sides_from_end_to_end(tmp_path: Path, monkeypatch, capsys) -> None:
    """Its widths are the published ones, its objects and frames few."""
    pytest.importorskip("transformers", reason="the other side of the comparison is not installed")
    module = load_script("benchmarks/video.py")
    for name, value in {"VIDEO_SIZE": (48, 64), "FILLING": 1, "COUNTED": 1, "MANY": 4}.items():
        monkeypatch.setattr(module, name, value)
    arguments = ["--objects", "1", "2", "--concepts", "1", "--device", "cpu", "--out", str(tmp_path / "video.json")]
    monkeypatch.setattr(sys, "argv", ["video.py", *arguments])
    module.main()
    rows = json.loads((tmp_path / "video.json").read_text())["rows"]
    assert rows.keys() == {"1 objects, 1 concepts", "2 objects, 1 concepts"}
    for row in rows.values():
        assert row.keys() == {"masklet", "transformers"}
        assert all(side["total"] == pytest.approx(sum(side[part] for part in module.PARTS)) for side in row.values())
        assert all(side[part] > 0 for side in row.values() for part in ("vision", "detect", "propagate", "memory"))
    assert "association of 4 with 4" in capsys.readouterr().out


def test_heat_maps_have_a_row_a_word_and_a_column_a_photo() -> None:
    """Its whole is 20 photos that are not here."""
    module = load_script("runs/heat_maps.py")
    torch.manual_seed(0)
    weights = Weights(config=recognizing(), state=Detector(recognizing()).state_dict(), origin="random")
    model = make_model(weights, torch.device("cpu"), torch.float32)
    photo = np.full((40, 60, 3), 200, np.uint8)
    maps = module.cosines(model, model.encode(photo), ["cat", "dog"])
    assert maps.shape == (2, 4, 4)
    assert maps.abs().max() <= 1
    picture = module.sheet(model, [photo, photo, photo], ["cat", "dog"])
    step = module.SIDE + module.GAP
    assert picture.size == (module.MARGIN + 3 * step, 3 * step)
    hot = np.asarray(module.warm(np.full((4, 4), module.HIGH), Image.fromarray(photo)))
    cold = np.asarray(module.warm(np.full((4, 4), module.LOW), Image.fromarray(photo)))
    assert (hot == (214, 40, 30)).all()
    assert (cold[..., 0] == cold[..., 1]).all()


def test_self_labels_are_whole_and_reach_the_edges_of_their_box() -> None:
    module = load_script("runs/self_labels.py")
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:30, 10:30] = True
    assert module.fits(mask, (10, 10, 30, 30))
    assert not module.fits(mask, (10, 10, 38, 30))
    assert not module.fits(np.zeros_like(mask), (10, 10, 30, 30))
    holed, split, rim = mask.copy(), mask.copy(), mask.copy()
    holed[14:24, 14:24] = split[16:20] = rim[11:29, 11:29] = False
    assert not any(module.fits(each, (10, 10, 30, 30)) for each in (holed, split, rim))


def test_self_labels_leave_what_a_person_drew(tmp_path: Path) -> None:
    """The model is a stand-in that finds the left half of every photo; its whole is 690 photos that are not here."""
    module = load_script("runs/self_labels.py")
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")
    half = np.zeros((20, 40), dtype=bool)
    half[:, :20] = True
    module.Photo = lambda *_: SimpleNamespace(
        of_box=lambda box, _: half if box == (0, 0, 20, 20) else None, of_word=lambda _: [half]
    )
    by_hand = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]], "bbox": [0, 0, 9, 9]}
    boxes = [
        {"id": 2, "image_id": 1, "category_id": 1, "box_only": 1, "bbox": [0, 0, 20, 21]},
        {"id": 3, "image_id": 1, "category_id": 1, "box_only": 1, "bbox": [3, 3, 20, 10]},
    ]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 20, "present": ["cup", "mug"]}],
        "categories": [{"id": 1, "name": "cup", "synonyms": []}],
        "annotations": [dict(by_hand), *map(dict, boxes)],
    }
    tally = module.label(document, tmp_path, None, set())
    assert tally == {"boxes accepted": 1, "boxes left": 1, "words accepted": 1}  # "cup" has labels of its own
    first, drawn, left, word = document["annotations"]
    assert (first, left) == (by_hand, boxes[1])
    assert (drawn["by"], drawn["area"], drawn["bbox"], "box_only" in drawn) == ("masklet", 400, [0, 0, 20, 20], False)
    assert (word["by"], word["category_id"], document["categories"][1]["name"]) == ("masklet", 2, "mug")


def test_things_are_asked_for_by_the_synonyms_of_their_labels(tmp_path: Path) -> None:
    module = load_script("runs/other_words.py")
    lines = [
        "00000001 06 n 03 car 0 auto 0 motor_car 0 000 | four wheels",
        "00000002 06 n 02 car 0 elevator_car 0 000 | where people ride",
        "00000003 06 n 02 chair 0 seat 0 000 | for one person",
    ]
    (tmp_path / "data.noun").write_text("\n".join(lines))
    senses = {"car": "00000001 00000002", "auto": "00000001", "motor_car": "00000001", "elevator_car": "00000002"}
    senses |= {"chair": "00000003", "seat": "00000003"}
    (tmp_path / "index.noun").write_text("\n".join(f"{word} n 1 0 1 0 {found}" for word, found in senses.items()))
    (tmp_path / "cntlist.rev").write_text("")
    net = module.WordNet(tmp_path)
    assert module.synonyms(net, "car") == {"auto", "motor car"}
    assert module.synonyms(net, "tapir") == set()
    # Neither what is absent nor what never got a mask is asked for
    asked = {"car": (0, 1), "chair": (2,), "elevator car": ()}
    queries = [PhraseQuery(phrase=phrase, object_index=found) for phrase, found in asked.items()]
    pairs = module.questions(SimpleNamespace(queries=queries), net, frozenset({"chair"}))
    assert pairs == [("car", "auto"), ("car", "motor car")]


def test_the_video_benchmark_counts_a_part_within_another_for_itself() -> None:
    module = load_script("benchmarks/video.py")
    clock = module.Clock(torch.device("cpu"))
    ticks = iter((0.0, 1.0, 3.0, 7.0))
    clock.now = lambda: next(ticks)
    inner = clock.timed("detect", lambda: None)
    clock.timed("vision", inner)()
    assert clock.spent == {"detect": 2.0, "vision": 5.0}


def test_the_image_benchmark_asks_a_model_through_its_public_names() -> None:
    """Its other side is transformers at the published size, which is no smoke run."""
    module = load_script("benchmarks/image.py")
    model = make_model(random_weights(), torch.device("cpu"), torch.float32)
    ours = module.Ours(model)
    with torch.inference_mode():
        first = ours.first(torch.zeros(1, 3, model.image_size, model.image_size), "cat")
        assert len(ours.another("cat").scores) == len(first.scores) > 0
        assert ours.masks(torch.zeros(2, 8, 8)).shape == (2, *module.FULL_HD)


def test_the_arms_of_the_closed_loop_are_labels_of_the_same_photos_made_with_more_and_more_help(
    tmp_path: Path, monkeypatch
) -> None:
    """What is learnt from them, on real photos, takes an hour and is not run here."""
    module = load_script("benchmarks/engine_loop.py")
    builder = CocoBuilder()
    for path in sorted(write_photos(tmp_path / "photos", 6).iterdir()):
        image = read_image(path)
        builder.add_image(path.name, image.shape[:2])
        for phrase in PHRASES:
            for mask in true_masks(image, phrase):
                counts = RunLengths(size=list(mask.shape), counts=rle_encode(mask))
                builder.add_object(phrase, None, counts)
    labels = builder.build()
    noisy = ColourSegmenter(drop=0.3, bad=0.3, score=0.9)
    monkeypatch.setattr("masklet.workflows.engine.run.LateModel", lambda _: noisy)
    loop = module.Loop(tmp_path / "loop", labels, "tiny", ())
    module.write_arm(loop.folder / "full", labels, tmp_path / "photos")
    shares = {}
    for name in ("verified", "corrected", "full"):
        found, told = module.ARMS[name](loop)
        module.write_arm(loop.folder / name, found, loop.photos)
        assert {path.name for path in (loop.folder / name / "images").iterdir()} <= {
            path.name for path in loop.photos.iterdir()
        }
        if name != "full":
            shares[name] = float(re.search(r"([0-9]+)% of all", told)[1])
    assert shares["corrected"] > shares["verified"]
    assert module.part(labels, {1}).images.keys() == {1}
