"""The page that is shipped is the one that its source builds, small, and in the package."""

import gzip
import shutil
import subprocess
from pathlib import Path

import pytest

import masklet

ROOT = Path(__file__).parents[2]
PAGE = Path(str(masklet.__file__)).parent / "serve" / "page"
MODULES = ROOT / "web" / "node_modules"


def files_of(folder: Path) -> dict[str, bytes]:
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


def test_the_page_is_small_and_asks_for_nothing_elsewhere() -> None:
    files = files_of(PAGE)
    assert {"index.html", "sw.js", "assets/index.js", "assets/index.css", "assets/map.worker.js"} == set(files)
    assert sum(len(gzip.compress(data)) for data in files.values()) <= 150 * 1024
    assert b"<script>" not in files["index.html"]  # the content policy allows none
    assert b"//" not in files["index.html"].replace(b"<!doctype", b"")


@pytest.mark.skipif(not MODULES.is_dir() or shutil.which("npx") is None, reason="no node: npm ci --prefix web")
def test_the_source_builds_the_page_that_is_shipped(tmp_path: Path) -> None:
    command = ["npx", "vite", "build", "--outDir", str(tmp_path / "page"), "--emptyOutDir", "--logLevel", "error"]
    subprocess.run(command, cwd=ROOT / "web", check=True, capture_output=True, timeout=600)
    assert files_of(tmp_path / "page") == files_of(PAGE)
