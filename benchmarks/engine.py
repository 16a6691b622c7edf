"""The data engine in numbers: kills, a ledger of millions of rows, and what verification does to labels.

    python benchmarks/engine.py --kills 200         SIGKILLs at random points; the snapshot must be the same
    python benchmarks/engine.py --rows 1000000      images of synthetic rows, ten pairs each: seconds of queries
    python benchmarks/engine.py --world 200         photos of the small world: wrong labels with and without verifiers
    python benchmarks/engine.py --orders 60         photos: what each order of questions gains a minute of people's time
    python benchmarks/engine.py --arms 60           photos: labels raw, verified, and corrected for ten minutes
    python benchmarks/engine.py --overhead 500      photos with the built-in model: what the engine adds to its own time

The small world is that of the tests: coloured squares whose truth is known, and a segmenter with known noise.
"""

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

from engine_people import ANSWER_SECONDS, answer_open, correct_waiting, shares  # noqa: E402
from engine_world import ColourSegmenter, open_world, run_world, true_masks, write_photos  # noqa: E402
from PIL import Image  # noqa: E402
from sqlalchemy import text  # noqa: E402

from masklet.engine.blobs import Blobs  # noqa: E402
from masklet.engine.ledger.ledger import Ledger  # noqa: E402
from masklet.engine.ledger.tables import TABLES  # noqa: E402
from masklet.engine.project.statistics import statistics  # noqa: E402
from masklet.engine.records import Author  # noqa: E402
from masklet.engine.review.queues import queue  # noqa: E402
from masklet.engine.snapshots import take_snapshot  # noqa: E402
from masklet.engine.stages.ingest import source_fact  # noqa: E402
from masklet.engine.stages.mask_rows import masks_by_phrase  # noqa: E402
from masklet.engine.stages.masks import KEEP_SCORE  # noqa: E402
from masklet.engine.states import State  # noqa: E402
from masklet.engine.verify.oracle import NoisyOracle, is_complete  # noqa: E402
from masklet.engine.view import LedgerView  # noqa: E402
from masklet.media.images import read_image  # noqa: E402
from masklet.scenes.layout import SceneConfig  # noqa: E402
from masklet.scenes.scene import render_scene  # noqa: E402
from masklet.workflows.engine.run import EngineJob, run_engine  # noqa: E402

WORKER = (
    "import sys; from pathlib import Path; from engine_world import open_world, run_world; "
    "run_world(open_world(Path(sys.argv[1]), Path(sys.argv[2])), run_id=sys.argv[3])"
)
PAIRS = 10  # of an image
STEPS = 4


def kills(count: int, folder: Path) -> None:
    """Kills workers until `count` died at work, then lets one finish."""
    photos = write_photos(folder / "photos", 60)
    whole = open_world(folder / "whole", photos)
    run_world(whole)
    expected = take_snapshot(whole.view).snapshot_id
    rng, done, rounds = random.Random(0), 0, 0
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(SUPPORT), *sys.path])}
    while done < count:
        rounds += 1
        place = folder / f"killed {rounds}"
        while done < count:
            worker = subprocess.Popen([sys.executable, "-c", WORKER, place, photos, f"run {done}"], env=environment)
            while worker.poll() is None and not (place / "ledger.sqlite").exists():
                time.sleep(0.01)
            try:
                worker.wait(timeout=rng.uniform(0.2, 6))
                break  # it came to its end; the next round begins anew
            except subprocess.TimeoutExpired:
                worker.send_signal(signal.SIGKILL)
                worker.wait()
                done += 1
        subprocess.run([sys.executable, "-c", WORKER, place, photos, "last"], env=environment, check=True)
        found = take_snapshot(open_world(place, photos).view).snapshot_id
        print(f"{done} kills, {rounds} rounds: the snapshot is {'the same' if found == expected else 'ANOTHER'}")
        if found != expected:
            sys.exit(1)


