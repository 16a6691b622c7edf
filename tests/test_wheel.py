"""What is published works in an empty folder, without the checkout."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = ("src", "LICENSE", "README.md", "pyproject.toml", "MANIFEST.in")


@pytest.mark.slow
def test_the_demo_of_the_wheel_runs_in_an_empty_folder(tmp_path: Path) -> None:
    for name in SOURCES:
        (tmp_path / "tree").mkdir(exist_ok=True)
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, tmp_path / "tree" / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", "dist", "./tree"]
    subprocess.run(wheel, check=True, capture_output=True, cwd=tmp_path)
    (made,) = (tmp_path / "dist").glob("*.whl")
    subprocess.run(
        [*pip, "install", "--no-deps", "--no-index", "--target", "site", str(made)], check=True, cwd=tmp_path
    )
    (tmp_path / "empty").mkdir()
    run = [
        sys.executable,
        "-c",
        "import masklet; print(masklet.__file__); from masklet.cli import main; main(['demo'])",
    ]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(
        run, check=True, capture_output=True, text=True, cwd=tmp_path / "empty", env=environment
    ).stdout
    assert done.startswith(str(tmp_path / "site"))
    assert "asked in words:      coin" in done
    assert (tmp_path / "empty/out/coins.png").stat().st_size > 10_000
