"""Images that show the same: found by a perceptual hash, confirmed by their pixels, joined into clusters.

Labels of near-equal images are made once, splits never part a cluster, and images of a registered evaluation set are
kept out of everything that is learnt from.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt64

from masklet.engine.digests import digest_of
from masklet.engine.ledger.ledger import RULES
from masklet.engine.records import Author, Fact, Outcome, Unit
from masklet.engine.stages.stage import Project

MOST_BITS = 6  # of 64 that may differ
BLOCK = 2048


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """One unit for all images: clusters by their perceptual hashes."""

    name: str = "duplicates"
    version: int = 1
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
        for members in clusters([(row["media_id"], row["hash64"]) for row in media]):
            chosen = min(members, key=size.__getitem__)
            for media_id in members:
                key = digest_of("cluster", media_id, chosen, len(media))
                values = {"media_id": media_id, "representative": chosen, "position": len(media)}
                facts.append(Fact(table="cluster", values={"cluster_row_id": key} | values))
        return Outcome(facts=facts)


def clusters(hashes: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Groups of two or more names whose hashes differ in few bits, directly or through others."""
    names = [name for name, _ in hashes]
    values = np.array([int(text, 16) for _, text in hashes], np.uint64)
    parent = list(range(len(names)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    for left, right in near_pairs(values, MOST_BITS):
        parent[root(left)] = root(right)
    groups: dict[int, list[str]] = defaultdict(list)
    for index, name in enumerate(names):
        groups[root(index)].append(name)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def near_pairs(values: UInt64[np.ndarray, " image"], most_bits: int) -> Iterable[tuple[int, int]]:
    """Pairs of places whose 64 bits differ in at most so many; compared in blocks, so memory stays bounded."""
    for start in range(0, len(values), BLOCK):
        distance = np.bitwise_count(values[start : start + BLOCK, None] ^ values[None])
        for left, right in np.argwhere(distance <= most_bits).tolist():
            if start + left < right:
                yield start + left, right
