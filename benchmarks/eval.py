"""How fast are predictions scored, and in how much memory?

    python benchmarks/eval.py --pairs 100000            image cgF1 on made-up files like SA-Co/Gold, masks and boxes
    python benchmarks/eval.py --video GT PRED           one pair of video files, with all that is declared in them

Pairs are 84.4 % negative; the others hold 1 to 40 masks of 480 x 640 pixels. Everything is counted: reading and
checking the files, overlaps, assignment. Each case runs in a process of its own, so that its peak memory is its own.
Times are CPU time where one process works, because machines are shared, and wall time where several do.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from masklet.ops.masks import rle_encode

HEIGHT, WIDTH = 480, 640
NEGATIVE = 0.844
SHAPES = 400  # distinct masks that the files are made of


def draw_shapes(rng: np.random.Generator) -> list[tuple[np.ndarray, str]]:
    """Ellipses with a wavy outline and their run lengths."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    shapes = []
    for _ in range(SHAPES):
        y, x = rng.uniform(0, HEIGHT), rng.uniform(0, WIDTH)
        radius = rng.uniform(12, 90, 2)
        angle = np.arctan2(rows - y, columns - x)
        wave = 1 + 0.15 * np.sin(rng.integers(3, 9) * angle)
        mask = ((rows - y) / radius[0]) ** 2 + ((columns - x) / radius[1]) ** 2 < wave
        mask[min(int(y), HEIGHT - 1), min(int(x), WIDTH - 1)] = True
        shapes.append((mask, rle_encode(mask)))
    return shapes


def write_files(folder: Path, num_pairs: int) -> tuple[Path, Path]:
    """Labels and predictions: most instances found with another outline, some missed, some invented."""
    rng = np.random.default_rng(0)
    shapes = draw_shapes(rng)
    boxes = []
    for mask, _ in shapes:
        on_rows, on_columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        x, y = on_columns[0] / WIDTH, on_rows[0] / HEIGHT
        boxes.append([x, y, (on_columns[-1] + 1) / WIDTH - x, (on_rows[-1] + 1) / HEIGHT - y])
    images, labels, predictions = [], [], []
    for pair in range(num_pairs):
        images.append(
            {
                "id": pair,
                "file_name": f"{pair // 10}.jpg",
                "text_input": f"thing {pair % 5000}",
                "height": HEIGHT,
                "width": WIDTH,
                "is_instance_exhaustive": 1,
            }
        )
        count = 0 if rng.random() < NEGATIVE else 1 + min(39, int(rng.exponential(4)))
        for shape in rng.integers(SHAPES, size=count).tolist():
            labels.append({"id": len(labels), "image_id": pair, "iscrowd": 0, **_instance(shapes, boxes, shape)})
            if rng.random() < 0.8:
                found = shape if rng.random() < 0.7 else int(rng.integers(SHAPES))
                score = round(float(rng.uniform(0.3, 1)), 5)
                predictions.append({"image_id": pair, "score": score, **_instance(shapes, boxes, found)})
        if rng.random() < 0.02:
            invented = _instance(shapes, boxes, int(rng.integers(SHAPES)))
            predictions.append({"image_id": pair, "score": round(float(rng.uniform(0.3, 1)), 5), **invented})
    rng.shuffle(predictions)
    truth, predicted = folder / "labels.json", folder / "predictions.json"
    categories = [{"id": 1, "name": "object"}]
    truth.write_text(json.dumps({"images": images, "annotations": labels, "categories": categories}))
    predicted.write_text(json.dumps(predictions))
    return truth, predicted


def _instance(shapes: list, boxes: list, shape: int) -> dict:
    segmentation = {"size": [HEIGHT, WIDTH], "counts": shapes[shape][1]}
    return {"category_id": 1, "segmentation": segmentation, "bbox": boxes[shape]}


def score_concepts(truth: Path, predicted: Path, kinds: str, processes: int) -> None:
    """One run, in this process; prints what it took as JSON."""
    from masklet.eval.concepts.buckets import Source
    from masklet.eval.concepts.concept_run import ConceptEvaluation
    from masklet.formats.saco import Subset

    source = Source(subset=Subset(name="made-up", files=(truth,)), predictions=predicted)
    clock = time.process_time if processes == 1 else time.perf_counter
    started = clock()
    chosen = tuple(kinds.split(","))
    evaluation = ConceptEvaluation(sources=(source,), kinds=chosen, processes=processes)  # type: ignore[arg-type]
    for step in evaluation.run():
        tally = step.tally
    seconds = clock() - started
    figures = tally.kinds[chosen[0]].metrics()
    print(json.dumps({"seconds": seconds, "mb": _peak_mb(), "cgF1": figures["cgF1"]}))


def score_video(truth: Path, predicted: Path) -> None:
    """One run, in this process; prints what it took as JSON."""
    from masklet.eval.videos.video_files import read_predictions, read_truth
    from masklet.eval.videos.video_scores import score_videos

    started = time.process_time()
    labels = read_truth(truth)
    figures = score_videos(labels, read_predictions(predicted, labels.videos)).metrics()
    print(json.dumps({"seconds": time.process_time() - started, "mb": _peak_mb(), "figures": len(figures)}))


def _peak_mb() -> float:
    """Peak memory. Where Linux tells it, that of this program alone: `getrusage` counts the one that started it too."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def measure(arguments: list[str], turns: int) -> dict:
    """Median time and greatest memory of some runs, each in a fresh process."""
    runs = []
    for _ in range(turns):
        done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    return runs[0] | {"seconds": statistics.median(r["seconds"] for r in runs), "mb": max(r["mb"] for r in runs)}


def main() -> None:
    """Makes the files, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[100_000])
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--video", type=Path, nargs=2)
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one and given.one[0] == "video":
        score_video(Path(given.one[1]), Path(given.one[2]))
    elif given.one:
        score_concepts(Path(given.one[0]), Path(given.one[1]), given.one[2], int(given.one[3]))
    elif given.video:
        took = measure(["--one", "video", *map(str, given.video)], given.turns)
        print(f"video: {took['figures']} figures in {took['seconds']:.2f} s, {took['mb']:.0f} MB")
    else:
        for num_pairs in given.pairs:
            with tempfile.TemporaryDirectory() as folder:
                files = [str(path) for path in write_files(Path(folder), num_pairs)]
                for kinds in ("segm", "bbox", "segm,bbox"):
                    took = measure(["--one", *files, kinds, str(given.processes)], given.turns)
                    print(
                        f"{num_pairs:7d} pairs, {kinds:9s}: {took['seconds']:.2f} s, {num_pairs / took['seconds']:.0f}"
                        f" pairs/s, {took['mb']:.0f} MB, cgF1 {100 * took['cgF1']:.1f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
