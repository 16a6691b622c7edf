"""What people are asked, and in which order: the strange first, as they teach most and are soonest wrong.

A queue is a plain list of items, whichever page or file shows them. Tasks: `masks` (does this mask show the phrase?),
`exhaustivity` (is any instance left out?), `audit` (the same of some that nobody asked people about). Parts of the
second may be asked alone: `recheck` (corrections of others) and `negatives` (made from what an image shows).
"""

import hashlib
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from masklet.engine.records import MaskRow
from masklet.engine.stages.stage import Project
from masklet.engine.states import FINAL, State
from masklet.engine.verify.choices import EXHAUSTIVITY_ANSWERS, MASK_ANSWERS
from masklet.engine.view import Row
from masklet.errors import InputError
from masklet.ops.masks import rle_area

AUDIT_SHARE = 0.02  # of what models and rules decided alone, for ever
ANSWERS = {"masks": MASK_ANSWERS, "exhaustivity": EXHAUSTIVITY_ANSWERS, "audit": EXHAUSTIVITY_ANSWERS}
PARTS: Mapping[str, Callable[[Row], bool]] = {  # of the questions about exhaustivity
    "recheck": lambda pair: pair["state"] == State.RECHECK,
    "negatives": lambda pair: pair["parent_pair_id"] is not None,
}


@dataclass(frozen=True, kw_only=True)
class ReviewItem:
    """A question: about one mask of a set (`number`), or about all that were accepted (None)."""

    task: str
    pair_id: str
    media_id: str
    phrase: str
    maskset_id: str
    number: int | None
    masks: Sequence[MaskRow]
    strangeness: float


def queue(project: Project, task: str, *, limit: int | None = None) -> list[ReviewItem]:
    """The open questions of a task, strange ones first. Raises: InputError for a task that does not exist."""
    if task not in (*ANSWERS, *PARTS):
        raise InputError(f"there is no task {task!r}: choose from {', '.join((*ANSWERS, *PARTS))}")
    if task in PARTS:
        items = _whole_items(project, "exhaustivity", part=PARTS[task])
    else:
        items = _mask_items(project) if task == "masks" else _whole_items(project, task)
    return sorted(items, key=lambda item: (-item.strangeness, item.pair_id, item.number or 0))[:limit]


def _mask_items(project: Project) -> list[ReviewItem]:
    """The masks of pairs with a doubtful one, as far as nobody has judged them."""
    view = project.view
    found: list[ReviewItem] = []
    for pair in view.pairs(State.HUMAN_MASKS):
        maskset = view.maskset(pair["pair_id"])
        if maskset is None:
            continue
        judged = {row["subject"] for row in view.verdicts(pair["pair_id"], "mask")}
        for number, mask in enumerate(view.masks(maskset)):
            if f"{maskset['maskset_id']}#{number}" not in judged:
                found.append(_item("masks", pair, maskset, number, [mask], 0.0))
    scores = strangeness([item.phrase for item in found], [item.masks[0] for item in found])
    return [replace(item, strangeness=score) for item, score in zip(found, scores, strict=True)]


def strangeness(phrases: Sequence[str], masks: Sequence[MaskRow]) -> list[float]:
    """How unlike the others of its phrase each mask is, in size and shape, and how doubtful its score."""
    groups: dict[str, list[int]] = defaultdict(list)
    for index, phrase in enumerate(phrases):
        groups[phrase].append(index)
    values = [0.0] * len(masks)
    for members in groups.values():
        shapes = np.array([_shape(masks[index]) for index in members])
        middle = np.median(shapes, axis=0)
        spread = np.median(np.abs(shapes - middle), axis=0) + 0.1
        far = (np.abs(shapes - middle) / spread).mean(axis=1)
        for index, distance in zip(members, far.tolist(), strict=True):
            doubt = 1 - abs(2 * masks[index].score - 1)
            values[index] = round(math.tanh(distance / 4) + doubt, 6)
    return values


def _shape(mask: MaskRow) -> tuple[float, float, float]:
    x0, y0, x1, y1 = mask.box
    area = max(1, rle_area(mask.counts)) / (mask.size[0] * mask.size[1])
    width, height = max(1.0, x1 - x0), max(1.0, y1 - y0)
    return math.log(area), math.log(width / height), area * mask.size[0] * mask.size[1] / (width * height)


def _whole_items(
    project: Project, task: str, *, share: float = AUDIT_SHARE, part: Callable[[Row], bool] = lambda _: True
) -> list[ReviewItem]:
    view = project.view
    states = (State.HUMAN_PENDING, State.RECHECK) if task == "exhaustivity" else tuple(FINAL)
    items = []
    for pair in filter(part, view.pairs(*states)):
        if task == "audit" and not (is_audited(pair["pair_id"], share) and _untouched(project, pair)):
            continue
        maskset = view.maskset(pair["pair_id"])
        if maskset is not None:
            masks = view.masks(maskset)
            accepted = [masks[number] for number in view.accepted(pair["pair_id"], maskset)]
            presence = maskset["presence"] or 0.0
            items.append(_item(task, pair, maskset, None, accepted, 1 - presence if accepted else presence))
    return items


def unseen(project: Project) -> list[ReviewItem]:
    """Every final pair that nobody looked at, as questions of the audit, in an order by their names' digests."""
    return sorted(
        _whole_items(project, "audit", share=1.0),
        key=lambda item: hashlib.sha256(f"unseen {item.pair_id}".encode()).hexdigest(),
    )


def is_audited(pair_id: str, share: float = AUDIT_SHARE) -> bool:
    """Whether people look at a pair that was decided without them; by its name alone, so that no run changes it."""
    place = int(hashlib.sha256(f"audit {pair_id}".encode()).hexdigest()[:8], 16) / 2**32
    return place < share


def _untouched(project: Project, pair: Row) -> bool:
    return all(row["kind"] != "person" for row in project.view.verdicts(pair["pair_id"]))


def mask_item(project: Project, pair: Row, maskset: Row, number: int) -> ReviewItem:
    """The question about one mask."""
    return _item("masks", pair, maskset, number, [project.view.masks(maskset)[number]], 0.0)


def _item(
    task: str, pair: Row, maskset: Row, number: int | None, masks: Sequence[MaskRow], strange: float
) -> ReviewItem:
    return ReviewItem(
        task=task,
        pair_id=pair["pair_id"],
        media_id=pair["media_id"],
        phrase=pair["text"],
        maskset_id=maskset["maskset_id"],
        number=number,
        masks=masks,
        strangeness=strange,
    )
