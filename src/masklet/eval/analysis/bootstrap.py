"""Confidence intervals of figures by a Poisson bootstrap over images.

Each replicate gives every image a weight from a Poisson distribution of mean 1, drawn from a hash of the image's name.
All pairs of an image share it, whatever the order, the process or the run they are counted in, so sums of parts are the
sum of the whole and two runs are compared under the same weights.

Source: Chamandy et al., Estimating uncertainty for massive data streams (the bootstrap by independent Poisson weights).
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from jaxtyping import Float64, UInt64

from masklet.eval.concepts.cgf1 import NUM_COLUMNS, ConceptCounts, PairScore, PairScores
from masklet.eval.concepts.outcomes import PairOutcome, score_outcome

REPLICATES = 500
LEVEL = 0.95
_CHUNK = 2048  # pairs that are counted together
_BITS = 16  # of randomness in a weight: its mean is 1 to within 1e-5


@dataclass(frozen=True)
class Interval:
    """A figure and the percentiles between which 95 % of the replicates lie; NaN where there is no value."""

    value: float
    low: float
    high: float


Weigh = Callable[[Sequence[str]], Float64[np.ndarray, "image replicate"]]


def poisson(replicates: int = REPLICATES, seed: int = 0) -> Weigh:
    """Weights of a bootstrap: a random count for each image, 1 on average."""
    return partial(poisson_weights, replicates=replicates, seed=seed)


@dataclass
class WeightedSums:
    """Summed count rows of each subset: the plain sum first, then one for each replicate that `weigh` gives weights."""

    weigh: Weigh = field(default_factory=poisson)
    _sums: dict[str, np.ndarray] = field(default_factory=dict)
    _waiting: list[tuple[str, str, PairScore]] = field(default_factory=list)

    def add(self, outcome: PairOutcome) -> None:
        """Counts a pair."""
        self._waiting.append((outcome.image, outcome.subset, score_outcome(outcome)))
        if len(self._waiting) >= _CHUNK:
            self._count()

    def sums(self) -> dict[str, Float64[np.ndarray, "replicate column"]]:
        """Summed rows of each subset, in the order they were met; row 0 is the plain sum."""
        self._count()
        return dict(self._sums)

    def _count(self) -> None:
        by_subset: dict[str, list[tuple[str, PairScore]]] = {}
        for image, subset, pair in self._waiting:
            by_subset.setdefault(subset, []).append((image, pair))
        for subset, pairs in by_subset.items():
            places = {image: place for place, image in enumerate(dict.fromkeys(image for image, _ in pairs))}
            rows = np.zeros((len(places), NUM_COLUMNS))
            scores = PairScores.of([pair for _, pair in pairs])
            np.add.at(rows, [places[image] for image, _ in pairs], scores.rows())
            weights = self.weigh(list(places))
            sums = self._sums.setdefault(subset, np.zeros((1 + weights.shape[1], NUM_COLUMNS)))
            sums[0] += rows.sum(axis=0)
            sums[1:] += weights.T @ rows
        self._waiting = []


def averaged(sums: dict[str, Float64[np.ndarray, "replicate column"]]) -> dict[str, Float64[np.ndarray, " replicate"]]:
    """Each figure in each replicate as published: the unweighted mean of the subsets that have it."""
    parts = [ConceptCounts(sums=part).figures() for part in sums.values()]
    means = {}
    for name in parts[0]:
        values = np.stack([part[name] for part in parts])
        known = np.isfinite(values)
        count, total = known.sum(axis=0), np.where(known, values, 0).sum(axis=0)
        means[name] = np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
    return means


def intervals(replicates: dict[str, Float64[np.ndarray, " replicate"]]) -> dict[str, Interval]:
    """Percentile intervals of figures whose first entry is the value itself."""
    tail, found = (1 - LEVEL) / 2, {}
    for name, values in replicates.items():
        drawn = values[1:][np.isfinite(values[1:])]
        low, high = np.quantile(drawn, [tail, 1 - tail]) if drawn.size else (np.nan, np.nan)
        found[name] = Interval(float(values[0]), float(low), float(high))
    return found


def poisson_weights(images: Sequence[str], replicates: int, seed: int) -> Float64[np.ndarray, "image replicate"]:
    """The weight of each image in each replicate; a function of its name and the seed alone."""
    per_word = 64 // _BITS
    words = random_words(images, -(-replicates // per_word), f"weights {seed}")
    return _COUNT_OF_BITS[words.view(np.uint16)[:, :replicates]]


def random_words(images: Sequence[str], count: int, purpose: str) -> UInt64[np.ndarray, "image word"]:
    """Random bits that depend on the name of the image and the purpose only. Source: Steele et al., SplitMix64."""
    seeds = [hashlib.blake2b(f"{purpose}\0{image}".encode("utf-8", "surrogatepass"), digest_size=8) for image in images]
    start = np.frombuffer(b"".join(seed.digest() for seed in seeds), "<u8").astype(np.uint64)
    words = start[:, None] + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _poisson_table() -> np.ndarray:
    """The Poisson count for each of the equally likely values of `_BITS` bits."""
    terms = np.exp(-1) / np.cumprod(np.maximum(1, np.arange(16)))
    places = (np.arange(2**_BITS) + 0.5) / 2**_BITS
    return np.searchsorted(np.cumsum(terms), places).astype(np.float64)


_COUNT_OF_BITS = _poisson_table()
