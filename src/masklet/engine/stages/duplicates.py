"""Images that show the same: found by a perceptual hash, confirmed by their pixels, joined into clusters.

Labels of near-equal images are made once, splits never part a cluster, and images of a registered evaluation set are
kept out of everything that is learnt from.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, UInt64
from PIL import Image

from masklet.engine.digests import digest_of
from masklet.engine.ledger.ledger import RULES
from masklet.engine.records import Author, Fact, Outcome, Unit
from masklet.engine.stages.stage import Project
from masklet.errors import InputError
from masklet.protocols import Pixels

MOST_BITS = 6  # of 64 that may differ; then pixels are compared
BLOCK, WIDE = 2048, 8192
SIDE = 16  # of the copies whose colours are compared
MOST_OFF = 12.0  # of 255, that is left of the mean difference after brightness and contrast are made the same
MOST_CONTRAST = 2.5  # by which one may be stronger than the other
MOST_LIGHT = 60.0  # of 255, by which one may be lighter
Small = Float[np.ndarray, "16 16 3"]


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """One unit for all images: clusters by their perceptual hashes."""

    name: str = "duplicates"
    version: int = 2
    actor: Author = RULES

    def plan(self, project: Project) -> Sequence[Unit]:
        """Again whenever images came in."""
        media = project.view.media()
        if not media:
            return []
        key = digest_of([row["media_id"] for row in media])
        return [Unit(stage=self.name, version=self.version, subject="all", inputs=[key])]

    def run(self, project: Project, subject: str) -> Outcome:  # noqa: ARG002 - there is one subject
        """A row for each image that has duplicates; the largest of a cluster stands for it."""
        media = project.view.media()
        size = {row["media_id"]: (-row["width"] * row["height"], row["uri"]) for row in media}
        facts = []

        @cache
        def small(media_id: str) -> Small | None:
            try:
                return small_copy(project.picture(media_id))
            except InputError:  # it is gone: nothing is known of it but its hash
                return None

        def is_same(left: str, right: str) -> bool:
            first, second = small(left), small(right)
            return first is not None and second is not None and looks_alike(first, second)

        for members in clusters([(row["media_id"], row["hash64"]) for row in media], is_same):
            chosen = min(members, key=size.__getitem__)
            for media_id in members:
                key = digest_of("cluster", media_id, chosen, len(media))
                values = {"media_id": media_id, "representative": chosen, "position": len(media)}
                facts.append(Fact(table="cluster", values={"cluster_row_id": key} | values))
        return Outcome(facts=facts)


def small_copy(image: Pixels) -> Small:
    """What colours are compared at, whatever the image's size and shape."""
    return np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BOX), float)


def looks_alike(first: Small, second: Small) -> bool:
    """Whether one is the other in another light: a hash alone takes all plain images for the same."""
    off = float(second.mean() - first.mean())
    spread = float(first.std()), float(second.std())
    if abs(off) > MOST_LIGHT or max(spread) + 1 > MOST_CONTRAST * (min(spread) + 1):
        return False
    contrast = spread[1] / spread[0] if min(spread) >= 1 else 1.0
    rest = (second - second.mean()) - contrast * (first - first.mean())
    return float(np.abs(rest).mean()) <= MOST_OFF


def clusters(
    hashes: Sequence[tuple[str, str]], is_same: Callable[[str, str], bool] = lambda _left, _right: True
) -> list[list[str]]:
    """Groups of two or more names whose hashes differ in few bits and that are the same, directly or through others."""
    names = [name for name, _ in hashes]
    values = np.array([int(text, 16) for _, text in hashes], np.uint64)
    parent = list(range(len(names)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for left, right in near_pairs(values, MOST_BITS):
        if root(left) != root(right) and is_same(names[left], names[right]):
            parent[root(left)] = root(right)
    groups: dict[int, list[str]] = defaultdict(list)
    for index, name in enumerate(names):
        groups[root(index)].append(name)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def near_pairs(values: UInt64[np.ndarray, " image"], most_bits: int) -> Iterable[tuple[int, int]]:
    """Pairs of places whose 64 bits differ in at most so many; compared in blocks, so memory stays bounded."""
    for start in range(0, len(values), BLOCK):
        for other in range(start - start % WIDE, len(values), WIDE):
            distance = np.bitwise_count(values[start : start + BLOCK, None] ^ values[None, other : other + WIDE])
            for left, right in np.argwhere(distance <= most_bits).tolist():
                if start + left < other + right:
                    yield start + left, other + right
