"""How far can a verifier be trusted? Its verdicts on masks or pairs against those of people.

What matters is rejection: how much of what is rejected deserved it (precision), how much of what deserved it is
rejected (recall), and how much that deserved it is let through (false accepts), which a snapshot of data inherits.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from masklet.errors import InputError
from masklet.eval.analysis.reliability import Reliability, wilson
from masklet.eval.sums import Summable
from masklet.formats.benchmarks import read_verdicts


@dataclass(frozen=True, kw_only=True)
class VerdictTally(Summable):
    """Items by what people said and what the verifier said; sums add up."""

    rejected_rightly: int = 0
    rejected_wrongly: int = 0
    accepted_rightly: int = 0
    accepted_wrongly: int = 0

    def metrics(self) -> dict[str, float]:
        """Figures in [0, 1], but kappa and MCC, which reach -1; a share of nothing is 0."""
        tp, fp = self.rejected_rightly, self.rejected_wrongly
        tn, fn = self.accepted_rightly, self.accepted_wrongly
        total = max(1, tp + fp + tn + fn)
        precision, recall = tp / max(1, tp + fp), tp / max(1, tp + fn)
        agreement = (tp + tn) / total
        chance = ((tp + fp) * (tp + fn) + (tn + fn) * (tn + fp)) / total**2
        spread = float((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5
        low, high = wilson(np.array([fn]), np.array([fn + tn]))
        return {
            "accuracy": agreement,
            "rejection_precision": precision,
            "rejection_recall": recall,
            "rejection_F1": 2 * precision * recall / (precision + recall) if tp else 0.0,
            "false_accept_rate": fn / max(1, fn + tn),
            "false_accept_low": float(low[0]),
            "false_accept_high": float(high[0]),
            "kappa": (agreement - chance) / (1 - chance) if chance < 1 else 0.0,
            "MCC": (tp * tn - fp * fn) / spread if spread else 0.0,
        }


def score_verdicts(people: Path, verifier: Path) -> dict[str, float]:
    """All figures, over the items that both judged; what only one judged is counted in `unmatched`.

    `ECE` is there when every verdict states its probability. Raises: InputError when no item is common.
    """
    true, said = read_verdicts(people), read_verdicts(verifier)
    common = [key for key in true if key in said]
    if not common:
        raise InputError(f"{people} and {verifier} have no item in common")
    tally = VerdictTally()
    for key in common:
        right = true[key].verdict == said[key].verdict
        name = f"{said[key].verdict}ed_{'rightly' if right else 'wrongly'}"
        tally += VerdictTally(**{name: 1})
    figures = tally.metrics() | {"items": len(common), "unmatched": len(true) + len(said) - 2 * len(common)}
    stated = [said[key].probability for key in common]
    known = [each for each in stated if each is not None]
    if len(known) == len(common):
        reliability = Reliability()
        reliability.add(np.array(known), np.array([true[key].verdict == "accept" for key in common]))
        figures["ECE"] = reliability.error
    return figures
