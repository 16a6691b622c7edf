"""Verdicts of a verifier against people's: every figure by hand, sums, and files."""

import json

import pytest

from masklet.errors import InputError
from masklet.eval.tasks.verdicts import VerdictTally, score_verdicts

TALLY = VerdictTally(rejected_rightly=30, rejected_wrongly=10, accepted_rightly=50, accepted_wrongly=10)


def test_figures_by_hand():
    figures = TALLY.metrics()
    assert figures["accuracy"] == 0.8
    assert figures["rejection_precision"] == figures["rejection_recall"] == figures["rejection_F1"] == 0.75
    assert figures["false_accept_rate"] == pytest.approx(10 / 60)
    assert figures["kappa"] == pytest.approx((0.8 - 0.52) / (1 - 0.52))
    assert figures["MCC"] == pytest.approx((30 * 50 - 10 * 10) / (40 * 40 * 60 * 60) ** 0.5)
    assert figures["false_accept_low"] < 10 / 60 < figures["false_accept_high"]


def test_nothing_judged_gives_zeros_and_sums_add_up():
    assert VerdictTally().metrics()["accuracy"] == VerdictTally().metrics()["kappa"] == 0
    half = VerdictTally(rejected_rightly=15, rejected_wrongly=5, accepted_rightly=25, accepted_wrongly=5)
    assert half + half == TALLY


def test_a_verifier_that_always_accepts_rejects_nothing_rightly():
    figures = VerdictTally(accepted_rightly=8, accepted_wrongly=2).metrics()
    assert (figures["rejection_precision"], figures["rejection_recall"], figures["MCC"]) == (0, 0, 0)


def verdict(key, word: str, **more) -> dict:
    return {"id": key, "verdict": word, **more}


def test_files_are_compared_where_both_judged(tmp_path):
    people, verifier = tmp_path / "people.json", tmp_path / "verifier.json"
    people.write_text(
        json.dumps([verdict(1, "accept"), verdict("b", "reject"), verdict(3, "reject"), verdict(4, "accept")])
    )
    said = [verdict("b", "reject", probability=0.2), verdict(3, "accept", probability=0.9), verdict(9, "accept")]
    verifier.write_text(json.dumps(said))
    figures = score_verdicts(people, verifier)
    assert (figures["items"], figures["unmatched"]) == (2, 3)
    assert (figures["rejection_precision"], figures["rejection_recall"]) == (1, 0.5)
    assert figures["ECE"] == pytest.approx((0.2 + 0.9) / 2)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ([verdict(1, "maybe")], r"verifier\.json: verdict 1: verdict: is "),
        ([verdict(1, "accept", probability=2.0)], r"verdict 1: probability: is "),
        ([verdict(1, "accept"), verdict(1, "reject")], r"verdict 1: id: is given twice"),
        ([verdict(7, "accept")], "have no item in common"),
    ],
)
def test_broken_files_are_told(said, message, tmp_path):
    (tmp_path / "people.json").write_text(json.dumps([verdict(1, "accept")]))
    (tmp_path / "verifier.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=message):
        score_verdicts(tmp_path / "people.json", tmp_path / "verifier.json")
