"""Two runs over the same pairs: which is better, whether chance explains it, and where they differ.

The interval of a difference comes from a bootstrap in which both runs share the weights of images; the p-value from
approximate randomisation: how often the difference is as large when the results of each image are assigned to the runs
at random. Both need sums only, so the runs may list their pairs in any order.

Source: Noreen, Computer-Intensive Methods for Testing Hypotheses (approximate randomisation).
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Float64

from masklet.errors import InputError
from masklet.eval.analysis.bootstrap import Interval, WeightedSums, averaged, intervals, poisson, random_words
from masklet.eval.analysis.mistakes import Kept, Mistakes, Worst, judge
from masklet.eval.analysis.sweep import Sweep
from masklet.eval.concepts.cgf1 import PairScore, PairScores
from masklet.eval.concepts.outcomes import PairOutcome, RunFiles, read_outcomes, score_outcome
from masklet.formats.records import Id

PERMUTATIONS = 2000
MOST_KEPT = 8  # pairs that got better or worse, of those that show their concept and of those that do not
COMPARED = ("cgF1", "IL_MCC", "positive_micro_F1", "positive_macro_F1")

Key = tuple[str, Id]  # subset and pair


@dataclass(frozen=True)
class Difference:
    """A figure in both runs, the difference with its interval, and the p-value of the difference."""

    first: float
    second: float
    change: Interval
    p_value: float


@dataclass(frozen=True)
class PhraseChange:
    """Errors (instances missed or predicted wrongly) and F1 of a phrase in both runs, at score and IoU 0.5."""

    phrase: str
    pairs: int
    truths: int
    errors: tuple[int, int]
    f1: tuple[float, float]


@dataclass(frozen=True)
class PairChange:
    """A pair in both runs, and by how much its quality rose."""

    first: Kept
    second: Kept
    change: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The comparison of two runs; phrases with the greatest change of errors first."""

    num_pairs: int
    num_better: int
    num_worse: int
    figures: dict[str, Difference]
    phrases: list[PhraseChange]
    worse: list[PairChange]
    better: list[PairChange]
    sweeps: tuple[Sweep, Sweep]
    mistakes: tuple[Mistakes, Mistakes]


def compare_runs(first: RunFiles, second: RunFiles, *, seed: int = 0) -> Comparison:
    """Differences of the second run from the first.

    Raises: InputError when a run cannot be read, or the two are not over the same pairs.
    """
    run_a, run_b = _Run(first, swapped=False, seed=seed), _Run(second, swapped=True, seed=seed)
    seen: dict[Key, tuple[str, str, float]] = {}
    for outcome, quality in run_a.read():
        seen[_key(outcome)] = sys.intern(outcome.phrase), sys.intern(outcome.image), quality
    num_pairs, better, worse = len(seen), _Changed(1), _Changed(-1)
    for outcome, quality in run_b.read():
        change = quality - _partner(seen, outcome, first, second)
        if change:
            (better if change > 0 else worse).add(outcome, change)
    if seen:
        (subset, pair_id), (phrase, image, _) = next(iter(seen.items()))
        raise InputError(
            f"the runs differ: {len(seen)} pairs of {first.outcomes} are not in {second.outcomes}, "
            f"such as pair {pair_id} of {subset} ({phrase!r} in {image})"
        )
    return Comparison(
        num_pairs=num_pairs,
        num_better=better.count,
        num_worse=worse.count,
        figures=_differences(run_a, run_b),
        phrases=_phrase_changes(run_a.sweep, run_b.sweep),
        worse=worse.changes(first),
        better=better.changes(first),
        sweeps=(run_a.sweep, run_b.sweep),
        mistakes=(run_a.mistakes, run_b.mistakes),
    )


class _Run:
    """The sums of one run. In each random swap an image's results belong to the first run or to the second."""

    def __init__(self, files: RunFiles, *, swapped: bool, seed: int) -> None:
        self.files = files
        self.sums = WeightedSums(poisson(seed=seed))
        self.swaps = WeightedSums(partial(_coins, swapped=swapped, seed=seed))
        self.sweep, self.mistakes = Sweep(), Mistakes(keep=0)

    def read(self) -> Iterator[tuple[PairOutcome, float]]:
        """The pairs, counted, with the quality of each."""
        keys: set[Key] = set()
        for outcome in read_outcomes(self.files.outcomes):
            if _key(outcome) in keys:
                raise InputError(f"{self.files.outcomes}: pair {outcome.pair_id} of {outcome.subset} is there twice")
            keys.add(_key(outcome))
            for part in (self.sums, self.swaps, self.sweep, self.mistakes):
                part.add(outcome)
            yield outcome, quality_of(score_outcome(outcome))
        if not keys:
            raise InputError(f"{self.files.outcomes}: holds no pairs")


