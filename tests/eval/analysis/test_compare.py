"""Two runs compared: against itself, against every possible swap by hand, in any order, and over other pairs."""

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from masklet.errors import InputError
from masklet.eval.analysis.compare import Comparison, compare_runs, quality_of
from masklet.eval.concepts.cgf1 import score_overlaps, total
from masklet.eval.concepts.outcomes import PairOutcome, RunFiles, score_outcome, write_outcome
from masklet.eval.reports.compare_report import build_compare_report, comparison_scores
from masklet.eval.reports.page import Gallery, render_report


def pair(index: int, iou: Sequence[float], num_predictions: int | None = None, *, image: str = "") -> PairOutcome:
    """Instances that overlap one prediction each; without instances, `num_predictions` wrong ones."""
    count = len(iou) if num_predictions is None else num_predictions
    table = np.zeros((len(iou), count))
    np.fill_diagonal(table, iou)
    return PairOutcome(
        pair_id=index,
        phrase=f"phrase {index % 3}",
        image=image or f"{index // 2}.jpg",
        subset="one",
        height=20,
        width=20,
        scores=np.full(count, 0.8),
        iou=table,
        truth_areas=np.full(len(iou), 40),
        predicted_areas=np.full(count, 40),
        truth_boxes_xyxy=np.tile([1.0, 1, 9, 6], (len(iou), 1)),
        predicted_boxes_xyxy=np.tile([1.0, 1, 9, 6], (count, 1)),
    )


def write(folder: Path, pairs: Sequence[PairOutcome]) -> RunFiles:
    folder.mkdir(exist_ok=True)
    files = RunFiles(folder)
    with files.outcomes.open("w") as file:
        for outcome in pairs:
            write_outcome(file, outcome)
    return files


def population(seed: int, skill: float, count: int = 160) -> list[PairOutcome]:
    """Every third pair shows its concept; a run of more skill finds more and invents less."""
    rng = np.random.default_rng(seed)
    pairs = []
    for index in range(count):
        chance = rng.random(4)
        if index % 3 == 0:
            pairs.append(
                pair(index, [0.95 if c < skill else 0.3 for c in chance[:2]], 0 if chance[2] > skill + 0.2 else 2)
            )
        else:
            pairs.append(pair(index, [], int(chance[3] > skill + 0.1)))
    return pairs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFiles, RunFiles]:
    folder = tmp_path_factory.mktemp("runs")
    return write(folder / "a", population(0, 0.5)), write(folder / "b", population(1, 0.85))


@pytest.fixture(scope="module")
def found(runs: tuple[RunFiles, RunFiles]) -> Comparison:
    return compare_runs(*runs)


def test_a_run_does_not_differ_from_itself(runs: tuple[RunFiles, RunFiles]) -> None:
    same = compare_runs(runs[0], runs[0])
    for each in same.figures.values():
        assert each.first == each.second
        assert (each.change.value, each.change.low, each.change.high, each.p_value) == (0, 0, 0, 1)
    assert (same.num_better, same.num_worse, same.better, same.worse) == (0, 0, [], [])
    assert all(change.errors[0] == change.errors[1] for change in same.phrases)


def test_a_run_of_more_skill_is_better_and_not_by_luck(found: Comparison) -> None:
    for name in ("cgF1", "IL_MCC", "positive_micro_F1"):
        each = found.figures[name]
        assert each.change.value == pytest.approx(each.second - each.first)
        assert 0 < each.change.low < each.change.value < each.change.high
        assert each.p_value < 0.01
    assert found.num_pairs == 160
    assert found.num_better > found.num_worse > 0


def test_figures_are_those_of_the_metric(found: Comparison) -> None:
    metrics = total(score_overlaps(p.iou, p.scores) for p in population(1, 0.85)).metrics()
    for name, each in found.figures.items():
        assert each.second == pytest.approx(metrics[name], abs=1e-12)


def test_the_other_way_round_is_the_opposite(runs: tuple[RunFiles, RunFiles], found: Comparison) -> None:
    back = compare_runs(runs[1], runs[0])
    for name, each in found.figures.items():
        assert back.figures[name].change.value == pytest.approx(-each.change.value)
        assert back.figures[name].change.low == pytest.approx(-each.change.high)
        assert back.figures[name].p_value == pytest.approx(each.p_value, abs=1e-9)
    assert (back.num_better, back.num_worse) == (found.num_worse, found.num_better)


def test_the_order_of_lines_does_not_matter(tmp_path: Path, runs: tuple[RunFiles, RunFiles], found: Comparison) -> None:
    lines = runs[1].outcomes.read_text().splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    shuffled = RunFiles(tmp_path)
    shuffled.outcomes.write_text("".join(lines))
    again = compare_runs(runs[0], shuffled)
    for name, each in found.figures.items():
        assert again.figures[name].change.low == pytest.approx(each.change.low, abs=1e-9)
        assert again.figures[name].p_value == each.p_value
    assert again.phrases == found.phrases


