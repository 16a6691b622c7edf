"""The tracker's task: run through a batch of clips as in use, with simulated users, and compare with the truth.

Differences from use, all as published but the last: four masks are kept apart instead of one being chosen by its
stability, remembered masks are soft everywhere, the latest frames are remembered whatever they show, and what is known
to be absent is remembered as absent.

Source: Ravi et al., SAM 2, appendix (training); SAM 3 paper, appendix (tracker: loss weights).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from masklet.data.tracking import TrackBatch
from masklet.models.click import PADDING_LABEL, ClickFeatures
from masklet.models.memory_bank import Memory, MemoryBank, Traversal, read_memory, recall
from masklet.models.tracker import GIVEN_LOGIT, MASK_CELLS, Tracker
from masklet.train.losses.terms import dice, sigmoid_focal
from masklet.train.tasks.clicks import corrected
from masklet.types import ClickPrompt

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TrackingLossConfig:
    """Weights and the two constants of the focal loss."""

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    presence: float = 1.0
    alpha: float = 0.25
    gamma: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the click head said of every object on one frame: the masks that count, and which is expected to be best."""

    frame: int
    mask_logits: Float[Tensor, "object mask height width"]
    iou_scores: Float[Tensor, "object mask"]
    object_logits: Float[Tensor, " object"]
    mask_tokens: Float[Tensor, "object mask dim"]

    @property
    def best(self) -> Float[Tensor, "object height width"]:
        """The mask with the highest expected IoU."""
        return self.mask_logits[self._rows]

    @property
    def best_token(self) -> Float[Tensor, "object dim"]:
        """What that mask was made from."""
        return self.mask_tokens[self._rows]

    @property
    def _rows(self) -> tuple[Tensor, Tensor]:
        chosen = self.iou_scores.argmax(dim=1)
        return torch.arange(len(chosen), device=chosen.device), chosen


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Masks of the objects at the resolution of the answers, as covered fractions, and the originals."""

    masks: Bool[Tensor, "object frame image_height image_width"]
    covered: Float[Tensor, "object frame height width"]
    seen: Bool[Tensor, "object frame"]

    @staticmethod
    def of(batch: TrackBatch, height: int, width: int) -> "Truth":
        """`height` and `width` are those of low-resolution masks."""
        covered = F.interpolate(batch.masks.float(), (height, width), mode="area")
        return Truth(masks=batch.masks, covered=covered, seen=batch.masks.flatten(2).any(dim=2))


class Rollout:
    """One pass through a batch. `answers` yields everything that is to be compared with the truth."""

    def __init__(
        self, tracker: Tracker, batch: TrackBatch, features: ClickFeatures, generator: torch.Generator
    ) -> None:
        self.tracker, self.batch, self.features, self.generator = tracker, batch, features, generator
        height, width = features.coarse.shape[-2:]
        self.truth = Truth.of(batch, MASK_CELLS * height, MASK_CELLS * width)
        self.position = self._precisely(lambda: tracker.click.prompts.code_grid(height, width))
        self.config = replace(tracker.memory.config, selective=False)
        self.bank = MemoryBank()

    def answers(self) -> Iterator[Answer]:
        """First the frames on which the objects are given, then the others in order."""
        given = self.batch.conditioning
        for row, frame in enumerate(given):
            seen = self._see(frame)
            if self.batch.pointing == "mask":
                self._accept(frame, seen)
            else:
                yield from self._interact(frame, row, seen)
        for frame in range(self.batch.num_frames):
            if frame not in given:
                yield self._track(frame)

    def _see(self, frame: int) -> ClickFeatures:
        """The features of a frame, once for each object."""
        rows = self.batch.clip_index * self.batch.num_frames + frame
        return self.features.map(lambda x: x[rows])

    def _answer(self, frame: int, seen: ClickFeatures, prompt: ClickPrompt, *, doubtful: bool) -> Answer:
        """Three masks where there is doubt, mask 0 where there is none."""
        click = self.tracker.click
        every = click.decoder(seen, self._precisely(lambda: click.prompts(prompt)), self.position)
        counted = slice(1, None) if doubtful else slice(0, 1)
        return Answer(
            frame=frame,
            mask_logits=every.mask_logits[:, counted].float(),
            iou_scores=every.iou_scores[:, counted].float(),
            object_logits=every.object_logits.float(),
            mask_tokens=every.mask_tokens[:, counted],
        )

    def _precisely(self, compute: Callable[[], T]) -> T:
        """Without autocast, which would round positions to half a pixel."""
        with torch.autocast(self.batch.masks.device.type, enabled=False):
            return compute()

    def _interact(self, frame: int, row: int, seen: ClickFeatures) -> Iterator[Answer]:
        """A box or a click, then corrections of what came of it."""
        alone = self.tracker.click.without_memory(seen)
        labels = self.batch.first_labels.expand(len(self.batch.masks), -1)
        prompt = ClickPrompt(points_xy=self.batch.first_points[:, row], point_labels=labels)
        answer = self._answer(frame, alone, prompt, doubtful=prompt.points_xy.shape[1] <= 1)
        yield answer
        for _ in range(self.batch.corrections):
            truth = self.truth.covered[:, frame] > 0.5
            prompt = corrected(prompt, answer.best, truth, self.generator)
            answer = self._answer(frame, alone, prompt, doubtful=False)
            yield answer
        self._remember(frame, seen, answer.best, answer.best_token)

    def _accept(self, frame: int, seen: ClickFeatures) -> None:
        """Masks that are given teach nothing themselves, but how they are remembered is learned."""
        height, width = self.tracker.memory_size(seen)
        masks = F.interpolate(self.truth.masks[:, frame : frame + 1].float(), (height, width), mode="bilinear")
        prompt = replace(self._nothing(), mask_logits=self.tracker.memory.mask_prompt(masks)[:, 0].float())
        answer = self._answer(frame, seen, prompt, doubtful=False)
        self._remember(frame, seen, GIVEN_LOGIT * (2 * masks[:, 0] - 1), answer.mask_tokens[:, 0])

    def _track(self, frame: int) -> Answer:
        memory = self.tracker.memory
        traversal = Traversal()  # of unknown length, as a clip stands for any part of a video
        reads = [read_memory(memory, recall(self.bank, frame, self.config, traversal), traversal)]
        seen = self._see(frame)
        answer = self._answer(
            frame, replace(seen, coarse=memory.look_back(seen.coarse, reads)), self._nothing(), doubtful=True
        )
        self._remember(frame, seen, answer.best, answer.best_token)
        return answer

    def _remember(self, frame: int, seen: ClickFeatures, mask_logits: Tensor, tokens: Tensor) -> None:
        if frame == self.batch.num_frames - 1:  # nobody will ask
            return
        there = torch.where(self.truth.seen[:, frame], GIVEN_LOGIT, -GIVEN_LOGIT)
        soft = torch.zeros(len(there), dtype=torch.bool, device=there.device)
        large = mask_logits if frame in self.batch.conditioning else self.tracker.enlarge(mask_logits)
        memory = Memory(
            mask_logits=mask_logits,
            object_logits=there,
            pointers=self.tracker.memory.point(tokens, there),
            maps=self.tracker.remember(seen, large, there, soft),
        )
        given = frame in self.batch.conditioning
        self.bank = self.bank.with_conditioning(frame, memory) if given else self.bank.with_tracked(frame, memory)

    def _nothing(self) -> ClickPrompt:
        num_objects, device = len(self.batch.masks), self.position.device
        return ClickPrompt(
            points_xy=torch.zeros(num_objects, 1, 2, device=device),
            point_labels=torch.full((num_objects, 1), PADDING_LABEL, dtype=torch.long, device=device),
        )


def answer_losses(answer: Answer, truth: Truth, config: TrackingLossConfig) -> dict[str, Tensor]:
    """Losses of one answer, each averaged over objects.

    Only the mask that fits best is told what it should have been; all are told how well they fit. An object that is not
    there teaches nothing but that.
    """
    target, seen = truth.covered[:, answer.frame], truth.seen[:, answer.frame].float()
    num_objects, num_masks = answer.iou_scores.shape
    logits = answer.mask_logits.flatten(2)
    labels = target.flatten(1)[:, None].expand_as(logits)
    focal = sigmoid_focal(logits, labels, alpha=config.alpha, gamma=config.gamma).mean(-1)
    overlap = dice(logits.flatten(0, 1), labels.flatten(0, 1)).view(num_objects, num_masks)
    chosen = (config.focal * focal + config.dice * overlap).argmin(dim=1, keepdim=True)
    error = (answer.iou_scores - _iou(logits > 0, labels > 0.5)).abs().mean(dim=1)
    presence = F.binary_cross_entropy_with_logits(answer.object_logits, seen)
    return {
        "focal": (seen * focal.gather(1, chosen)[:, 0]).mean(),
        "dice": (seen * overlap.gather(1, chosen)[:, 0]).mean(),
        "iou": (seen * error).mean(),
        "presence": presence,
    }


def _iou(a: Bool[Tensor, "*batch pixel"], b: Bool[Tensor, "*batch pixel"]) -> Float[Tensor, "*batch"]:
    return (a & b).sum(-1) / (a | b).sum(-1).clamp(min=1)


def rollout_losses(
    tracker: Tracker,
    batch: TrackBatch,
    trunk: Float[Tensor, "image trunk_dim height width"],
    config: TrackingLossConfig,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Means over the answers of the four losses, unweighted, and under `loss_total` their weighted sum."""
    rollout = Rollout(tracker, batch, tracker.tracker_features(trunk), generator)
    every = [answer_losses(answer, rollout.truth, config) for answer in rollout.answers()]
    means = {name: torch.stack([losses[name] for losses in every]).mean() for name in every[0]}
    total = sum((getattr(config, name) * value for name, value in means.items()), torch.zeros(()))
    return {"loss": total, **{f"loss_{name}": value for name, value in means.items()}}
