"""Makes the demo's picture in docs/images, and writes into README what the demo found in it. `make docs-images`."""

import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from masklet.workflows.demo import run_demo

ROOT = Path(__file__).parents[1]
CAPTION = re.compile(r"(?<=<!-- caption:start -->\n).*?(?=<!-- caption:end -->)", re.S)
NUM_COINS = 24  # on the photo


def caption(found: str) -> str:
    """The caption for a summary such as "coin 26, cat absent (presence 0.10)"."""
    counted = re.match(r"coin (\d+), cat (absent|none|\d+)", found)
    if counted is None:
        raise SystemExit(f"the demo found no coins: {found}")
    cat = '"cat" is refused' if not counted[2].isdecimal() else f'"cat" is claimed {counted[2]} times'
    return (
        f"*Made by `masklet demo` with the built-in model, which learned for less than four hours on two CPU cores: "
        f"{counted[1]} detections\nfor {NUM_COINS} coins, and {cat}.*\n"
    )


def main() -> None:
    """Runs the demo, keeps its picture, and renews the caption."""
    readme = ROOT / "README.md"
    with TemporaryDirectory() as folder:
        run = run_demo(Path(folder))
        shutil.copy(run.files[0], ROOT / "docs/images/coins.png")
    text = readme.read_text(encoding="utf-8")
    readme.write_text(CAPTION.sub(lambda _: caption(run.by_words), text), encoding="utf-8")
    sys.stdout.write(f"docs/images/coins.png and the caption in README: {run.by_words}\n")


if __name__ == "__main__":
    main()