def test_the_p_value_is_the_share_of_all_swaps(tmp_path: Path) -> None:
    """Four images can be swapped in 16 ways, which are all tried here."""
    first = [pair(0, [0.95]), pair(2, [0.7]), pair(4, [], 0), pair(6, [0.6]), pair(1, [], 0)]
    second = [pair(0, [0.8]), pair(2, [0.9]), pair(4, [], 1), pair(6, [0.9]), pair(1, [], 0)]
    images = sorted({p.image for p in first})
    differences = []
    for swap in itertools.product([False, True], repeat=len(images)):
        swapped = dict(zip(images, swap, strict=True))
        sides = [
            [b if swapped[a.image] else a for a, b in zip(*order, strict=True)]
            for order in ((first, second), (second, first))
        ]
        values = [total(score_overlaps(p.iou, p.scores) for p in side).metrics()["cgF1"] for side in sides]
        differences.append(values[1] - values[0])
    exact = np.mean(np.abs(differences) >= abs(differences[0]) - 1e-12)
    assert 0 < exact < 1
    p_value = compare_runs(write(tmp_path / "a", first), write(tmp_path / "b", second)).figures["cgF1"].p_value
    assert p_value == pytest.approx(exact, abs=0.04)


def test_quality_of_a_pair() -> None:
    answers = [pair(0, []), pair(0, [], 2), pair(0, [1.0, 1.0]), pair(0, [1.0, 0.0]), pair(0, [1.0], 0)]
    assert [quality_of(score_outcome(each)) for each in answers] == pytest.approx([1, 0, 1, 0.5, 0], abs=3e-4)


def test_changed_pairs_hold_both_answers(found: Comparison) -> None:
    before = {outcome.pair_id: outcome for outcome in population(0, 0.5)}
    assert found.better
    assert found.worse
    for change in (*found.better, *found.worse):
        pair_id = change.second.outcome.pair_id
        assert change.first.outcome.pair_id == pair_id
        assert change.first.outcome.iou.tolist() == before[pair_id].iou.tolist()
        qualities = [quality_of(score_outcome(kept.outcome)) for kept in (change.first, change.second)]
        assert change.change == pytest.approx(qualities[1] - qualities[0])
    assert all(change.change > 0 for change in found.better)
    assert all(change.change < 0 for change in found.worse)


def test_phrases_that_changed_most_come_first(found: Comparison) -> None:
    changes = [abs(each.errors[1] - each.errors[0]) for each in found.phrases]
    assert changes == sorted(changes, reverse=True)
    assert sum(each.pairs for each in found.phrases) == 160


SAME = [pair(0, [0.9]), pair(1, [])]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        pytest.param(SAME[:1], r"1 pairs of .*a.outcomes.jsonl are not in .*b.*, such as pair 1 of one", id="fewer"),
        pytest.param([*SAME, pair(2, [])], r"pair 2 of one \('phrase 2' in 1.jpg\) is in .*b.* but not in", id="more"),
        pytest.param(
            [SAME[0], replace(SAME[1], phrase="dog")], r"pair 1 of one is 'phrase 1' .*, but 'dog'", id="another phrase"
        ),
        pytest.param(
            [SAME[0], replace(SAME[1], image="x.jpg")], r"in 0.jpg in .*, but 'phrase 1' in x.jpg", id="another image"
        ),
        pytest.param([*SAME, SAME[0]], r"b.outcomes.jsonl: pair 0 of one is there twice", id="twice"),
        pytest.param([], r"b.outcomes.jsonl: holds no pairs", id="none"),
    ],
)
def test_runs_over_other_pairs_are_told_apart(tmp_path: Path, other: list[PairOutcome], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare_runs(write(tmp_path / "a", SAME), write(tmp_path / "b", other))


def test_another_subset_is_another_pair(tmp_path: Path) -> None:
    moved = [SAME[0], replace(SAME[1], subset="two")]
    with pytest.raises(InputError, match="pair 1 of two"):
        compare_runs(write(tmp_path / "a", SAME), write(tmp_path / "b", moved))


def test_the_page_shows_both_runs(found: Comparison) -> None:
    report = build_compare_report(found, ("old <b>", "new"), [])
    html = render_report(report)
    assert "old &lt;b&gt;" in html
    galleries = [section for section in report.sections if isinstance(section, Gallery)]
    assert [len(gallery.cards) for gallery in galleries] == [len(found.worse), len(found.better)]
    assert report.figures[0].note == "p < 0.001: more than chance"
    scores = comparison_scores(found, ("old", "new"))
    assert scores["figures"]["cgF1"]["p_value"] == found.figures["cgF1"].p_value
    assert (scores["pairs"], scores["runs"]) == (160, ["old", "new"])
