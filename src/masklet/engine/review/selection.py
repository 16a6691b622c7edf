"""What to ask people first: orders of open questions, each a plug-in that scores questions by what is known of them.

Source: Lewis and Gale (1994) for uncertainty, Seung, Opper and Sompolinsky (1992) for disagreement, Sener and Savarese
(2018) for the core set.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

import numpy as np
from jaxtyping import Float

from masklet.engine.curation.describe import vectors_of
from masklet.engine.review.queues import ReviewItem
from masklet.engine.stages.stage import Project
from masklet.errors import InputError

Order = Callable[[Project, Sequence[ReviewItem]], Sequence[float]]  # the highest first


def _strange(project: Project, items: Sequence[ReviewItem]) -> Sequence[float]:
    """Unlike the others of its phrase, in size and shape, and doubtful: the order of the sheet by default."""
    del project
    return [item.strangeness for item in items]


def _random(project: Project, items: Sequence[ReviewItem]) -> Sequence[float]:
    """By the digest of its name: the same in every run, and a baseline for the others."""
    del project
    digests = (hashlib.sha256(f"random {item.pair_id} {item.number}".encode()).hexdigest() for item in items)
    return [int(digest[:12], 16) / 16**12 for digest in digests]


def _uncertain(project: Project, items: Sequence[ReviewItem]) -> Sequence[float]:
    """The nearer to even odds the first: the score of a mask, or the presence of the phrase."""
    return [1 - abs(2 * _probability(project, item) - 1) for item in items]


def _probability(project: Project, item: ReviewItem) -> float:
    if item.number is not None:
        return item.masks[0].score
    maskset = project.view.maskset_by_id(item.maskset_id)
    return (maskset or {}).get("presence") or 0.0


def _disagreeing(project: Project, items: Sequence[ReviewItem]) -> Sequence[float]:
    """Where sources contradict: masks of low score though the phrase is surely there, or the other way round."""
    found = []
    for item in items:
        maskset = project.view.maskset_by_id(item.maskset_id) or {}
        presence = maskset.get("presence") or 0.0
        best = max((mask.score for mask in item.masks), default=0.0)
        found.append(abs(presence - best))
    return found


def _core_set(project: Project, items: Sequence[ReviewItem]) -> Sequence[float]:
    """Each question as unlike as can be, by its image, to all that come before it."""
    vectors = vectors_of(project)
    missing = sorted({item.media_id for item in items} - vectors.keys())
    if missing:
        raise InputError(f"{len(missing)} images have no vector yet: run `masklet engine describe` first")
    rank = farthest_first(np.stack([vectors[item.media_id] for item in items]))
    scores = np.empty(len(items))
    scores[rank] = -np.arange(len(items), dtype=float)
    return scores.tolist()


def farthest_first(vectors: Float[np.ndarray, "item dim"]) -> list[int]:
    """Places so that each is the farthest from all before it; the first is the one nearest to the middle."""
    first = int(np.linalg.norm(vectors - vectors.mean(axis=0), axis=1).argmin())
    distance = np.linalg.norm(vectors - vectors[first], axis=1)
    distance[first] = -1
    found = [first]
    while len(found) < len(vectors):
        chosen = int(distance.argmax())
        found.append(chosen)
        distance = np.minimum(distance, np.linalg.norm(vectors - vectors[chosen], axis=1))
        distance[found] = -1
    return found


ORDERS: Mapping[str, Order] = {
    "strange": _strange,
    "random": _random,
    "uncertainty": _uncertain,
    "disagreement": _disagreeing,
    "coreset": _core_set,
}


def ordered(project: Project, items: Sequence[ReviewItem], order: str) -> list[ReviewItem]:
    """The questions in an order, those of a pair together, for only a pair that is answered whole can go on.

    Raises: InputError for an order that does not exist.
    """
    if order not in ORDERS:
        raise InputError(f"there is no order {order!r}: choose from {', '.join(ORDERS)}")
    scores = ORDERS[order](project, items) if items else []
    by_pair: dict[str, list[float]] = defaultdict(list)
    for score, item in zip(scores, items, strict=True):
        by_pair[item.pair_id].append(score)
    of_pair = {pair_id: fmean(several) for pair_id, several in by_pair.items()}  # not the most: that favours many masks

    def place(each: tuple[float, ReviewItem]) -> tuple[float, str, float, int]:
        score, item = each
        return -of_pair[item.pair_id], item.pair_id, -score, item.number or 0

    return [item for _, item in sorted(zip(scores, items, strict=True), key=place)]
