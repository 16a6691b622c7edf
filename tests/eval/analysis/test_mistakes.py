"""Each kind of error by hand, on masks of strips; what mending it gives; which pairs are kept."""

from collections.abc import Sequence

import numpy as np
import pytest
from scene_outcomes import weighted_sums

from masklet.eval.analysis.mistakes import MEANINGS, Mistakes, judge
from masklet.eval.concepts.outcomes import PairOutcome, score_outcome
from masklet.ops.masks import mask_iou

Strip = tuple[int, int]


def strips(
    truths: Sequence[Strip],
    predictions: Sequence[Strip],
    scores: Sequence[float] | None = None,
    *,
    phrase: str = "cat",
    subset: str = "one",
    image: str = "a.jpg",
) -> PairOutcome:
    """A pair whose masks are runs of columns of an image of 4 x 100 pixels."""
    scores = [0.9] * len(predictions) if scores is None else scores
    columns = np.arange(100)
    masks = [
        np.array([np.tile((columns >= a) & (columns < b), (4, 1)) for a, b in side], bool).reshape(-1, 4, 100)
        for side in (truths, predictions)
    ]
    return PairOutcome(
        pair_id=0,
        phrase=phrase,
        image=image,
        subset=subset,
        height=4,
        width=100,
        scores=np.array(scores, np.float64),
        iou=mask_iou(*masks).astype(np.float64),
        truth_areas=masks[0].sum(axis=(1, 2)),
        predicted_areas=masks[1].sum(axis=(1, 2)),
        truth_boxes_xyxy=np.zeros((len(truths), 4)),
        predicted_boxes_xyxy=np.zeros((len(predictions), 4)),
    )


@pytest.mark.parametrize(
    ("truths", "predictions", "of_truths", "of_predictions"),
    [
        pytest.param([], [(0, 10)], "", "absent", id="absent"),
        pytest.param([(0, 10), (20, 30)], [], "overlooked overlooked", "", id="overlooked"),
        pytest.param([], [], "", "", id="nothing there and nothing predicted"),
        pytest.param([(0, 10)], [(0, 10)], "right", "right", id="right"),
        pytest.param([(0, 20)], [(0, 15)], "right", "right", id="IoU of 0.75 is right"),
        pytest.param([(0, 20)], [(0, 14)], "loose", "loose", id="IoU of 0.7 is loose"),
        pytest.param([(0, 20)], [(0, 9)], "loose", "loose", id="less than half, all of it inside"),
        pytest.param([(0, 20)], [(16, 36)], "loose", "loose", id="IoU of 0.11"),
        pytest.param([(0, 20)], [(18, 38)], "missed", "false", id="IoU of 0.05"),
        pytest.param([(0, 10), (20, 30)], [(0, 10)], "right missed", "right", id="missed"),
        pytest.param([(0, 10)], [(0, 10), (50, 60)], "right", "right false", id="false"),
        pytest.param([(0, 20)], [(0, 20), (2, 20)], "right", "right duplicate", id="duplicate"),
        pytest.param([(0, 20)], [(0, 20), (0, 2)], "right", "right duplicate", id="a part of what is found"),
        pytest.param([(0, 20), (20, 40)], [(0, 40)], "merged merged", "merged", id="merged"),
        pytest.param([(0, 20), (20, 40)], [(0, 30)], "merged merged", "merged", id="all of one and half of the other"),
        pytest.param([(0, 20), (20, 40)], [(0, 29)], "loose missed", "loose", id="less than half of the other"),
        pytest.param([(0, 40), (30, 40)], [(0, 40)], "right missed", "right", id="one instance inside another"),
        pytest.param(
            [(0, 20), (20, 40)], [(0, 40), (0, 20)], "right merged", "merged right", id="merged, one of them found too"
        ),
        pytest.param([(0, 40)], [(0, 15), (20, 35)], "split", "split split", id="split"),
        pytest.param([(0, 40)], [(0, 30), (30, 40)], "right", "right duplicate", id="a match and a piece"),
        pytest.param([(0, 40)], [(0, 22), (30, 40)], "loose", "loose duplicate", id="a loose match and a piece"),
    ],
)
def test_labels(truths: list[Strip], predictions: list[Strip], of_truths: str, of_predictions: str) -> None:
    verdict = judge(strips(truths, predictions))
    assert " ".join(verdict.truths) == of_truths
    assert " ".join(verdict.predictions) == of_predictions


def test_predictions_below_the_threshold_are_not_judged() -> None:
    verdict = judge(strips([(0, 10)], [(50, 60), (0, 10), (70, 80)], [0.4, 0.5, 0.3]))
    assert verdict.kept.tolist() == [1]
    assert verdict.predictions == ("right",)


