"""People of the small world: they answer what is asked and correct what waits, for as long as they have time."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from masklet.engine.records import Author, MaskRow
from masklet.engine.review.corrections import WAITING, correct, to_row
from masklet.engine.review.intake import take_in
from masklet.engine.review.queues import ReviewItem, queue
from masklet.engine.review.selection import ordered
from masklet.engine.review.verdict_file import Decision, VerdictFile
from masklet.engine.stages.stage import Project
from masklet.engine.verify.choices import MaskItem
from masklet.engine.verify.oracle import RIGHT_IOU, Truth, is_complete, is_right
from masklet.ops.masks import mask_iou, rle_decode

from engine_world import true_masks  # isort: skip

ANSWER_SECONDS, CORRECTION_SECONDS = 2.0, 30.0  # of a sheet; of a pair in a tool, the paper's figures lie above


def answered(project: Project, item: ReviewItem, truth: Truth = true_masks) -> Decision:
    """What somebody who is never wrong says of a mask, or of all masks of a pair."""
    if item.number is None:
        is_yes = is_complete(project.picture(item.media_id), item.phrase, item.masks, truth)
    else:
        question = MaskItem(
            read=lambda: project.picture(item.media_id), phrase=item.phrase, mask=item.masks[0], presence=1.0
        )
        is_yes = is_right(question, truth)
    return Decision(
        pair=item.pair_id,
        maskset=item.maskset_id,
        number=item.number,
        label="accept" if is_yes else "reject",
        seconds=ANSWER_SECONDS,
    )


def answer_open(
    project: Project,
    task: str,
    seconds: float,
    *,
    order: str = "strange",
    name: str = "person",
    truth: Truth = true_masks,
) -> float:
    """Answers the first questions of a task; the seconds that are left."""
    items = ordered(project, queue(project, task), order)[: int(seconds // ANSWER_SECONDS)]
    said = [answered(project, item, truth) for item in items]
    take_in(project, VerdictFile(format="masklet-verdicts", version=1, task=task, answers=said), name)  # type: ignore[arg-type]
    return seconds - ANSWER_SECONDS * len(items)


def correct_waiting(project: Project, seconds: float, *, name: str = "person", truth: Truth = true_masks) -> float:
    """Corrects the first pairs that wait; the seconds that are left."""
    actor = Author(kind="person", name=name)
    for pair in project.view.pairs(*WAITING)[: int(seconds // CORRECTION_SECONDS)]:
        masks = truth(project.picture(pair["media_id"]), pair["text"])
        project.view.ledger.act(correct(project, pair, [to_row(mask) for mask in masks], actor), actor)
        seconds -= CORRECTION_SECONDS
    return seconds


@dataclass
class Annotator:
    """Somebody who takes time for each thing, and is wrong now and then: an answer turned round, an object left out."""

    name: str
    slip: float
    look: float = 6.0  # seconds to see whether any instance is left out of a photo
    draw: float = 25.0  # for a mask
    truth: Truth = true_masks
    seconds: float = 0.0
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def slips(self) -> bool:
        """Whether this time it goes wrong."""
        return bool(self.chance.random() < self.slip)

    def from_scratch(self, image: np.ndarray, phrase: str) -> bool:
        """Labels a pair by hand; whether it is right."""
        self.seconds += self.look + self.draw * len(self.truth(image, phrase))
        return not self.slips()

    def answer(self, project: Project, task: str, items: Sequence[ReviewItem]) -> None:
        """Answers questions of a task."""
        each = ANSWER_SECONDS if task == "masks" else self.look
        said = [answered(project, item, self.truth) for item in items]
        turned = {"accept": "reject", "reject": "accept"}
        given = [replace(one, label=turned[one.label] if self.slips() else one.label, seconds=each) for one in said]
        take_in(project, VerdictFile(format="masklet-verdicts", version=1, task=task, answers=given), self.name)  # type: ignore[arg-type]
        self.seconds += each * len(items)

    def correct(self, project: Project) -> None:
        """Draws what is missing or badly drawn in every pair that waits."""
        actor = Author(kind="person", name=self.name)
        for pair in project.view.pairs(*WAITING):
            image = project.picture(pair["media_id"])
            masks, maskset = self.truth(image, pair["text"]), project.view.maskset(pair["pair_id"])
            there = project.view.masks(maskset) if maskset else []
            seconds = self.look + self.draw * sum(not _is_drawn(mask, there) for mask in masks)
            kept = masks[:-1] if masks and self.slips() else masks
            rows = [to_row(mask) for mask in kept]
            project.view.ledger.act(correct(project, pair, rows, actor, seconds=seconds), actor)
            self.seconds += seconds


def _is_drawn(mask: np.ndarray, there: Sequence[MaskRow]) -> bool:
    found = [rle_decode(row.counts, *row.size) for row in there]
    return bool(found) and bool(mask_iou(mask[None], np.stack(found)).max() >= RIGHT_IOU)


def shares(project: Project, truth: Truth = true_masks) -> tuple[float, float]:
    """Of all pairs the share that is final and right, and of the final ones the share that is right."""
    final = project.view.annotations()
    right = 0
    for row in final:
        maskset = project.view.maskset_by_id(row["maskset_id"])
        masks = project.view.masks(maskset) if maskset else []
        kept = [masks[number] for number in project.view.accepted(row["pair_id"], maskset)] if maskset else []
        right += is_complete(project.picture(row["media_id"]), row["text"], kept, truth)
    return right / max(1, len(project.view.pairs())), right / max(1, len(final))
