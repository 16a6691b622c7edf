"""Sums of many rows; weights, sums of parts, and whether intervals hold what they promise."""

from collections.abc import Iterator

import numpy as np
import pytest
from scene_outcomes import weighted_sums

from masklet.eval.analysis.bootstrap import WeightedSums, averaged, intervals, poisson_weights
from masklet.eval.concepts.cgf1 import NUM_COLUMNS, ConceptCounts, PairScores, score_overlaps, total
from masklet.eval.concepts.outcomes import PairOutcome, score_outcome


def outcome(
    rng: np.random.Generator, image: str, *, skill: float = 0.7, subset: str = "one", pair_id: int = 0
) -> PairOutcome:
    """A pair whose concept is there every third time; `skill` is the chance of counting them right."""
    num_truths = int(rng.integers(1, 4)) if rng.random() < 0.33 else 0
    num_predictions = num_truths if rng.random() < skill else int(rng.integers(0, 3))
    iou = np.zeros((num_truths, num_predictions))
    np.fill_diagonal(iou, rng.uniform(0.3, 1, min(iou.shape)))
    return PairOutcome(
        pair_id=pair_id,
        phrase="a thing",
        image=image,
        subset=subset,
        height=10,
        width=10,
        scores=np.sort(rng.uniform(0.3, 1, num_predictions))[::-1],
        iou=iou,
        truth_areas=np.full(num_truths, 10),
        predicted_areas=np.full(num_predictions, 10),
        truth_boxes_xyxy=np.zeros((num_truths, 4)),
        predicted_boxes_xyxy=np.zeros((num_predictions, 4)),
    )


def sample(seed: int, num_images: int, **options: float | str) -> Iterator[PairOutcome]:
    """Images that are easy or hard as a whole, so that their pairs are alike."""
    rng = np.random.default_rng(seed)
    for image in range(num_images):
        skill = float(rng.uniform(0.2, 1))
        for pair_id in range(6):
            yield outcome(rng, f"{seed}-{image}", skill=skill, pair_id=pair_id, **options)  # type: ignore[arg-type]


def figures(rows: np.ndarray) -> dict[str, np.ndarray]:
    return ConceptCounts(sums=rows).figures()


def test_figures_of_rows_are_those_of_concept_counts() -> None:
    pairs = list(sample(0, 40))
    row = PairScores.of([score_outcome(pair) for pair in pairs]).rows().sum(axis=0, keepdims=True)
    expected = total(score_overlaps(pair.iou, pair.scores) for pair in pairs).metrics()
    for name, value in figures(row).items():
        assert value[0] == pytest.approx(expected[name], abs=1e-12), name


def test_without_pairs_there_are_no_figures_but_zeros() -> None:
    found = figures(np.zeros((1, NUM_COLUMNS)))
    expected = total([]).metrics()
    assert np.isnan(found["positive_macro_F1"])
    assert expected["positive_macro_F1"] == -1
    assert {name: float(found[name][0]) for name in ("cgF1", "IL_MCC", "recall")} == {
        "cgF1": 0,
        "IL_MCC": 0,
        "recall": 0,
    }


def test_weights_are_poisson_and_belong_to_the_name() -> None:
    weights = poisson_weights([f"image {i}" for i in range(400)], 500, 0)
    shares = np.bincount(weights.astype(int).ravel(), minlength=6)[:6] / weights.size
    assert shares == pytest.approx(np.exp(-1) / np.array([1, 1, 2, 6, 24, 120]), abs=0.003)
    assert np.corrcoef(weights[:50])[np.triu_indices(50, 1)].std() == pytest.approx(500**-0.5, rel=0.1)
    assert np.array_equal(poisson_weights(["image 7"], 500, 0)[0], weights[7])
    assert np.array_equal(poisson_weights(["image 7"], 30, 0)[0], weights[7, :30])
    assert not np.array_equal(poisson_weights(["image 7"], 500, 1)[0], weights[7])


def test_order_and_parts_do_not_matter() -> None:
    pairs = list(sample(1, 30))
    whole = weighted_sums(pairs, replicates=40)["one"]
    shuffled = [pairs[index] for index in np.random.default_rng(0).permutation(len(pairs))]
    parts = [weighted_sums(part, replicates=40)["one"] for part in (shuffled[:50], shuffled[50:])]
    assert parts[0] + parts[1] == pytest.approx(whole, abs=1e-9)


def test_a_replicate_is_the_figure_of_repeated_images() -> None:
    pairs = list(sample(2, 20))
    found = averaged(weighted_sums(pairs, replicates=8))
    images = list(dict.fromkeys(pair.image for pair in pairs))
    weights = dict(zip(images, poisson_weights(images, 8, 0)[:, 5].astype(int), strict=True))
    repeated = [pair for pair in pairs for _ in range(weights[pair.image])]
    expected = total(score_overlaps(pair.iou, pair.scores) for pair in repeated).metrics()
    assert found["cgF1"][6] == pytest.approx(expected["cgF1"], abs=1e-9)
    assert found["IL_MCC"][6] == pytest.approx(expected["IL_MCC"], abs=1e-9)


def test_the_average_over_subsets_is_unweighted() -> None:
    both = [*sample(3, 20, subset="one"), *sample(4, 60, subset="two")]
    sums = weighted_sums(both, replicates=20)
    single = [weighted_sums(sample(seed, n), replicates=0)["one"] for seed, n in ((3, 20), (4, 60))]
    means = {name: np.mean([figures(part[:1])[name] for part in single]) for name in ("cgF1", "IL_MCC")}
    assert {name: averaged(sums)[name][0] for name in means} == pytest.approx(means)
    assert list(sums) == ["one", "two"]


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    truth = averaged(weighted_sums(sample(99, 4000), replicates=0))
    held = {"cgF1": 0, "IL_MCC": 0, "positive_micro_F1": 0, "positive_macro_F1": 0}
    for seed in range(100, 140):
        found = intervals(averaged(weighted_sums(sample(seed, 60), replicates=200)))
        for name in held:
            held[name] += found[name].low <= truth[name][0] <= found[name].high
    for name, count in held.items():
        assert 0.87 <= count / 40 <= 1, (name, count)


def test_without_pairs_or_replicates_there_is_no_interval() -> None:
    assert WeightedSums().sums() == {}
    alone = intervals(averaged(weighted_sums(sample(5, 3), replicates=0)))["cgF1"]
    assert np.isfinite(alone.value)
    assert np.isnan(alone.low)
