"""Makes the pictures of README: the demo's two photos with what it found, and five sentences. `make docs-images`."""

import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageDraw

from masklet.inference.model import load
from masklet.inference.output.overlays import image_overlay
from masklet.render.tags import load_font
from masklet.workflows.demo import PHOTO, run_demo

ROOT = Path(__file__).parents[1]
CAPTION = re.compile(r"(?<=<!-- caption:start -->\n).*?(?=<!-- caption:end -->)", re.S)
NUM_COINS = 24  # on the photo
SENTENCES = (
    "the three leftmost coins",
    "the second coin from the right",
    "the largest coin",
    "coins but not the three largest coins",
    "more than thirty coins",
)


def caption(found: str) -> str:
    """The caption for a summary such as "coin 26, cat absent (presence 0.10)"."""
    counted = re.match(r"coin (\d+), cat (absent|none|\d+)", found)
    if counted is None:
        raise SystemExit(f"the demo found no coins: {found}")
    cat = '"cat" is refused' if not counted[2].isdecimal() else f'"cat" is claimed {counted[2]} times'
    return (
        f"*Made by `masklet demo` with the built-in model, trained by this project on two CPU cores: "
        f"{counted[1]} detections\nfor {NUM_COINS} coins, and {cat}.*\n"
    )


def draw_sentences(path: Path) -> None:
    """The coins, once for each of the sentences, which stand below."""
    model, font = load("tiny"), load_font(15.0)
    width, height = 288, 227
    sheet = Image.new("RGB", (3 * width, 2 * (height + 26)), (24, 26, 31))
    for place, sentence in enumerate(SENTENCES):
        answer = image_overlay(model.ask(PHOTO, sentence), legend=False).convert("RGB").resize((width, height))
        left, top = place % 3 * width, place // 3 * (height + 26)
        sheet.paste(answer, (left, top))
        ImageDraw.Draw(sheet).text((left + 8, top + height + 4), sentence, font=font, fill=(230, 230, 230))
    sheet.save(path)


def main() -> None:
    """Runs the demo, keeps its picture, and renews the caption."""
    readme = ROOT / "README.md"
    with TemporaryDirectory() as folder:
        run = run_demo(Path(folder))
        shutil.copy(run.files[0], ROOT / "docs/images/coins.png")
        shutil.copy(run.files[3], ROOT / "docs/images/cat.png")
    draw_sentences(ROOT / "docs/images/sentences.png")
    text = readme.read_text(encoding="utf-8")
    readme.write_text(CAPTION.sub(lambda _: caption(run.by_words), text), encoding="utf-8")
    sys.stdout.write(f"docs/images/coins.png and the caption in README: {run.by_words}\n")


if __name__ == "__main__":
    main()
