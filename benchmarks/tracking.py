"""How well is an object followed that is given on the first frame? J&F by source and by the way it is given.
And how well are phrases followed? HOTA over clips and phrases.

    python benchmarks/tracking.py tiny --data DIR --clips 20 --out tracking.json

Generated clips come from seeds that training never draws; the cut-outs and photos under DIR (folders cutouts,
backgrounds and real, as the recipe `tracker` reads them) are the tenth that training holds out. Scores leave out the
first frame. "stays" is what a mask that never moves would score; "first" is the IoU of the first frame's answer.
"""

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

import masklet
from masklet.data.labels.coco import CocoSource
from masklet.data.schema import Clip
from masklet.data.sources import CocoConfig
from masklet.data.tracking import TrackingConfig, choose_objects
from masklet.eval.videos.hota import identity_switches, mask_overlaps, score_tracks, total
from masklet.eval.videos.vos import MaskletScore, mean_scores, region_similarity, score_masklet
from masklet.scenes.cutouts import CutoutLibrary
from masklet.scenes.layout import SceneConfig
from masklet.scenes.moving.clips import compose_clip, render_clip
from masklet.scenes.moving.stills import StillClips

FIRST_HELD_OUT_SEED = 2**31  # training draws seeds below this
GIVEN_AS = ("mask", "box", "click")
HOTA_PARTS = ("HOTA", "DetA", "AssA")
PHRASES = 4  # asked of a clip


def sources(data: Path | None, num_frames: int, size: int) -> Iterator[tuple[str, Callable[[int], Clip]]]:
    """Named ways from a number to a held-out clip."""
    config = SceneConfig(size=size, difficulty=0.6, crowd_share=0.0)
    yield "generated", lambda i: render_clip(FIRST_HELD_OUT_SEED + i, config, num_frames)
    if data is None:
        return
    library = CutoutLibrary.open(data / "cutouts", data / "backgrounds", split="heldout")
    yield "cut-outs", lambda i: compose_clip(FIRST_HELD_OUT_SEED + i, library, config, num_frames)
    photos = CocoSource(data / "real/annotations.json", data / "real/images", CocoConfig(split="heldout"))
    stills = StillClips(source=photos, size=size, num_frames=num_frames)
    yield "photos in motion", lambda i: stills.sample(np.random.default_rng([FIRST_HELD_OUT_SEED, i]))


def follow(model: masklet.Model, clip: Clip, truth: np.ndarray, given_as: str, rng: np.random.Generator) -> np.ndarray:
    """Masks [object frame height width] of objects that are given on the first frame, all in one session."""
    found = np.zeros_like(truth)
    with model.open_video([frame.image for frame in clip.frames]) as session:
        for row, masks in enumerate(truth):
            rows, columns = np.nonzero(masks[0])
            if given_as == "mask":
                session.add_mask(row, 0, masks[0])
            elif given_as == "box":
                box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
                session.click(row, 0, box=tuple(map(float, box)))
            else:
                pixel = int(rng.integers(len(rows)))
                session.click(row, 0, [(columns[pixel] + 0.5, rows[pixel] + 0.5)], [1])
        for result in session.track():
            for row, mask in zip(result.ids, result.masks, strict=True):
                found[row, result.index] = mask
    return found


