"""How crowded images are, how small what they show is, and which to take so that no kind of image outweighs others."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from masklet.engine.curation.describe import PLAIN, kinds_of_media
from masklet.engine.records import MaskRow
from masklet.engine.stages.mask_rows import overlap_table
from masklet.engine.stages.stage import Project
from masklet.ops.masks import rle_area

SMALL = 0.001  # of the image, below which a mask is small
TEMPERATURE = 0.5  # 0 takes images as they come, 1 takes every kind alike


@dataclass(frozen=True, kw_only=True)
class MediaProfile:
    """An image by its masks: their number, how much they overlap, the share of small ones; and its kind."""

    media_id: str
    uri: str
    kind: str
    masks: int
    crowdedness: float
    small: float


def profiles(project: Project) -> list[MediaProfile]:
    """The profiles of all images, from the masks that were proposed and not rejected, crowded ones first."""
    kinds = kinds_of_media(project)
    pairs: dict[str, list[str]] = {}
    for row in project.view.pairs():
        pairs.setdefault(row["media_id"], []).append(row["pair_id"])
    found = []
    for media in project.view.media():
        masks = [mask for pair_id in pairs.get(media["media_id"], ()) for mask in _masks(project, pair_id)]
        areas = [rle_area(mask.counts) / (mask.size[0] * mask.size[1]) for mask in masks]
        found.append(
            MediaProfile(
                media_id=media["media_id"],
                uri=media["uri"],
                kind=kinds.get(media["media_id"], PLAIN),
                masks=len(masks),
                crowdedness=round(crowdedness(masks), 4),
                small=round(sum(area < SMALL for area in areas) / max(1, len(areas)), 4),
            )
        )
    return sorted(found, key=lambda each: (-each.crowdedness, -each.masks, each.uri))


def _masks(project: Project, pair_id: str) -> list[MaskRow]:
    maskset = project.view.maskset(pair_id)
    if maskset is None:
        return []
    rejected = {r["subject"] for r in project.view.verdicts(pair_id, "mask") if r["label"] not in ("accept", "text")}
    masks = project.view.masks(maskset)
    return [mask for place, mask in enumerate(masks) if f"{maskset['maskset_id']}#{place}" not in rejected]


def crowdedness(masks: Sequence[MaskRow]) -> float:
    """The sum of the overlaps of all pairs of masks for each mask. Source: SAM 3 paper, appendix D."""
    if len(masks) < 2:
        return 0.0
    overlaps = overlap_table(masks, masks)
    return float(np.triu(overlaps, 1).sum()) / len(masks)


def balanced(
    groups: Mapping[str, str], count: int, *, temperature: float = TEMPERATURE, most: int | None = None
) -> list[str]:
    """So many names, rarer groups oftener than they come: by n to the minus temperature, and by names alone.

    `groups` is the group of each name; no group gives more than `most`.
    """
    sizes = Counter(groups.values())

    def place(name: str) -> float:
        """The sum of a geometric race: small for members of rare groups."""
        chance = (int(hashlib.sha256(f"balance {name}".encode()).hexdigest()[:12], 16) + 1) / 16**12
        return -np.log(chance) * sizes[groups[name]] ** temperature

    taken: Counter[str] = Counter()
    found = []
    for name in sorted(groups, key=lambda each: (place(each), each)):
        if most is None or taken[groups[name]] < most:
            taken[groups[name]] += 1
            found.append(name)
    return found[:count]
