"""In a world whose truth and noise are known, what the engine lets pass is what arithmetic says."""

from pathlib import Path

import numpy as np
import pytest
from engine_world import ColourSegmenter, open_world, run_world, true_masks, write_photos

from masklet.engine.stages.stage import Project
from masklet.engine.verify.bands import wilson
from masklet.engine.verify.oracle import NoisyOracle
from masklet.media.images import read_image
from masklet.ops.masks import mask_iou, rle_decode

DROP, BAD = 0.2, 0.1
SENSITIVITY, SPECIFICITY = 0.9, 0.85
SIGMAS = 3.0  # of the intervals, as several are looked at


def judged(project: Project) -> tuple[np.ndarray, np.ndarray]:
    """For masks: whether each is right, and was accepted."""
    right, accepted = [], []
    for pair in project.view.pairs():
        maskset = project.view.maskset(pair["pair_id"])
        assert maskset is not None
        truth = true_masks(
            read_image(project.originals / project.view.one_media(pair["media_id"])["uri"]), pair["text"]
        )
        taken = project.view.accepted(pair["pair_id"], maskset)
        for number, mask in enumerate(project.view.masks(maskset)):
            pixels = rle_decode(mask.counts, *mask.size)
            right.append(bool(mask_iou(pixels[None], np.stack(truth)).max() >= 0.75))
            accepted.append(number in taken)
    return np.array(right), np.array(accepted)


@pytest.mark.slow
def test_false_accepts_and_completeness_are_the_analytic_ones(tmp_path: Path) -> None:
    project = open_world(tmp_path / "project", write_photos(tmp_path / "photos", 60))
    oracle = NoisyOracle(truth=true_masks, sensitivity=SENSITIVITY, specificity=SPECIFICITY)
    run_world(project, ColourSegmenter(drop=DROP, bad=BAD), verifier=oracle)
    right, accepted = judged(project)
    bad = BAD / (1 - DROP)  # of the masks that are drawn at all
    low, high = wilson(int((~right).sum()), len(right), SIGMAS)
    assert low <= bad <= high
    passed = bad * (1 - SPECIFICITY) / (bad * (1 - SPECIFICITY) + (1 - bad) * SENSITIVITY)
    low, high = wilson(int((~right & accepted).sum()), int(accepted.sum()), SIGMAS)
    assert low <= passed <= high

    complete = incomplete = wrong = 0
    for pair in project.view.pairs():
        maskset = project.view.maskset(pair["pair_id"])
        assert maskset is not None
        image = read_image(project.originals / project.view.one_media(pair["media_id"])["uri"])
        truth, masks = true_masks(image, pair["text"]), project.view.masks(maskset)
        kept = [rle_decode(masks[n].counts, *masks[n].size) for n in project.view.accepted(pair["pair_id"], maskset)]
        whole = len(truth) == 0 if not kept else bool(truth)
        if kept and truth:
            whole = bool((mask_iou(np.stack(truth), np.stack(kept)).max(axis=1) >= 0.75).all())
        complete, incomplete = complete + whole, incomplete + (not whole)
        wrong += pair["state"].startswith("final") and not whole
    final = sum(pair["state"].startswith("final") for pair in project.view.pairs())
    expected = incomplete * (1 - SPECIFICITY) / (incomplete * (1 - SPECIFICITY) + complete * SENSITIVITY)
    low, high = wilson(wrong, final, SIGMAS)
    assert low <= expected <= high


@pytest.mark.slow
def test_with_the_verifier_labels_are_better_than_without(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 40)
    noisy = ColourSegmenter(drop=DROP, bad=BAD)
    oracle = NoisyOracle(truth=true_masks, sensitivity=SENSITIVITY, specificity=SPECIFICITY)
    shares = []
    for name, verifier in (("without", None), ("with", oracle)):
        project = open_world(tmp_path / name, photos)
        run_world(project, noisy, verifier=verifier)
        right, accepted = judged(project)
        shares.append((~right & accepted).sum() / accepted.sum())
    assert shares[1] < 0.5 * shares[0]
