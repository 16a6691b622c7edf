"""HOTA of random sequences against TrackEval, which the released evaluator builds on."""

import numpy as np
import pytest

from masklet.eval.videos.hota import FrameOverlap, score_tracks, total

PARTS = ("HOTA", "DetA", "AssA", "DetRe", "DetPr", "AssRe", "AssPr", "LocA", "OWTA")


def _sequence(seed: int) -> list[FrameOverlap]:
    """Objects and predictions that come and go; overlaps have ties, zeros, ones and values on thresholds."""
    rng = np.random.default_rng(seed)
    num_truths, num_predicted = rng.integers(0, 5, 2)
    frames = []
    for _ in range(rng.integers(1, 9)):
        truths = np.flatnonzero(rng.random(num_truths) < 0.7)
        predicted = np.flatnonzero(rng.random(num_predicted) < 0.7)
        iou = rng.choice([0.0, 0.05, 0.25, 0.5, 0.55, 0.9, 1.0], (len(truths), len(predicted)))
        iou = np.where(rng.random(iou.shape) < 0.5, iou, rng.random(iou.shape))
        frames.append(FrameOverlap(truth_ids=truths, predicted_ids=predicted, iou=iou))
    return frames


def _as_trackeval(frames: list[FrameOverlap]) -> dict:
    ids = {name: [getattr(frame, name) for frame in frames] for name in ("truth_ids", "predicted_ids")}
    known = {name: np.unique(np.concatenate(values)) for name, values in ids.items()}
    numbered = {name: [np.searchsorted(known[name], each) for each in values] for name, values in ids.items()}
    return {
        "num_gt_dets": sum(map(len, ids["truth_ids"])),
        "num_tracker_dets": sum(map(len, ids["predicted_ids"])),
        "num_gt_ids": len(known["truth_ids"]),
        "num_tracker_ids": len(known["predicted_ids"]),
        "gt_ids": numbered["truth_ids"],
        "tracker_ids": numbered["predicted_ids"],
        "similarity_scores": [frame.iou for frame in frames],
    }


@pytest.fixture(scope="module")
def references() -> list[dict]:
    from trackeval.metrics import HOTA

    return [HOTA().eval_sequence(_as_trackeval(_sequence(seed))) for seed in range(200)]


def test_every_part_of_every_sequence(references: list[dict]) -> None:
    nonzero = 0
    for seed, reference in enumerate(references):
        figures = score_tracks(_sequence(seed)).metrics()
        for part in PARTS:
            assert figures[part] == pytest.approx(reference[part].mean(), abs=1e-12), (seed, part)
        nonzero += figures["HOTA"] > 0
    assert nonzero > 100


def test_sequences_together(references: list[dict]) -> None:
    from trackeval.metrics import HOTA

    expected = HOTA().combine_sequences(dict(enumerate(references)))
    figures = total(score_tracks(_sequence(seed)) for seed in range(len(references))).metrics()
    for part in PARTS:
        assert figures[part] == pytest.approx(expected[part].mean(), abs=1e-12), part