# Synthetic rows are made inside the database: of 50 pairs 16 are absent, 16 labelled, 16 doubtful, 2 to correct. Each
# has a model's verdict, one in a hundred a person's, too; what is final has an annotation.
NUMBERS = "WITH RECURSIVE n(i) AS (SELECT :first UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :last)"
STATE = "CASE (i * 7 + p * 3) % 50 / 16 WHEN 0 THEN 'final_negative' WHEN 1 THEN 'final_positive' {} END"
OPEN = "WHEN 2 THEN 'human_mv' ELSE 'to_correct'"
EACH = "FROM n, (SELECT value AS p FROM json_each(:places))"
FILLING = (
    f"{NUMBERS} INSERT INTO media SELECT printf('m%07d', i), :source, i || '.jpg', 640, 480, '0', NULL, NULL FROM n",
    f"{NUMBERS} INSERT INTO cluster SELECT printf('c%07d', i), printf('m%07d', i), printf('m%07d', i), i FROM n",
    f"{NUMBERS} INSERT INTO pair SELECT printf('%07d %d', i, p), printf('m%07d', i), 'p' || p, 'listed', NULL, "
    f"{STATE.format(OPEN)}, 5, 0.0 {EACH}",
    f"{NUMBERS} INSERT INTO verdict SELECT printf('v%07d %d', i, p), 'exhaustivity', printf('%07d %d', i, p), "
    f"printf('%07d %d', i, p), '-', 'model', 'accept', NULL, 0.9, '-', '-', NULL, 0 {EACH}",
    f"{NUMBERS} INSERT INTO verdict SELECT printf('w%07d %d', i, p), 'exhaustivity', printf('%07d %d', i, p), "
    f"printf('%07d %d', i, p), '-', 'person', 'accept', NULL, NULL, '-', '-', 4.0, 0 {EACH} "
    "WHERE (i * 10 + p) % 100 = 0",
    f"{NUMBERS} INSERT INTO annotation SELECT printf('a%07d %d', i, p), printf('%07d %d', i, p), '-', 5, s = 1, NULL, "
    "CASE s WHEN 1 THEN '[0, 1, 2]' ELSE '[]' END, 1, 1, 'HQ-ai', '[]', 0 "
    f"FROM (SELECT i, p, (i * 7 + p * 3) % 50 / 16 AS s {EACH}) WHERE s < 2",
)
CHUNK = 50_000  # images of a transaction


