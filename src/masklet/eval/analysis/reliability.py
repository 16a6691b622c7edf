"""Calibration of predicted probabilities, and confidence intervals of shares."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

Z = 1.959963984540054  # standard deviations around the mean that hold 95 % of a normal distribution


def wilson(
    hits: Int64[np.ndarray, "*share"], trials: Int64[np.ndarray, "*share"]
) -> tuple[Float64[np.ndarray, "*share"], Float64[np.ndarray, "*share"]]:
    """Ends of the 95 % interval of shares, valid for few trials, too; 0 and 1 without any.

    Source: Wilson's score interval.
    """
    middle = hits + Z**2 / 2
    spread = Z * np.sqrt(hits * (trials - hits) / np.maximum(1, trials) + Z**2 / 4)
    low, high = (middle - spread) / (trials + Z**2), (middle + spread) / (trials + Z**2)
    return np.maximum(low, 0.0), np.minimum(high, 1.0)


@dataclass
class Reliability:
    """Predicted probability against how often it came true, in ten bins of equal width."""

    counts: Int64[np.ndarray, "10"] = field(default_factory=lambda: np.zeros(10, np.int64))
    hits: Int64[np.ndarray, "10"] = field(default_factory=lambda: np.zeros(10, np.int64))
    score_sums: Float64[np.ndarray, "10"] = field(default_factory=lambda: np.zeros(10))

    def add(self, scores: Float[np.ndarray, " prediction"], hits: Bool[np.ndarray, " prediction"]) -> None:
        """Counts predictions with scores in [0, 1]; 1 belongs to the last bin."""
        places = np.clip((scores * 10).astype(np.int64), 0, 9)
        self.counts += np.bincount(places, minlength=10)
        self.hits += np.bincount(places, hits, minlength=10).astype(np.int64)
        self.score_sums += np.bincount(places, scores, minlength=10)

    @property
    def confidence(self) -> Float64[np.ndarray, "10"]:
        """Mean score of each bin; NaN in an empty one."""
        return np.divide(self.score_sums, self.counts, out=np.full(10, np.nan), where=self.counts > 0)

    @property
    def accuracy(self) -> Float64[np.ndarray, "10"]:
        """Share of each bin that came true; NaN in an empty one."""
        return np.divide(self.hits, self.counts, out=np.full(10, np.nan), where=self.counts > 0)

    @property
    def interval(self) -> tuple[Float64[np.ndarray, "10"], Float64[np.ndarray, "10"]]:
        """Ends of the 95 % interval of `accuracy`; 0 and 1 in an empty bin."""
        return wilson(self.hits, self.counts)

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of the two over all predictions, in [0, 1]; NaN without any.

        Source: Guo et al., On Calibration of Modern Neural Networks.
        """
        if not self.counts.any():
            return float("nan")
        return float(np.nansum(self.counts * np.abs(self.accuracy - self.confidence)) / self.counts.sum())
