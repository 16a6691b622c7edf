"""One owner a region: concepts that were asked together, and that a thing can be only one of, compete for it.

SAM 3 asks each phrase by itself, so one thing may be found as a "car" and as a "truck". Which of them it is can be told
by the scores of both. Phrases that may well share a thing never compete: a kind and an attribute of it ("car", "red
car"), a thing and its part ("car", "car door"), and whatever pairs the caller names.
"""

from collections.abc import Collection, Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32

from masklet.query.vocabulary import singular

SAME = 0.5  # IoU at which two masks claim one thing


def may_share(one: str, other: str) -> bool:
    """Whether a thing can be both by what the phrases say: one of them has the other's noun."""
    nouns = singular(one.rsplit(maxsplit=1)[-1]), singular(other.rsplit(maxsplit=1)[-1])
    words = {singular(word) for word in one.split()}, {singular(word) for word in other.split()}
    return nouns[0] in words[1] or nouns[1] in words[0]


def owners(
    phrases: Sequence[str],
    scores: Float32[np.ndarray, " instance"],
    iou: Float[np.ndarray, "instance instance"],
    together: Collection[tuple[str, str]] = (),
) -> Bool[np.ndarray, " instance"]:
    """Which instances stay: the surest of each set that claims one thing under phrases that exclude each other."""
    allowed = {frozenset(pair) for pair in together}
    kept = np.ones(len(phrases), dtype=bool)
    for place in map(int, np.argsort(-scores, kind="stable")):
        if not kept[place]:
            continue
        for other in map(int, np.flatnonzero(kept & (iou[place] >= SAME))):
            one, two = phrases[place], phrases[other]
            is_rival = one != two and frozenset((one, two)) not in allowed and not may_share(one, two)
            kept[other] = other == place or not (is_rival and scores[other] <= scores[place])
    return kept