def test_errors_are_counted_in_instances_or_in_predictions() -> None:
    assert judge(strips([(0, 40), (50, 60)], [(0, 15), (20, 35), (70, 80)])).counts() == {
        "split": 1,
        "missed": 1,
        "false": 1,
    }
    assert judge(strips([(0, 20), (20, 40)], [(0, 40)])).counts() == {"merged": 2}
    assert judge(strips([], [(0, 40), (50, 60)])).counts() == {"absent": 2}
    assert judge(strips([(0, 10)], [(0, 10)])).counts() == {}


def random_pairs(count: int) -> list[PairOutcome]:
    rng = np.random.default_rng(3)
    pairs = []
    for index in range(count):
        sides = []
        for _ in range(2):
            starts = rng.integers(0, 90, int(rng.integers(0, 5)))
            sides.append([(int(start), int(start + rng.integers(2, 30))) for start in starts])
        names = {"phrase": f"phrase {index % 7}", "subset": ("one", "two")[index % 2], "image": f"{index // 3}"}
        pairs.append(strips(sides[0], sides[1], rng.uniform(0.3, 1, len(sides[1])).tolist(), **names))
    return pairs


def test_the_verdict_counts_as_the_metric_does() -> None:
    for outcome in random_pairs(80):
        verdict, score = judge(outcome), score_outcome(outcome)
        assert verdict.score().num_truths == score.num_truths
        assert verdict.score().num_predictions == score.num_predictions
        assert verdict.score().matches.tolist() == score.matches.tolist()
        for kind in MEANINGS:
            mended = verdict.mended(kind)
            assert mended.matches.max(initial=0) <= min(mended.num_truths, mended.num_predictions)
            assert (mended.matches >= score.matches).all()


def test_mended_by_hand() -> None:
    broken = strips([(0, 20), (20, 40), (50, 60), (80, 100)], [(0, 40), (65, 70), (80, 94)])
    assert judge(broken).mended("merged").matches.tolist() == [3, 3, 3, 3, 3, 2, 2, 2, 2, 2]
    assert judge(broken).mended("merged").num_predictions == 4
    assert judge(broken).mended("false").num_predictions == 2
    assert judge(broken).mended("missed").num_predictions == 4
    assert judge(broken).mended("loose").num_predictions == 3
    assert judge(broken).mended("loose").matches.tolist() == [2] + [1] * 9
    assert judge(strips([], [(0, 10)])).mended("absent").num_predictions == 0
    assert judge(strips([(0, 10)], [])).mended("overlooked").matches.tolist() == [1] * 10


def collect(pairs: Sequence[PairOutcome], keep: int = 12) -> Mistakes:
    mistakes = Mistakes(keep)
    for outcome in pairs:
        mistakes.add(outcome)
    return mistakes


def test_what_a_kind_costs() -> None:
    pairs = [
        strips([(0, 10)], [(0, 10)]),
        strips([], []),
        strips([], [(0, 10)], image="b.jpg"),
        strips([(0, 10)], [(0, 10), (50, 60)], image="b.jpg"),
    ]
    sums = {subset: rows[0] for subset, rows in weighted_sums(pairs, replicates=0).items()}
    gains = collect(pairs).gains(sums)
    assert gains["absent"]["IL_MCC"] == pytest.approx(1 - 2 / 12**0.5, abs=1e-5)
    assert gains["absent"]["positive_micro_F1"] == 0
    assert gains["false"]["positive_micro_F1"] == pytest.approx(1 - 0.8, abs=1e-3)
    assert gains["false"]["IL_MCC"] == gains["missed"]["cgF1"] == 0


def test_sums_by_subset_and_phrase() -> None:
    pairs = random_pairs(60)
    mistakes = collect(pairs)
    assert mistakes.total() == sum((judge(pair).counts() for pair in pairs), type(mistakes.pairs)())
    assert set(mistakes.counts) == {"one", "two"}
    assert sum(mistakes.phrases.values(), type(mistakes.pairs)()) == mistakes.total()
    assert mistakes.pairs["absent"] == sum("absent" in judge(pair).counts() for pair in pairs)


def test_the_worst_pair_of_each_phrase_is_kept_and_no_more_phrases_than_asked() -> None:
    pairs = [
        strips([], [(0, 10)], [score], phrase=phrase)
        for phrase, score in zip("aabbcd", (6, 9, 5, 8, 7, 5), strict=True)
    ]
    kept = collect(pairs, keep=3).worst("absent")
    assert [(item.outcome.phrase, item.severity) for item in kept] == [("a", 9), ("b", 8), ("c", 7)]
    assert collect(pairs, keep=3).worst("missed") == []


def test_large_instances_weigh_more() -> None:
    small, large = (strips([(0, width), (90, 100)], [(90, 100)], phrase=str(width)) for width in (4, 64))
    assert [item.severity for item in collect([small, large]).worst("missed")] == pytest.approx([0.8, 0.2])
