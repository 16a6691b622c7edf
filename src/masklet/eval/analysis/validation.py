"""Figures of a model on labelled pictures at hand: over all phrases, and of each."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from masklet.eval.concepts.cgf1 import ConceptCounts, PairScore, PairScores
from masklet.eval.concepts.count_rows import score_outcome
from masklet.eval.concepts.outcomes import PairOutcome

NAMES = {  # of `ConceptCounts.metrics`, and what they are called beside one another
    "cgF1": "cgF1",
    "IL_MCC": "IL_MCC",
    "positive_micro_F1": "pmF1",
    "positive_micro_F1@0.5": "pmF1@0.5",
    "positive_macro_F1": "macro_F1",
    "IL_precision": "IL_precision",
    "IL_recall": "IL_recall",
    "IL_FPR": "IL_FPR",
}


class PhraseScores:
    """Scores of pictures and phrases, one after the other."""

    def __init__(self) -> None:
        self.pairs: dict[str, list[PairScore]] = defaultdict(list)

    def add(self, outcome: PairOutcome) -> None:
        """One phrase of one picture."""
        self.pairs[outcome.phrase].append(score_outcome(outcome))

    def metrics(self) -> dict[str, float | None]:
        """Figures of all pairs by their names, as fractions; None where no pair gives a value."""
        found = _count(pair for pairs in self.pairs.values() for pair in pairs).metrics()
        return {ours: None if found[name] == -1 and "macro" in name else found[name] for name, ours in NAMES.items()}

    def phrases(self) -> list[dict[str, Any]]:
        """Figures of each phrase, and in how many pictures it is and is not; IL_MCC None where it is always the one."""
        rows = []
        for phrase, pairs in sorted(self.pairs.items()):
            counts = _count(pairs)
            positives = sum(pair.num_truths > 0 for pair in pairs)
            negatives = len(pairs) - positives
            metrics = counts.metrics()
            rows.append(
                {
                    "phrase": phrase,
                    "cgF1": metrics["cgF1"],
                    "pmF1": metrics["positive_micro_F1"],
                    "IL_MCC": counts.il_mcc if positives and negatives else None,
                    "positives": positives,
                    "negatives": negatives,
                }
            )
        return rows


def _count(pairs: Iterable[PairScore]) -> ConceptCounts:
    return ConceptCounts.of(PairScores.of(list(pairs)))