class _Changed:
    """Pairs whose quality rose, or fell: their number, and those that changed most with and without their concept."""

    def __init__(self, sign: int) -> None:
        self.sign, self.count = sign, 0
        self.kept = {True: Worst(MOST_KEPT), False: Worst(MOST_KEPT)}

    def add(self, outcome: PairOutcome, change: float) -> None:
        self.count += 1
        self.kept[len(outcome.iou) > 0].add(Kept(outcome, judge(outcome), abs(change)))

    def changes(self, first: RunFiles) -> list[PairChange]:
        """The kept pairs with their outcomes in the first run, which is read a second time."""
        wanted = {_key(item.outcome): item for worst in self.kept.values() for item in worst.sorted()}
        found: dict[Key, PairChange] = {}
        for outcome in read_outcomes(first.outcomes) if wanted else ():
            item = wanted.get(_key(outcome))
            if item is not None:
                before = Kept(outcome, judge(outcome), item.severity)
                found[_key(outcome)] = PairChange(before, item, self.sign * item.severity)
        return [found[key] for key in wanted]


def quality_of(pair: PairScore) -> float:
    """The quality of a pair in [0, 1]: its own F1 averaged over the IoU thresholds, 1 for a true negative."""
    if not pair.num_truths and not pair.num_predictions:
        return 1.0
    return float(PairScores.of([pair]).local_f1.mean())


def _key(outcome: PairOutcome) -> Key:
    return outcome.subset, outcome.pair_id


def _partner(seen: dict[Key, tuple[str, str, float]], outcome: PairOutcome, first: RunFiles, second: RunFiles) -> float:
    """The quality of the same pair in the first run, which is removed from `seen`."""
    name = f"pair {outcome.pair_id} of {outcome.subset}"
    found = seen.pop(_key(outcome), None)
    if found is None:
        raise InputError(
            f"the runs differ: {name} ({outcome.phrase!r} in {outcome.image}) is in {second.outcomes} "
            f"but not in {first.outcomes}"
        )
    if found[:2] != (outcome.phrase, outcome.image):
        raise InputError(
            f"the runs differ: {name} is {found[0]!r} in {found[1]} in {first.outcomes}, "
            f"but {outcome.phrase!r} in {outcome.image} in {second.outcomes}"
        )
    return found[2]


def _coins(images: Sequence[str], *, swapped: bool, seed: int) -> Float64[np.ndarray, "image permutation"]:
    """1 where the results of an image stay with their run; the other run has 1 where this has 0."""
    words = random_words(images, -(-PERMUTATIONS // 64), f"swaps {seed}")
    bits = np.unpackbits(words.view(np.uint8), axis=1)[:, :PERMUTATIONS].astype(np.float64)
    return 1 - bits if swapped else bits


def _differences(first: _Run, second: _Run) -> dict[str, Difference]:
    sums_a, sums_b = first.sums.sums(), second.sums.sums()
    replicates_a, replicates_b = averaged(sums_a), averaged(sums_b)
    changes = intervals({name: replicates_b[name] - replicates_a[name] for name in COMPARED})
    own, other = first.swaps.sums(), second.swaps.sums()
    heads = {subset: own[subset][1:] + other[subset][1:] for subset in own}
    tails = {subset: sums_a[subset][0] + sums_b[subset][0] - heads[subset] for subset in own}
    figures_of_heads, figures_of_tails = averaged(heads), averaged(tails)
    differences = {}
    for name in COMPARED:
        # Two-sided; the observed value counts as one of the permutations, so the p-value is never 0.
        by_chance = figures_of_heads[name] - figures_of_tails[name]
        as_large = np.abs(by_chance) >= abs(changes[name].value) - 1e-12
        differences[name] = Difference(
            first=float(replicates_a[name][0]),
            second=float(replicates_b[name][0]),
            change=changes[name],
            p_value=float((1 + as_large.sum()) / (1 + len(by_chance))),
        )
    return differences


def _phrase_changes(first: Sweep, second: Sweep) -> list[PhraseChange]:
    others = {found.phrase: found for found in second.phrases()}
    changes = [
        PhraseChange(
            phrase=found.phrase,
            pairs=found.pairs,
            truths=found.truths,
            errors=(found.errors, others[found.phrase].errors),
            f1=(found.f1, others[found.phrase].f1),
        )
        for found in first.phrases()
    ]
    return sorted(changes, key=lambda change: (-abs(change.errors[1] - change.errors[0]), change.phrase))
