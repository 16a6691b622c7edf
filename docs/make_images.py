"""Makes the pictures of README: the demo's two photos with what it found, and five sentences. `make docs-images`."""

import re
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageDraw

from masklet.inference.model import load
from masklet.inference.output.overlays import image_overlay
from masklet.query.english import read_question
from masklet.query.evaluate import ask
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

QUESTIONED = 1025  # the drawn world of docs/query.md
QUESTIONS = (
    "the bottle on the table",
    "the bottle that is not on the table",
    "the table with no cup on it",
    "the second bottle from the left",
    "bottles but not the leftmost bottle",
    "the two largest objects",
    "exactly four bottles",
    "everything except the tables",
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


def draw_questions(path: Path) -> None:
    """Drawn worlds with the answers of the query language over all that is drawn: no model takes part."""
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    from toy_world import HEIGHT, WIDTH, OracleSession, world

    font, scene = load_font(15.0), world(QUESTIONED)
    sheet = Image.new("RGB", (2 * WIDTH + 12, -(-len(QUESTIONS) // 2) * (HEIGHT + 34)), (255, 255, 255))
    for place, sentence in enumerate(QUESTIONS):
        node = read_question(sentence)[0].node
        session = OracleSession(world=scene)
        answer = ask(lambda names, least, session=session: session.find(names, threshold=least), scene.image, node)
        drawn = image_overlay(answer, legend=False).convert("RGB").resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
        left, top = place % 2 * (WIDTH + 12), place // 2 * (HEIGHT + 34)
        sheet.paste(drawn, (left, top))
        ImageDraw.Draw(sheet).text((left + 8, top + HEIGHT + 6), sentence, font=font, fill=(20, 20, 20))
    sheet.save(path)


def main() -> None:
    """Runs the demo, keeps its picture, and renews the caption."""
    readme = ROOT / "README.md"
    with TemporaryDirectory() as folder:
        run = run_demo(Path(folder))
        shutil.copy(run.files[0], ROOT / "docs/images/coins.png")
        shutil.copy(run.files[3], ROOT / "docs/images/cat.png")
    draw_sentences(ROOT / "docs/images/sentences.png")
    draw_questions(ROOT / "docs/images/questions.png")
    text = readme.read_text(encoding="utf-8")
    readme.write_text(CAPTION.sub(lambda _: caption(run.by_words), text), encoding="utf-8")
    sys.stdout.write(f"docs/images/coins.png and the caption in README: {run.by_words}\n")


if __name__ == "__main__":
    main()
