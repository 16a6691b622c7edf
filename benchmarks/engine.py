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

from masklet.engine.blobs import Blobs  # noqa: E402
from masklet.engine.ledger.ledger import Ledger  # noqa: E402
from masklet.engine.ledger.tables import TABLES  # noqa: E402
from masklet.engine.project.statistics import statistics  # noqa: E402
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


def rows(images: int, folder: Path) -> None:
    """Fills a ledger with synthetic rows and times what a person waits for."""
    ledger = Ledger.open(folder / "ledger.sqlite")
    source = source_fact("synthetic", "CC0-1.0")
    ledger.add([source])
    phrases = [{"phrase_id": f"p{n}", "text": f"phrase {n}", "concept": None, "revoked": 0} for n in range(PAIRS)]
    states = [str(state) for state in (State.FINAL_NEGATIVE, State.FINAL_POSITIVE, State.HUMAN_MASKS, State.TO_CORRECT)]
    start = time.perf_counter()
    with ledger.transaction() as connection:
        connection.execute(TABLES["phrase"].insert(), phrases)
    for first in range(0, images, 10_000):
        media, pairs = [], []
        for number in range(first, min(images, first + 10_000)):
            row = {"media_id": f"m{number}", "source_id": source.values["source_id"], "uri": f"{number}.jpg"}
            media.append(row | {"width": 640, "height": 480, "hash64": "0", "error": None, "profile": None})
            for phrase in range(PAIRS):
                state = states[(number * 7 + phrase * 3) % 50 // 16]
                row = {"pair_id": f"{number} {phrase}", "media_id": f"m{number}", "phrase_id": f"p{phrase}"}
                more = {"origin": "listed", "parent_pair_id": None, "state": state, "version": 5, "priority": 0.0}
                pairs.append(row | more)
        with ledger.transaction() as connection:
            connection.execute(TABLES["media"].insert(), media)
            connection.execute(TABLES["pair"].insert(), pairs)
    print(f"{images} images, {images * PAIRS} pairs: filled in {time.perf_counter() - start:.0f} s")
    view = LedgerView(ledger, Blobs(folder / "blobs"))
    for name, ask in {
        "first 100 of a queue": lambda: view.pairs(State.TO_CORRECT, limit=100),
        "pairs of one image": lambda: view.pairs(media_id="m1"),
        "counts of states": view.counts,
        "statistics": lambda: statistics(view),
    }.items():
        start = time.perf_counter()
        ask()
        print(f"  {name}: {time.perf_counter() - start:.2f} s")
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
