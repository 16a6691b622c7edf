"""The data engine in numbers: kills, a ledger of millions of rows, and what verification does to labels.

    python benchmarks/engine.py --kills 200         SIGKILLs at random points; the snapshot must be the same
    python benchmarks/engine.py --rows 1000000      images of synthetic rows, ten pairs each: seconds of queries
    python benchmarks/engine.py --world 200         photos of the small world: wrong labels with and without verifiers
    python benchmarks/engine.py --orders 60         photos: what each order of questions gains a minute of people's time
    python benchmarks/engine.py --arms 60           photos: labels raw, verified, and corrected for ten minutes
    python benchmarks/engine.py --minutes 24        photos: people's minutes a pair at equal quality, by way of work
    python benchmarks/engine.py --guard 100 --photos DIR   real photos: changed copies that the leak guard knows again
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
from functools import partial
from pathlib import Path

SUPPORT = Path(__file__).parents[1] / "tests" / "support"
sys.path.insert(0, str(SUPPORT))

import numpy as np  # noqa: E402
from engine_people import ANSWER_SECONDS, Annotator, answer_open, correct_waiting, shares  # noqa: E402
from engine_world import PHRASES, ColourSegmenter, open_world, run_world, true_masks, write_photos  # noqa: E402
from PIL import Image  # noqa: E402
from sqlalchemy import text  # noqa: E402

from masklet.engine.blobs import Blobs  # noqa: E402
from masklet.engine.curation.guard import LeakGuard, register_set  # noqa: E402
from masklet.engine.ledger.ledger import STATES_COUNTED, Ledger  # noqa: E402
from masklet.engine.ledger.tables import TABLES  # noqa: E402
from masklet.engine.ontology.concepts import shipped  # noqa: E402
from masklet.engine.project.statistics import statistics  # noqa: E402
from masklet.engine.records import Author, Fact  # noqa: E402
from masklet.engine.review.queues import queue, unseen  # noqa: E402
from masklet.engine.runner import Runner  # noqa: E402
from masklet.engine.snapshots import take_snapshot  # noqa: E402
from masklet.engine.stages.ingest import Ingest, image_files, source_fact  # noqa: E402
from masklet.engine.stages.mask_rows import masks_by_phrase  # noqa: E402
from masklet.engine.stages.masks import KEEP_SCORE  # noqa: E402
from masklet.engine.stages.stage import Project  # noqa: E402
from masklet.engine.states import FOR_PEOPLE, State  # noqa: E402
from masklet.engine.verify.choices import Verifier  # noqa: E402
from masklet.engine.verify.oracle import NoisyOracle, is_complete  # noqa: E402
from masklet.engine.verify.watch import Watched, field_of  # noqa: E402
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
    counted = ledger.read(STATES_COUNTED)  # which the rows that moves add would have kept
    with ledger.transaction() as connection:
        connection.execute(TABLES["tally"].insert(), [{"state": row["state"], "pairs": row["n"]} for row in counted])
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


ROUNDS, PARTS = 6, 10  # of people's work and the engine's; of what nobody asked about, that is looked at in one go
SLIP = 0.03  # of what people do, that goes wrong


def minutes(count: int, folder: Path) -> None:
    """People's minutes a pair until as many labels are right as of those that were drawn from scratch."""
    photos = write_photos(folder / "photos", count)
    by_hand = Annotator(name="by hand", slip=SLIP)
    asked = [(read_image(path), phrase) for path in sorted(photos.iterdir()) for phrase in PHRASES]
    right = [by_hand.from_scratch(image, phrase) for image, phrase in asked]
    wanted = sum(right) / len(asked)
    print(f"from scratch: {wanted:.1%} right, {by_hand.seconds / 60 / len(asked):.2f} minutes a pair")
    noisy = ColourSegmenter(drop=0.2, bad=0.15)
    verifier = NoisyOracle(truth=true_masks, sensitivity=0.95, specificity=0.9)
    nobody = Watched(
        verifier=verifier, fallen=sorted({field_of(each, shipped()) for each in PHRASES}), ontology=shipped()
    )
    for name, judge in (("from the model's masks", nobody), ("with a verifier", verifier)):
        project = open_world(folder / name, photos)
        person, second = Annotator(name="one", slip=SLIP), Annotator(name="two", slip=SLIP)
        first = work_through(project, noisy, judge, person, second, name)
        spent = person.seconds + second.seconds
        open_eyed = f"{spent / 60 / len(asked):.2f} minutes a pair; nobody looked at {len(unseen(project))}"
        print(f"{name}: {first:.1%} right, {open_eyed}")
        size = max(1, len(unseen(project)) // PARTS)
        while (found := shares(project)[0]) < wanted and (left := unseen(project)):
            person.answer(project, "audit", sorted(left, key=lambda each: -each.strangeness)[:size])
            work_through(project, noisy, judge, person, second, f"{name} {len(left)}")
        spent = person.seconds + second.seconds
        print(f"  audited until {found:.1%} are right: {spent / 60 / len(asked):.2f} minutes a pair")


def work_through(
    project: Project, segmenter: ColourSegmenter, judge: Verifier, person: Annotator, second: Annotator, name: str
) -> float:
    """Two people and the engine take turns until nothing is open; the share of pairs that are right."""
    for turn in range(ROUNDS):
        run_world(project, segmenter, verifier=judge, run_id=f"{name} {turn}")
        person.answer(project, "masks", queue(project, "masks"))
        run_world(project, segmenter, verifier=judge, run_id=f"{name} {turn} masks")
        for each in (person, second):
            each.answer(project, "exhaustivity", queue(project, "exhaustivity"))
        person.correct(project)
        if not FOR_PEOPLE & project.view.counts().keys():
            break
    run_world(project, segmenter, verifier=judge, run_id=f"{name} last")
    return shares(project)[0]


def guard(count: int, folder: Path, photos: Path) -> None:
    """Changed copies of real photos, and other photos, held against those photos."""
    sys.path.insert(0, str(SUPPORT.parent / "engine" / "curation"))
    from test_leak_guard import CHANGES

    files = image_files(photos)
    random.Random(0).shuffle(files)
    rng = np.random.default_rng(0)
    kept, copies, others = folder / "kept", folder / "copies", files[count : 2 * count]
    for path in (kept, copies):
        path.mkdir()
    for number, path in enumerate(files[:count]):
        image = Image.fromarray(read_image(path))
        image.save(kept / f"{number}.png")
        for change in CHANGES:
            change(image, rng).save(copies / f"{number}-{change.__name__}.png")
    for number, path in enumerate(others):
        Image.fromarray(read_image(path)).save(copies / f"{number}-other.png")
    project = open_world(folder / "project", copies)
    register_set(project, "gold", kept)
    source = source_fact("copies", "CC0-1.0")
    run = Fact(table="run", values={"run_id": "r", "started_at": 0, "code": "", "config": ""})
    project.view.ledger.add([source, run])
    Runner(project, [Ingest(source_id=source.values["source_id"]), LeakGuard()], "r").run()
    leaks = project.view.leaks()
    known = {row["uri"]: leaks[row["media_id"]]["uri"] for row in project.view.media() if row["media_id"] in leaks}
    for change in (*(each.__name__ for each in CHANGES), "other"):
        asked = [path.name for path in sorted(copies.glob(f"*-{change}.png"))]
        right = [name for name in asked if known.get(name) == f"{name.partition('-')[0]}.png"]
        print(
            f"{change}: {sum(name in known for name in asked)} of {len(asked)} flagged, {len(right)} by the right name"
        )


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
    parser.add_argument("--minutes", type=int)
    parser.add_argument("--guard", type=int)
    parser.add_argument("--photos", type=Path, help="of --guard")
    parser.add_argument("--overhead", type=int)
    arguments = parser.parse_args()
    if arguments.guard and not arguments.photos:
        parser.error("--guard needs --photos: a folder of real photos")
    works = kills, rows, world, orders, arms, minutes, partial(guard, photos=arguments.photos), overhead
    names = "kills", "rows", "world", "orders", "arms", "minutes", "guard", "overhead"
    for name, work in zip(names, works, strict=True):
        value = getattr(arguments, name)
        if value:
            with tempfile.TemporaryDirectory() as folder:
                work(value, Path(folder))


if __name__ == "__main__":
    main()
