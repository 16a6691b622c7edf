"""Whole files against the official evaluator's results, bucket by bucket, and what happens with broken ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from masklet.eval.concepts import concept_run
from masklet.eval.concepts.buckets import Source
from masklet.eval.concepts.cgf1 import MATCHES, PREDICTED_ABSENT, TRUTHS, PairScores, score_overlaps
from masklet.eval.concepts.concept_run import ConceptEvaluation, summarise
from masklet.eval.concepts.outcomes import PairOutcome, read_outcomes
from masklet.eval.concepts.tally import ConceptTally
from masklet.formats.saco import Subset

GOLDEN = sorted((Path(__file__).parents[2] / "golden").glob("cgf1_case*.json"))
KINDS = ("segm", "bbox")


def write_case(folder: Path, case: dict) -> Source:
    """The files of a golden case, as a data set would have them."""
    files = []
    for name, truth in zip("abc", case["ground_truths"], strict=False):
        files.append(folder / f"case_merged_{name}_release_test.json")
        files[-1].write_text(json.dumps(truth))
    predictions = folder / "predictions.json"
    predictions.write_text(json.dumps(case["predictions"]))
    return Source(subset=Subset(name="case", files=tuple(files)), predictions=predictions)


def evaluate(source: Source, kinds=KINDS, **options) -> ConceptTally:
    return list(ConceptEvaluation(sources=(source,), kinds=kinds, **options).run())[-1].tally


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_figures_equal_the_official_evaluator(path, tmp_path):
    case = json.loads(path.read_text())
    tally = evaluate(write_case(tmp_path, case))
    for kind in KINDS:
        counts = tally.kinds[kind].counts
        matches, truths, present, absent = (
            counts.sums[each] for each in (MATCHES, *range(TRUTHS, PREDICTED_ABSENT + 1))
        )
        summed = {
            "TPs": matches,
            "FPs": present + absent - matches,
            "positive_micro_FPs": present - matches,
            "FNs": truths - matches,
        }
        for name, values in summed.items():
            assert values.tolist() == case["expected"][f"{kind}_counts"][name]
        curves = counts.curves()
        assert set(curves) == set(case["expected"][f"{kind}_per_threshold"])
        for name, values in case["expected"][f"{kind}_per_threshold"].items():
            known = np.nan_to_num(np.array(values, np.float64), nan=-1)  # "no value" is -1 here, as it is in the means
            np.testing.assert_allclose(curves[name], known, rtol=0, atol=5.1e-11)  # ten decimals are stored
        metrics = counts.metrics()
        assert set(metrics) == set(case["expected"][kind])
        for name, value in case["expected"][kind].items():
            assert metrics[name] == pytest.approx(value, rel=0, abs=1e-12), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_every_pair_equals_the_one_the_official_evaluator_selected(path, kind, tmp_path):
    case = json.loads(path.read_text())
    evaluate(write_case(tmp_path, case), (kind,), outcomes=tmp_path / "outcomes.jsonl")
    outcomes = {outcome.pair_id: outcome for outcome in read_outcomes(tmp_path / "outcomes.jsonl")}
    assert sorted(outcomes) == sorted(case["expected"][f"{kind}_evaluated_ids"])
    for key, outcome in outcomes.items():
        row = case["expected_selected_per_datapoint"][kind][str(key)]
        present, predicted = len(outcome.truth_areas) > 0, bool((outcome.scores >= 0.5).any())
        assert (row["IL_TP"], row["IL_FP"]) == (present and predicted, predicted and not present)
        assert (row["IL_TN"], row["IL_FN"]) == (not present and not predicted, present and not predicted)
        if "TPs" in row:
            pair = score_overlaps(outcome.iou, outcome.scores)
            assert pair.matches.tolist() == row["TPs"]
            np.testing.assert_allclose(PairScores.of([pair]).local_f1[0], row["local_F1s"], rtol=0, atol=1e-9)


@pytest.fixture
def many(tmp_path) -> Source:
    """The golden case with the most pairs, for whatever must not change its figures."""
    return write_case(tmp_path, json.loads(GOLDEN[-1].read_text()))


@pytest.mark.parametrize("processes", [1, 2])
def test_buckets_and_processes_change_nothing(many, tmp_path, processes, monkeypatch):
    whole = summarise({"case": evaluate(many)}, {})
    expected = {outcome.pair_id: outcome for outcome in _outcomes(many, tmp_path)}
    monkeypatch.setattr(concept_run, "BUCKET_BYTES", 20_000)
    evaluation = ConceptEvaluation(
        sources=(many,), kinds=KINDS, processes=processes, outcomes=tmp_path / "outcomes.jsonl"
    )
    steps = list(evaluation.run())
    assert len(steps) > 5
    assert [step.share for step in steps] == pytest.approx(np.arange(1, len(steps) + 1) / len(steps))
    assert _flat(summarise({"case": steps[-1].tally}, {})) == pytest.approx(_flat(whole), abs=1e-12)
    found = {outcome.pair_id: outcome for outcome in read_outcomes(tmp_path / "outcomes.jsonl")}
    assert {key: each.to_json() for key, each in found.items()} == {k: e.to_json() for k, e in expected.items()}


def _outcomes(source: Source, folder: Path) -> list[PairOutcome]:
    evaluate(source, outcomes=folder / "outcomes.jsonl")
    return list(read_outcomes(folder / "outcomes.jsonl"))


def _flat(value, name="") -> dict[str, float]:
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {} if isinstance(value, str) else {name: value}
    return {path: leaf for key, each in value.items() for path, leaf in _flat(each, f"{name}/{key}").items()}
