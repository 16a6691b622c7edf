"""Which answers of a model are taken, and which are asked of people: bands of probability from audited answers.

Source: Wilson (1927), Probable Inference: bounds of a share from few observations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Z95 = 1.96
MOST_FALSE = 0.05  # upper bound of the share of wrong answers that is let pass


def wilson(hits: int, total: int, z: float = Z95) -> tuple[float, float]:
    """Lower and upper bound of a share; (0, 1) of nothing."""
    if total == 0:
        return 0.0, 1.0
    share, square = hits / total, z * z / total
    middle = share + square / 2
    reach = z * math.sqrt(share * (1 - share) / total + square / (4 * total))
    low, high = (middle - reach) / (1 + square), (middle + reach) / (1 + square)
    return max(0.0, min(low, share)), min(1.0, max(high, share))  # which rounding would otherwise leave out


@dataclass(frozen=True, kw_only=True)
class Bands:
    """An answer of at least `accept` is taken as yes, of at most `reject` as no; between them people are asked."""

    accept: float
    reject: float

    def side(self, probability: float) -> bool | None:
        """True, False, or None for people."""
        if probability >= self.accept:
            return True
        return False if probability <= self.reject else None


def fit_bands(probabilities: Sequence[float], truths: Sequence[bool], *, most_false: float) -> Bands:
    """The widest bands whose shares of wrong answers have upper Wilson bounds of at most `most_false`.

    Empty bands (accept above 1, reject below 0) where no threshold keeps the bound: then everything goes to people.
    """
    order = np.argsort(-np.asarray(probabilities, float), kind="stable")
    sorted_p, sorted_t = np.asarray(probabilities, float)[order], np.asarray(truths, bool)[order]

    def widest(values: np.ndarray, wrong: np.ndarray) -> float | None:
        best = None
        for count in range(1, len(values) + 1):
            is_edge = count == len(values) or values[count] != values[count - 1]
            if is_edge and wilson(int(wrong[:count].sum()), count)[1] <= most_false:
                best = float(values[count - 1])
        return best

    accept = widest(sorted_p, ~sorted_t)
    reject = widest(sorted_p[::-1], sorted_t[::-1])
    accept = math.inf if accept is None else accept
    reject = -math.inf if reject is None else reject
    return Bands(accept=accept, reject=min(reject, math.nextafter(accept, -math.inf)))


def expected_calibration_error(probabilities: Sequence[float], truths: Sequence[bool], bins: int = 10) -> float:
    """Mean distance of probability and share of truths over bins of equal width, by their sizes."""
    said, true = np.asarray(probabilities, float), np.asarray(truths, bool)
    places = np.minimum((said * bins).astype(int), bins - 1)
    inside = [places == place for place in range(bins) if (places == place).any()]
    return sum(float(each.sum() * abs(said[each].mean() - true[each].mean())) for each in inside) / max(1, len(true))