def rows(images: int, folder: Path) -> None:
    """Fills a ledger with synthetic rows and times what a person waits for."""
    ledger = Ledger.open(folder / "ledger.sqlite")
    source = source_fact("synthetic", "CC0-1.0")
    actors = [Author(kind=kind, name=kind).fact() for kind in ("model", "person")]
    ledger.add([source, *actors])
    names = {fact.values["kind"]: fact.values["actor_id"] for fact in actors}
    phrases = [{"phrase_id": f"p{n}", "text": f"phrase {n}", "concept": None, "revoked": 0} for n in range(PAIRS)]
    start = time.perf_counter()
    with ledger.transaction() as connection:
        connection.execute(TABLES["phrase"].insert(), phrases)
    known = {"source": source.values["source_id"], "places": json.dumps([*range(PAIRS)])}
    for first in range(0, images, CHUNK):
        with ledger.transaction() as connection:
            for line in FILLING:
                told = line.replace("'model'", f"'{names['model']}'").replace("'person'", f"'{names['person']}'")
                span = {"first": first, "last": min(images, first + CHUNK)}
                used = {name: value for name, value in (known | span).items() if f":{name}" in line}
                connection.execute(text(told), used)
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file()) / 1e9
    print(f"{images} images, {images * PAIRS} pairs: filled in {time.perf_counter() - start:.0f} s, {size:.1f} GB")
    view = LedgerView(ledger, Blobs(folder / "blobs"))
    for name, ask in {
        "first 100 of a queue": lambda: view.pairs(State.TO_CORRECT, limit=100),
        "pairs of one image": lambda: view.pairs(media_id="m1"),
        "counts of states": view.counts,
        "statistics": lambda: statistics(view),
    }.items():
        start, worked = time.perf_counter(), time.process_time()
        ask()
        print(f"  {name}: {time.perf_counter() - start:.2f} s, of them at work {time.process_time() - worked:.2f}")
    print(f"  peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


def world(count: int, folder: Path) -> None:
    """Wrong labels among final ones, by verifier."""
    photos = write_photos(folder / "photos", count)
    noisy = ColourSegmenter(drop=0.2, bad=0.1)
    oracle = NoisyOracle(truth=true_masks, sensitivity=0.9, specificity=0.85)
    for name, verifier in (("by score", None), ("oracle 0.9/0.85", oracle)):
        project = open_world(folder / name, photos)
        start = time.perf_counter()
        run_world(project, noisy, verifier=verifier)
        final = project.view.annotations()
        wrong = 0
        for row in final:
            maskset = project.view.maskset_by_id(row["maskset_id"])
            masks = project.view.masks(maskset) if maskset else []
            kept = [masks[number] for number in project.view.accepted(row["pair_id"], maskset)] if maskset else []
            wrong += not is_complete(project.picture(row["media_id"]), row["text"], kept, true_masks)
        seconds = time.perf_counter() - start
        print(f"{name}: {len(final)} final pairs, {wrong / len(final):.1%} incomplete, {seconds / count:.2f} s a photo")


def orders(count: int, folder: Path) -> None:
    """Share of pairs that are right and final after so many minutes of answers, by order of questions."""
    photos = write_photos(folder / "photos", count)
    for order in ("random", "strange", "uncertainty", "disagreement"):
        project = open_world(folder / order, photos)
        telling = ColourSegmenter(drop=0.05, bad=0.3, tells=True)
        run_world(project, telling)
        minutes = len(queue(project, "masks")) * ANSWER_SECONDS / 60
        found = [f"{shares(project)[0]:.1%}"]
        for part in range(STEPS):
            answer_open(project, "masks", minutes * 60 / STEPS + ANSWER_SECONDS, order=order)
            run_world(project, telling, run_id=f"part {part}")
            found.append(f"{shares(project)[0]:.1%}")
        print(f"{order}: right and final before and after each {minutes / STEPS:.1f} minutes: {' '.join(found)}")


def arms(count: int, folder: Path) -> None:
    """Labels raw, verified, and verified and corrected for ten minutes: shares that are final and right."""
    photos = write_photos(folder / "photos", count)
    noisy = ColourSegmenter(drop=0.2, bad=0.15)
    verifier = NoisyOracle(truth=true_masks, sensitivity=0.95, specificity=0.9)
    for name, judge, seconds in (("raw", None, 0.0), ("verified", verifier, 0.0), ("and corrected", verifier, 600.0)):
        project = open_world(folder / name, photos)
        run_world(project, noisy, verifier=judge)
        answer_open(project, "exhaustivity", correct_waiting(project, seconds), name="another")
        run_world(project, noisy, verifier=judge, run_id="last")
        of_all, of_final = shares(project)
        print(f"{name}: {of_all:.1%} of all pairs are final and right, {of_final:.1%} of the final ones are right")


def overhead(count: int, folder: Path) -> None:
    """Processor seconds of a whole run beside those that the model takes for the same photos and phrases."""
    import masklet

    model = masklet.load("tiny")
    photos = folder / "photos"
    photos.mkdir()
    for seed in range(count):
        Image.fromarray(render_scene(seed, SceneConfig()).image).save(photos / f"{seed:05d}.jpg")
    phrases = ("cat", "coin", "red circle", "blue square", "bottle", "letter", "star", "cell")
    alone = 0.0
    for path in sorted(photos.iterdir()):
        image = read_image(path)
        start = time.process_time()
        with model.open(image) as session:
            masks_by_phrase(session.find(sorted(phrases), threshold=KEEP_SCORE), session.size)
        alone += time.process_time() - start
    begun = time.process_time()
    estimated: list[float] = []

    def confirm(cost: object) -> bool:
        del cost
        estimated.append(time.process_time() - begun)
        return True

    run_engine(EngineJob(photos=photos, folder=folder / "project", phrases=phrases), segmenter=model, confirm=confirm)
    whole = time.process_time() - begun - estimated[0]
    print(f"{count} photos, {len(phrases)} phrases, processor seconds: the model {alone:.1f}, the run {whole:.1f}")
    print(f"the engine adds {whole / alone - 1:.0%}; trying ten photos for the estimate took {estimated[0]:.1f} before")


def main() -> None:
    """Runs what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--world", type=int)
    parser.add_argument("--orders", type=int)
    parser.add_argument("--arms", type=int)
    parser.add_argument("--overhead", type=int)
    arguments = parser.parse_args()
    for work in (kills, rows, world, orders, arms, overhead):
        value = getattr(arguments, work.__name__)
        if value:
            with tempfile.TemporaryDirectory() as folder:
                work(value, Path(folder))


if __name__ == "__main__":
    main()
