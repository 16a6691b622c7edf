"""The Python of README is run word for word and type-checked strictly."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import masklet
from masklet.media import video_reader
from masklet.media.frames import Frame, Stream

ROOT = Path(__file__).parents[2]
PHOTO = Path(masklet.__file__).parent / "assets" / "coins.jpg"
SNIPPETS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.M | re.S)
WEBCAM = next(each for each in SNIPPETS if "open_video(0)" in each)
COOKBOOK = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/cookbook.md").read_text(encoding="utf-8"), re.M | re.S)
UNTYPED = ("supervision", "fiftyone")  # which are not installed for the tests
IMAGES = next(each for each in SNIPPETS if "model.segment(" in each)


def camera(number: int) -> Stream:
    """Three frames of a camera that looks at coins."""
    assert number == 0
    pixels = np.asarray(Image.open(PHOTO).convert("RGB"))
    return Stream("camera 0", (Frame(index=i, time=i / 25, pixels=pixels) for i in range(3)), 25.0)


def test_the_loop_over_a_webcam_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(video_reader, "open_camera", camera)
    exec(compile(WEBCAM, "README.md", "exec"), {})
    assert "frame 2 at 0.080 s: coin" in capsys.readouterr().out
    assert (tmp_path / "live.png").exists()


def test_the_code_for_images_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(PHOTO, tmp_path / "coins.jpg")
    exec(compile(IMAGES, "README.md", "exec"), {})
    assert "coin 2" in capsys.readouterr().out
    assert (tmp_path / "coins.png").exists()


@pytest.mark.slow
def test_the_code_of_readme_and_cookbook_is_typed_strictly(tmp_path: Path) -> None:
    typed = [each for each in COOKBOOK if not any(f"import {name}" in each for name in UNTYPED)]
    assert len(typed) == 11
    for number, snippet in enumerate((IMAGES, WEBCAM, *typed)):
        (tmp_path / f"snippet_{number}.py").write_text("# pyright: strict\n" + snippet)
    settings = {"extraPaths": [str(ROOT / "src")], "include": ["."]}  # which an editable installation hides
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