def score_source(model: masklet.Model, draw: Callable[[int], Clip], num_clips: int) -> dict[str, dict[str, float]]:
    """J, F, J&F, first-frame IoU and identity switches by the way objects are given."""
    scores: dict[str, list[MaskletScore]] = defaultdict(list)
    first: dict[str, list[float]] = defaultdict(list)
    switches: dict[str, int] = defaultdict(int)
    seconds = frames = 0.0
    for index in range(num_clips):
        rng = np.random.default_rng([FIRST_HELD_OUT_SEED, index])
        clip = draw(index)
        chosen = choose_objects(clip, TrackingConfig(least_area=0.003), rng)
        if not len(chosen):
            continue
        truth = np.stack([frame.masks[chosen] for frame in clip.frames], axis=1)
        ways: list[tuple[str, Callable[[], np.ndarray]]] = [
            (way, partial(follow, model, clip, truth, way, rng)) for way in GIVEN_AS
        ]
        for way, run in [("stays", lambda t=truth: np.repeat(t[:, :1], t.shape[1], axis=1)), *ways]:
            started = time.perf_counter()
            found = run()
            if way != "stays":
                seconds, frames = seconds + time.perf_counter() - started, frames + len(clip.frames)
            scores[way] += [score_masklet(t[1:], f[1:]) for t, f in zip(truth, found, strict=True)]
            first[way] += [region_similarity(t[0], f[0]) for t, f in zip(truth, found, strict=True)]
            switches[way] += identity_switches(mask_overlaps(truth, found))
    return {
        way: {
            **mean_scores(every),
            "first": float(np.mean(first[way])),
            "switches": switches[way],
            "objects": len(every),
            "seconds": seconds / max(frames, 1),
        }
        for way, every in scores.items()
    }


def phrases_of(clip: Clip, limit: int) -> dict[str, np.ndarray]:
    """Up to `limit` phrases asked of a clip, each with the true masks [object frame height width] of what it names."""
    every = np.stack([frame.masks for frame in clip.frames], axis=1)
    named: dict[str, set[int]] = defaultdict(set)
    for frame in clip.frames:
        for query in frame.queries:
            named[query.phrase] |= set(query.object_index)
    return {phrase: every[sorted(objects)] for phrase, objects in list(named.items())[:limit]}


def score_phrases(model: masklet.Model, draw: Callable[[int], Clip], num_clips: int) -> dict[str, float]:
    """HOTA and its parts over all pairs of a clip and a phrase, absent ones included; all phrases in one session."""
    scores, switches = [], 0
    for index in range(num_clips):
        clip = draw(index)
        truths = phrases_of(clip, PHRASES)
        found: dict[str, dict[int, np.ndarray]] = defaultdict(dict)
        with model.open_video([frame.image for frame in clip.frames]) as session:
            for phrase in truths:
                session.add_concept(phrase, frame=0)
            for result in session.track():
                for phrase, object_id, mask in zip(result.concepts, result.ids, result.masks, strict=True):
                    blank = np.zeros((len(clip.frames), *mask.shape), dtype=bool)
                    found[phrase].setdefault(int(object_id), blank)[result.index] = mask
        for phrase, truth in truths.items():
            predicted = np.stack([*found[phrase].values()]) if found[phrase] else truth[:0]
            overlaps = mask_overlaps(truth, predicted)
            scores.append(score_tracks(overlaps))
            switches += identity_switches(overlaps)
    return {**total(scores).metrics(), "switches": switches, "pairs": len(scores)}


def main() -> None:
    """Scores every source and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="tiny")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", nargs="+", help="names of sources, such as cut-outs; by default all")
    parser.add_argument("--clips", type=int, default=20, help="of each source")
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    model = masklet.load(given.model, image_size=given.image_size)
    table: dict[str, dict[str, dict[str, float]]] = {}
    print(f"{'source':18s} given as     J     F   J&F  first  switches  objects  s/frame")
    for name, draw in sources(given.data, given.frames, model.image_size):
        if given.only and name not in given.only:
            continue
        table[name] = score_source(model, draw, given.clips)
        if name != "photos in motion":  # their phrases name what the model was not taught
            table[name]["phrases"] = score_phrases(model, draw, given.clips)
        for way, row in table[name].items():
            if way == "phrases":
                print(f"{name:18s} phrases  " + "  ".join(f"p{part} {100 * row[part]:.1f}" for part in HOTA_PARTS))
                continue
            print(
                f"{name:18s} {way:8s} {100 * row['J']:5.1f} {100 * row['F']:5.1f} {100 * row['J&F']:5.1f}"
                f"  {100 * row['first']:5.1f}  {row['switches']:8d}  {row['objects']:7d}  {row['seconds']:.3f}",
                flush=True,
            )
    if given.out:
        given.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
