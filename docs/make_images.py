"""Makes the pictures of README and docs with the built-in model. `make docs-images [CLIP=FOLDER]`.

The demo's two photos with what it found, and its caption; five sentences; the questions of docs/query.md over a drawn
world, where no model takes part; and, where there is Chromium, the page with the demo's photo and the top of a report
on generated scenes. The clip of three bottles lies in no checkout: with CLIP, its frames or its file, that is made
anew, too.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image, ImageDraw

from masklet.data.labels.writers import write_saco
from masklet.inference.model import load
from masklet.inference.output.overlays import image_overlay
from masklet.query.english import read_question
from masklet.query.evaluate import ask
from masklet.render.tags import load_font
from masklet.scenes.layout import SceneConfig
from masklet.scenes.scene import render_scene
from masklet.workflows.demo import PHOTO, run_demo
from masklet.workflows.evaluation.concepts import ConceptsJob, evaluate_concepts
from masklet.workflows.evaluation.evaluate import AskedModel
from masklet.workflows.model_choice import ModelChoice

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

FIRST_SEED, NUM_SCENES = 2**31, 40  # of the report; training draws seeds below
REPORT_SIZE = (1280, 1110)
# Of the clip of 480 x 270 pixels: a box around each bottle on the first frame, and points down its middle.
BOTTLES = ((41, 80, 93, 234), (216, 82, 259, 234), (382, 80, 429, 234))
POINT_ROWS = (95, 130, 170, 215)
GIF_SIZE, GIF_STEP, GIF_DURATION = (360, 202), 2, 160  # milliseconds a picture, of which every second is shown
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


def draw_bottles(clip: Path, path: Path) -> None:
    """Three bottles followed through their clip, which are shown to the model on the first frame alone."""
    pictures = []
    with load("tiny").open_video(clip) as session:
        for number, (left, top, right, bottom) in enumerate(BOTTLES):
            points = [((left + right) / 2, y) for y in POINT_ROWS]
            session.click(number, 0, points, [1] * len(points), box=(left, top, right, bottom))
        for result in session.track():
            if result.index % GIF_STEP == 0:
                pictures.append(result.plot().resize(GIF_SIZE).convert("P", palette=Image.Palette.ADAPTIVE))
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=GIF_DURATION, loop=0, optimize=True)


def draw_report(chromium: str, path: Path) -> None:
    """The top of a report on generated scenes."""
    from playwright.sync_api import sync_playwright

    with TemporaryDirectory() as folder:
        labels, images, out = (Path(folder) / name for name in ("generated.json", "images", "generated"))
        seeds = range(FIRST_SEED, FIRST_SEED + NUM_SCENES)
        write_saco(map(partial(render_scene, config=SceneConfig()), seeds), labels, images)
        model = AskedModel(choice=ModelChoice(name="tiny"), folders=(images,), cache=Path(folder) / "cache")
        evaluate_concepts(ConceptsJob(gt=(str(labels),), model=model, images=(images,), iou="masks", out=out))
        with sync_playwright() as play:
            browser = play.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page(viewport=dict(zip(("width", "height"), REPORT_SIZE, strict=True)))
            page.goto((out / "report.html").as_uri())
            page.screenshot(path=str(path))
            browser.close()


def draw_page(path: Path) -> None:
    """The page with the demo's photo, as its test leaves it."""
    test = "tests/serve/test_browser_page.py::test_phrases_are_chips_and_a_reload_keeps_everything"
    with TemporaryDirectory() as folder:
        environment = os.environ | {"MASKLET_PICTURES": folder}
        subprocess.run([sys.executable, "-m", "pytest", "-q", "-n", "0", test], check=True, cwd=ROOT, env=environment)
        shutil.copy(Path(folder) / "page.png", path)


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


def draw_all(clip: Path | None) -> Iterator[str]:
    """Draws what can be drawn here; yields a line for each picture, or what it lacks."""
    images, readme = ROOT / "docs/images", ROOT / "README.md"
    with TemporaryDirectory() as folder:
        run = run_demo(Path(folder))
        shutil.copy(run.files[0], images / "coins.png")
        shutil.copy(run.files[3], images / "cat.png")
    text = readme.read_text(encoding="utf-8")
    readme.write_text(CAPTION.sub(lambda _: caption(run.by_words), text), encoding="utf-8")
    yield f"coins.png, cat.png and the caption in README: {run.by_words}"
    draw_sentences(images / "sentences.png")
    yield "sentences.png"
    draw_questions(images / "questions.png")
    yield "questions.png"
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        yield "page.png and report.png are left as they are: there is no Chromium (apt-get install chromium)"
    else:
        draw_page(images / "page.png")
        yield "page.png"
        draw_report(chromium, images / "report.png")
        yield "report.png"
    if clip is None:
        yield "bottles.gif is left as it is: name its clip (make docs-images CLIP=FOLDER)"
    else:
        draw_bottles(clip, images / "bottles.gif")
        yield "bottles.gif"


def main() -> None:
    """Draws, and says what."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, help="the clip of three bottles: a video, or a folder of its frames")
    for line in draw_all(parser.parse_args().clip):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
