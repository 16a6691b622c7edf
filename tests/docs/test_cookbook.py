"""Every piece of code of the cookbook runs, and the notebook too, cell by cell."""

import json
import re
import shutil
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from test_readme import PHOTO, ROOT, camera
from video_files import write_frames

import masklet
from masklet.inference.model import load
from masklet.media import video_reader

PAGE = (ROOT / "docs/cookbook.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## ([^\n]+)\n.*?^```python\n(.*?)^```", PAGE, re.M | re.S))
LEFT = {  # what each leaves behind, or prints
    "A folder of photos into COCO labels": ["labels/coco.json"],
    "Cut each instance out": ["crops/000.png"],
    "Keep only what is large and sure": ["large.png"],
    "A YOLO data set": ["dataset/data.yaml", "dataset/labels/a.txt", "dataset/images/b.jpg"],
    "A video into a table": ["objects.csv"],
    "A webcam": ["live.png"],
    "supervision": ["supervision.png"],
    "Label Studio": ["tasks.json"],
}
PRINTED = {
    "Count": r"a\.jpg \{'coin': [1-9]\d*, 'cat': 0\}",
    "Compare two results": r"[1-9]\d* of [1-9]\d* coins are in both",
    "A notebook": r"\d+ rows; coin [1-9]",
    "A DataLoader": r"photos/b\.jpg coin [1-9]",
}


class Samples(list):
    """A data set of FiftyOne that takes samples."""

    def __init__(self, name: str) -> None:
        assert name == "coins"

    add_samples = list.extend


class Sample(dict):
    """A sample keeps fields by name."""

    def __init__(self, filepath: str) -> None:
        assert Path(filepath).is_file()


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder with a photo, a folder of two, and a short video; the model is loaded once for all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(masklet, "load", LOAD, raising=False)
    monkeypatch.setattr(video_reader, "open_camera", camera)
    kinds = {"Dataset": Samples, "Sample": Sample, "Detection": SimpleNamespace, "Detections": SimpleNamespace}
    monkeypatch.setitem(sys.modules, "fiftyone", SimpleNamespace(**kinds))
    shutil.copy(PHOTO, tmp_path / "coins.jpg")
    photo = Image.open(PHOTO).convert("RGB")
    (tmp_path / "photos").mkdir()
    photo.crop((0, 0, 200, 160)).save(tmp_path / "photos/a.jpg", quality=95)
    photo.crop((180, 100, 384, 303)).save(tmp_path / "photos/b.jpg", quality=95)
    write_frames(tmp_path / "clip.mp4", "libx264", [np.asarray(photo)[:302, :]] * 2)
    return tmp_path


LOAD = cache(load)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_runs_word_for_word(name: str, here: Path, capsys: pytest.CaptureFixture) -> None:
    if name == "supervision":
        pytest.importorskip("supervision")
    exec(compile(RECIPES[name], name, "exec"), {"__name__": "recipe"})
    for path in LEFT.get(name, ()):
        assert (here / path).stat().st_size > 20, path
    assert re.search(PRINTED.get(name, ""), capsys.readouterr().out)


def test_there_are_thirteen_recipes() -> None:
    assert len(RECIPES) == 13
    assert LEFT.keys() | PRINTED.keys() | {"FiftyOne"} == RECIPES.keys()


def test_the_notebook_runs_cell_by_cell(here: Path) -> None:  # noqa: ARG001 - no file of it is written elsewhere
    notebook = json.loads((ROOT / "docs/first_look.ipynb").read_text(encoding="utf-8"))
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "kept without results"
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            exec(compile(cell["source"], "first_look.ipynb", "exec"), names)
    assert len(names["large"]) > 0  # type: ignore[arg-type]
    assert len(names["refined"]) > 10  # type: ignore[arg-type]
