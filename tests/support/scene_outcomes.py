"""A run over painted scenes with every kind of error in it: outcomes with masks, the pictures, and the scores."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation, binary_erosion

from masklet.data.schema import Example
from masklet.eval.analysis.bootstrap import WeightedSums, averaged, poisson
from masklet.eval.concepts.cgf1 import ConceptCounts
from masklet.eval.concepts.outcomes import PairOutcome, RunFiles, write_outcome
from masklet.ops.masks import mask_iou, mask_to_box, rle_encode
from masklet.scenes.layout import SceneConfig
from masklet.scenes.scene import render_scene

Scored = list[tuple[np.ndarray, float]]


def write_run(folder: Path, pictures: Path, num_scenes: int, *, size: int = 96, skill: float = 0.6) -> RunFiles:
    """Outcomes and scores of a run in `folder`; runs of different skill are over the same pairs and pictures."""
    files = RunFiles(folder)
    folder.mkdir(parents=True, exist_ok=True)
    pictures.mkdir(parents=True, exist_ok=True)
    outcomes = []
    with files.outcomes.open("w") as file:
        for outcome in scene_outcomes(pictures, num_scenes, size, skill):
            write_outcome(file, outcome)
            outcomes.append(outcome)
    sums = weighted_sums(outcomes, replicates=0)
    mean = {name: float(values[0]) for name, values in averaged(sums).items()}
    subsets = {
        name: {
            "segm": {key: float(values[0]) for key, values in ConceptCounts(sums=rows).figures().items()},
            "pairs": int(rows[0, :4].sum()),
        }
        for name, rows in sums.items()
    }
    sizes = {
        "small": {"F1": 0.4, "instances": 12},
        "medium": {"F1": 0.0, "instances": 0},
        "large": {"F1": 0.6, "instances": 30},
    }
    scores = {
        "format": "masklet-eval-concepts",
        "version": 1,
        "settings": {"predictions": "made"},
        "metrics": {"segm": mean},
        "subsets": subsets,
        "strata": {"segm": {"object size": sizes}},
    }
    files.scores.write_text(json.dumps(scores))
    return files


def weighted_sums(outcomes: Iterable[PairOutcome], *, replicates: int = 500, seed: int = 0) -> dict[str, np.ndarray]:
    """Summed count rows of each subset."""
    counts = WeightedSums(poisson(replicates, seed))
    for outcome in outcomes:
        counts.add(outcome)
    return counts.sums()


def scene_outcomes(pictures: Path, num_scenes: int, size: int, skill: float) -> Iterator[PairOutcome]:
    """A pair for each question about each scene."""
    for seed in range(num_scenes):
        example = render_scene(seed, SceneConfig(size=size))
        name = f"scene {seed:03}.jpg"
        if not (pictures / name).exists():
            Image.fromarray(example.image).save(pictures / name, quality=92)
        for number, query in enumerate(example.queries):
            rng = np.random.default_rng([seed, number, round(100 * skill)])
            truths = example.masks[list(query.object_index)]
            predicted = _predict(rng, example, truths, skill)
            pair = {"pair_id": 100 * seed + number, "phrase": query.phrase, "image": name}
            yield _outcome(pair, truths, predicted, ("gardens", "kitchens")[seed % 2])


def _predict(rng: np.random.Generator, example: Example, truths: np.ndarray, skill: float) -> Scored:
    if not len(truths):
        wrong = len(example.masks) and rng.random() < 0.25 * (1.2 - skill)
        return [(example.masks[rng.integers(len(example.masks))], float(rng.uniform(0.5, 0.9)))] if wrong else []
    if rng.random() < 0.2 * (1.2 - skill):
        return []
    found: Scored = []
    for row, truth in enumerate(truths):
        if rng.random() < skill:
            found.append((_reshape(rng, truth, 1), float(rng.uniform(0.6, 0.99))))
            continue
        found += _err(rng, example, truths, row)
    return sorted(found, key=lambda item: -item[1])


def _err(rng: np.random.Generator, example: Example, truths: np.ndarray, row: int) -> Scored:
    truth, score = truths[row], float(rng.uniform(0.35, 0.9))
    columns = np.flatnonzero(truth.any(axis=0))
    third = np.clip((np.arange(truth.shape[1]) - columns[0]) * 3 // np.ptp(columns, axis=0).clip(1), 0, 2)
    other = truths[(row + 1) % len(truths)]
    return [
        [],
        [(_reshape(rng, truth, 4), score)],
        [(truth, score), (_reshape(rng, truth, 2), score - 0.1)],
        [(truth & (third == part), score) for part in range(3)],
        [(truth | other, score)],
        [(truth, score), (example.masks[rng.integers(len(example.masks))], score - 0.1)],
    ][rng.integers(6)]


def _reshape(rng: np.random.Generator, mask: np.ndarray, pixels: int) -> np.ndarray:
    change = binary_dilation if rng.random() < 0.5 else binary_erosion
    changed = np.asarray(change(mask, iterations=pixels), bool)
    return changed if changed.any() else mask


def _outcome(pair: dict, truths: np.ndarray, predicted: Scored, subset: str) -> PairOutcome:
    height, width = truths.shape[1:]
    masks = np.array([mask for mask, _ in predicted], bool).reshape(-1, height, width)
    return PairOutcome(
        **pair,
        subset=subset,
        height=height,
        width=width,
        scores=np.array([score for _, score in predicted], np.float64),
        iou=mask_iou(truths, masks).astype(np.float64),
        truth_areas=truths.sum(axis=(1, 2)),
        predicted_areas=masks.sum(axis=(1, 2)),
        truth_boxes_xyxy=_boxes(truths),
        predicted_boxes_xyxy=_boxes(masks),
        truth_counts=tuple(map(rle_encode, truths)),
        predicted_counts=tuple(map(rle_encode, masks)),
    )


def _boxes(masks: np.ndarray) -> np.ndarray:
    return np.array([mask_to_box(mask) or (0, 0, 0, 0) for mask in masks], np.float64).reshape(-1, 4)
