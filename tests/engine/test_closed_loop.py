"""What verification and people's time make of labels, in a world whose truth is known: each step makes them better."""

from pathlib import Path

from engine_people import answer_open, correct_waiting, shares
from engine_world import ColourSegmenter, open_world, run_world, true_masks, write_photos

from masklet.engine.stages.stage import Project
from masklet.engine.verify.oracle import NoisyOracle

NOISY = ColourSegmenter(drop=0.2, bad=0.15)
VERIFIER = NoisyOracle(truth=true_masks, sensitivity=0.95, specificity=0.9)
SECONDS = 600.0


def labelled(folder: Path, photos: Path, verifier: NoisyOracle | None) -> Project:
    project = open_world(folder, photos)
    run_world(project, NOISY, verifier=verifier)
    return project


def test_verified_labels_are_better_than_raw_ones_and_ten_minutes_of_people_better_still(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", 16)
    raw = labelled(tmp_path / "raw", photos, None)
    verified = labelled(tmp_path / "verified", photos, VERIFIER)
    _, raw_precision = shares(raw)
    found, verified_precision = shares(verified)
    assert verified_precision > raw_precision + 0.15

    left = correct_waiting(verified, SECONDS)
    answer_open(verified, "exhaustivity", left, name="another")
    run_world(verified, NOISY, verifier=VERIFIER, run_id="checked")
    corrected, corrected_precision = shares(verified)
    assert corrected > found + 0.15
    assert corrected_precision >= verified_precision


def test_false_accepts_are_those_of_the_verifier(tmp_path: Path) -> None:
    """The measured share of wrong final pairs is within the interval of the one that the rates give."""
    from masklet.engine.verify.bands import wilson

    project = labelled(tmp_path / "p", write_photos(tmp_path / "photos", 24), VERIFIER)
    said = wrong = 0
    for pair in project.view.pairs():
        maskset = project.view.maskset(pair["pair_id"])
        assert maskset is not None
        truth = true_masks(project.picture(pair["media_id"]), pair["text"])
        kept = len(project.view.accepted(pair["pair_id"], maskset))
        if kept < len(truth):  # an instance is missing for sure: the verifier says so with its specificity
            verdicts = project.view.verdicts(pair["pair_id"], "exhaustivity")
            said += len(verdicts)
            wrong += sum(row["label"] == "accept" for row in verdicts)
    low, high = wilson(wrong, said)
    assert said > 15
    assert low <= 1 - VERIFIER.specificity <= high
