"""Figures of a model on labelled images in memory: over all phrases, and of each."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from masklet.eval.concepts.cgf1 import PairScore, total
from masklet.eval.concepts.outcomes import PairOutcome, score_outcome
from masklet.eval.metrics import SHORT_NAMES


def phrase_scores(outcomes: Iterable[PairOutcome]) -> tuple[dict[str, float | None], list[dict[str, Any]]]:
    """Figures of all pairs by their short names, and those of each phrase, as fractions; None where no pair gives one.

    A phrase has its numbers of images with and without it; its IL_MCC is None where one is 0.
    """
    by_phrase: dict[str, list[PairScore]] = defaultdict(list)
    for outcome in outcomes:
        by_phrase[outcome.phrase].append(score_outcome(outcome))
    found = total(pair for pairs in by_phrase.values() for pair in pairs).metrics()
    means = {ours: None if found[name] == -1 and "macro" in name else found[name] for name, ours in SHORT_NAMES.items()}
    rows = []
    for phrase, pairs in sorted(by_phrase.items()):
        positives = sum(pair.num_truths > 0 for pair in pairs)
        negatives = len(pairs) - positives
        metrics = total(pairs).metrics()
        figures = {
            "phrase": phrase,
            "cgF1": metrics["cgF1"],
            "pmF1": metrics["positive_micro_F1"],
            "IL_MCC": metrics["IL_MCC"] if positives and negatives else None,
        }
        rows.append({**figures, "positives": positives, "negatives": negatives})
    return means, rows
