"""How good is a model on what it was never trained on? cgF1, IL_MCC, pmF1 and AP50, by source.

    python benchmarks/quality.py tiny --data DIR --pictures 100 --out quality.json

Generated scenes come from seeds that training never draws; the cut-outs and photos under DIR (folders cutouts,
backgrounds and real, as the recipe `builtin` reads them) are the tenth that training holds out. Without --data only
generated scenes are scored. Phrases are asked as words; with --exemplar, as one example box of the concept instead.
"""

import argparse
import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

import masklet
from masklet.data.schema import Example, PhraseQuery
from masklet.data.sources import CocoConfig, CocoSource
from masklet.data.synthetic.cutouts import CutoutLibrary, compose_scene
from masklet.data.synthetic.layout import SceneConfig
from masklet.data.synthetic.scene import render_scene
from masklet.eval.ap import AveragePrecision
from masklet.eval.concept import PairScore, score_boxes, score_masks, total
from masklet.ops.boxes import box_iou
from masklet.ops.masks import mask_iou
from masklet.train.recipes import load_recipe

FIRST_HELD_OUT_SEED = 2**31  # training draws seeds below this
AP_FLOOR = 0.05  # detections below this score are left out of AP, as they hardly move it


def examples(data: Path | None, count: int) -> Iterator[tuple[str, Iterator[Example]]]:
    """Named streams of held-out examples."""
    seeds = range(FIRST_HELD_OUT_SEED, FIRST_HELD_OUT_SEED + count)
    yield "generated scenes", map(partial(render_scene, config=SceneConfig()), seeds)
    unseen = SceneConfig(combinations="unseen")
    yield "unseen combinations", map(partial(render_scene, config=unseen), seeds)
    if data is None:
        return
    library = CutoutLibrary.open(data / "cutouts", data / "backgrounds", split="heldout")
    yield "held-out cut-outs", map(partial(compose_scene, library=library, config=SceneConfig()), seeds)
    scenes = load_recipe("builtin").data.sources["real"].scenes
    config = CocoConfig(split="heldout", scenes=scenes, max_negatives=4)
    source = CocoSource(data / "real/annotations.json", data / "real/images", config)
    names = sorted({record["source"] for record in source.records})
    for name in names:
        chosen = [index for index, record in enumerate(source.records) if record["source"] == name]
        yield f"photos: {name}", (source.example(i, np.random.default_rng(i)) for i in chosen[:count])


def score_example(model: masklet.Model, example: Example, *, exemplar: bool, ap: AveragePrecision) -> list[PairScore]:
    """One score for each exhaustively labelled phrase of a picture."""
    queries = [query for query in example.queries if query.exhaustive and (query.object_index or not exemplar)]
    if not queries:
        return []
    with model.open(example.image) as session:
        if exemplar:
            results = [session.find(boxes=[_largest(example, query)], threshold=AP_FLOOR) for query in queries]
        else:
            together = session.find([query.phrase for query in queries], threshold=AP_FLOOR)
            results = [together.for_phrase(query.phrase) for query in queries]
    return [_score_pair(example, query, result, ap) for query, result in zip(queries, results, strict=True)]


def _largest(example: Example, query: PhraseQuery) -> tuple[float, ...]:
    boxes = example.boxes_xyxy[list(query.object_index)]
    height, width = example.image.shape[:2]
    box = boxes[np.argmax((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))]
    return tuple(np.clip(box, 0, [width, height, width, height]).tolist())


def _score_pair(example: Example, query: PhraseQuery, result: masklet.ImageResult, ap: AveragePrecision) -> PairScore:
    rows = list(query.object_index)
    scores = result.scores.astype(np.float64)
    if rows and not example.mask_valid[rows].all():  # labelled by boxes alone
        truths, found = example.boxes_xyxy[rows], result.boxes.astype(np.float32)
        iou = box_iou(torch.from_numpy(truths)[:, None], torch.from_numpy(found)[None]).numpy()
        pair = score_boxes(truths, found, scores)
    else:
        truths, found = example.masks[rows], result.masks
        iou = mask_iou(truths, found)
        pair = score_masks(truths, found, scores)
    ap.add(query.phrase, iou, scores)
    return pair


def main() -> None:
    """Scores every source and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="tiny")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--pictures", type=int, default=100, help="at most this many of each source")
    parser.add_argument("--exemplar", action="store_true")
    parser.add_argument("--image-size", type=int)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    model = masklet.load(given.model, image_size=given.image_size)
    table = {}
    print(f"{'source':24s} pairs  cgF1  IL_MCC  pmF1  AP50   s/picture")
    for name, stream in examples(given.data, given.pictures):
        ap, pairs, started, pictures = AveragePrecision(), [], time.perf_counter(), 0
        for example in stream:
            pairs += score_example(model, example, exemplar=given.exemplar, ap=ap)
            pictures += 1
        if not pairs:
            continue
        counts = total(pairs)
        metrics = counts.metrics()
        row = {
            "pictures": pictures,
            "pairs": len(pairs),
            "cgF1": 100 * metrics["cgF1"],
            "IL_MCC": counts.il_mcc,
            "pmF1": 100 * float(counts.pmf1.mean()),
            "AP50": 100 * ap.mean(),
        }
        table[name] = row
        seconds = (time.perf_counter() - started) / pictures
        print(
            f"{name:24s} {len(pairs):5d} {row['cgF1']:5.1f}  {row['IL_MCC']:5.2f}  {row['pmF1']:5.1f}"
            f" {row['AP50']:5.1f}   {seconds:.2f}",
            flush=True,
        )
    if given.out:
        given.out.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
