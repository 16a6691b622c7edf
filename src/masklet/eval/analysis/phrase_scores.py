"""Figures of a model on labelled images in memory: over all phrases, and of each."""

from collections import defaultdict
from typing import Any

from masklet.eval.concepts.cgf1 import PairScore, total
from masklet.eval.concepts.outcomes import PairOutcome, score_outcome
from masklet.eval.metrics import SHORT_NAMES


class PhraseScores:
    """Scores of pairs of an image and a phrase, added one at a time."""

    def __init__(self) -> None:
        self.pairs: dict[str, list[PairScore]] = defaultdict(list)

    def add(self, outcome: PairOutcome) -> None:
        """Adds one phrase of one image."""
        self.pairs[outcome.phrase].append(score_outcome(outcome))

    def metrics(self) -> dict[str, float | None]:
        """Figures of all pairs by their short names, as fractions; None where no pair gives a value."""
        found = total(pair for pairs in self.pairs.values() for pair in pairs).metrics()
        return {
            ours: None if found[name] == -1 and "macro" in name else found[name] for name, ours in SHORT_NAMES.items()
        }

    def phrases(self) -> list[dict[str, Any]]:
        """Figures of each phrase, and its numbers of images with and without it; IL_MCC is None where one is 0."""
        rows = []
        for phrase, pairs in sorted(self.pairs.items()):
            counts = total(pairs)
            positives = sum(pair.num_truths > 0 for pair in pairs)
            negatives = len(pairs) - positives
            metrics = counts.metrics()
            rows.append(
                {
                    "phrase": phrase,
                    "cgF1": metrics["cgF1"],
                    "pmF1": metrics["positive_micro_F1"],
                    "IL_MCC": float(counts.il_mcc) if positives and negatives else None,
                    "positives": positives,
                    "negatives": negatives,
                }
            )
        return rows
