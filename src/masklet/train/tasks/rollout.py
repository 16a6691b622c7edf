"""One pass of the tracker through a batch of clips as in use, with simulated users.

Differences from use, all as published but the last: four masks are kept apart instead of one being chosen by its
stability, remembered masks are soft everywhere, the latest frames are remembered whatever they show, and what is known
to be absent is remembered as absent.

Source: Ravi et al., SAM 2, appendix (training).
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from masklet.data.tracking import TrackBatch
from masklet.models.click import ClickFeatures
from masklet.models.memory_bank import Memory, MemoryBank, Traversal, read_memory, recall
from masklet.models.tracker import GIVEN_LOGIT, MASK_CELLS, Tracker, no_points
from masklet.models.vision import TrunkMaps
from masklet.train.losses.tracking import FramePrediction, TrackingLossConfig, Truth, prediction_losses
from masklet.train.tasks.simulated_clicks import corrected
from masklet.types import ClickPrompt

T = TypeVar("T")


class Rollout:
    """One pass through a batch. `predictions` yields everything that is to be compared with `truth`."""

    def __init__(
        self, tracker: Tracker, batch: TrackBatch, features: ClickFeatures, generator: torch.Generator
    ) -> None:
        self.tracker, self.batch, self.features, self.generator = tracker, batch, features, generator
        height, width = features.coarse.shape[-2:]
        self.truth = Truth.of(batch, MASK_CELLS * height, MASK_CELLS * width)
        self.position = self._precisely(lambda: tracker.click.prompts.code_grid(height, width))
        self.config = replace(tracker.memory.config, selective=False)
        self.bank = MemoryBank()
        self.no_points = no_points(len(batch.masks), self.position.device)

    def predictions(self) -> Iterator[FramePrediction]:
        """First of the frames on which the objects are given, then of the others in order."""
        given = self.batch.conditioning
        for row, frame in enumerate(given):
            features = self._features_of(frame)
            if self.batch.pointing == "mask":  # given masks teach nothing themselves, but to remember them is learnt
                size = self.tracker.memory_size(features)
                masks = F.interpolate(self.truth.masks[:, frame : frame + 1].float(), size, mode="bilinear")
                prompt = replace(self.no_points, mask_logits=self.tracker.memory.mask_prompt(masks)[:, 0].float())
                prediction = self._predict(frame, features, prompt, ambiguous=False)
                self._remember(frame, features, GIVEN_LOGIT * (2 * masks[:, 0] - 1), prediction.mask_tokens[:, 0])
            else:
                yield from self._interact(frame, row, features)
        for frame in range(self.batch.num_frames):
            if frame not in given:
                yield self._track(frame)

    def _features_of(self, frame: int) -> ClickFeatures:
        """The features of a frame, once for each object."""
        rows = self.batch.clip_index * self.batch.num_frames + frame
        return self.features.map(lambda x: x[rows])

    def _predict(self, frame: int, features: ClickFeatures, prompt: ClickPrompt, *, ambiguous: bool) -> FramePrediction:
        """Three masks for an ambiguous prompt, mask 0 for another."""
        click = self.tracker.click
        every = click.decoder(features, self._precisely(lambda: click.prompts(prompt)), self.position)
        counted = slice(1, None) if ambiguous else slice(0, 1)
        return FramePrediction(
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

    def _interact(self, frame: int, row: int, features: ClickFeatures) -> Iterator[FramePrediction]:
        """A box or a click, then corrections of what came of it."""
        alone = self.tracker.click.without_memory(features)
        labels = self.batch.first_labels.expand(len(self.batch.masks), -1)
        prompt = ClickPrompt(points_xy=self.batch.first_points[:, row], point_labels=labels)
        prediction = self._predict(frame, alone, prompt, ambiguous=prompt.points_xy.shape[1] <= 1)
        yield prediction
        for _ in range(self.batch.corrections):
            truth = self.truth.covered[:, frame] > 0.5
            prompt = corrected(prompt, prediction.best, truth, self.generator)
            prediction = self._predict(frame, alone, prompt, ambiguous=False)
            yield prediction
        self._remember(frame, features, prediction.best, prediction.best_token)

    def _track(self, frame: int) -> FramePrediction:
        memory = self.tracker.memory
        traversal = Traversal()  # of unknown length, as a clip stands for any part of a video
        reads = [read_memory(memory, recall(self.bank, frame, self.config, traversal), traversal)]
        features = self._features_of(frame)
        reminded = replace(features, coarse=memory.look_back(features.coarse, reads))
        prediction = self._predict(frame, reminded, self.no_points, ambiguous=True)
        self._remember(frame, features, prediction.best, prediction.best_token)
        return prediction

    def _remember(
        self,
        frame: int,
        features: ClickFeatures,
        mask_logits: Float[Tensor, "object any_height any_width"],
        tokens: Tensor,
    ) -> None:
        if frame == self.batch.num_frames - 1:  # no later frame reads it
            return
        object_logits = torch.where(self.truth.visible[:, frame], GIVEN_LOGIT, -GIVEN_LOGIT)
        soft = torch.zeros(len(object_logits), dtype=torch.bool, device=object_logits.device)
        is_given = frame in self.batch.conditioning
        large = mask_logits if is_given else self.tracker.enlarge(mask_logits)
        memory = Memory(
            mask_logits=mask_logits,
            object_logits=object_logits,
            pointers=self.tracker.memory.point(tokens, object_logits),
            maps=self.tracker.remember(features, large, object_logits, soft),
        )
        self.bank = self.bank.with_conditioning(frame, memory) if is_given else self.bank.with_tracked(frame, memory)


def rollout_losses(
    tracker: Tracker,
    batch: TrackBatch,
    trunk: TrunkMaps,
    config: TrackingLossConfig,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """Means over the predictions of the four losses, unweighted, as `loss_NAME`, and as `loss` their weighted sum."""
    rollout = Rollout(tracker, batch, tracker.tracker_features(trunk), generator)
    every = [prediction_losses(prediction, rollout.truth, config) for prediction in rollout.predictions()]
    means = {name: torch.stack([losses[name] for losses in every]).mean() for name in every[0]}
    total = sum((getattr(config, name) * value for name, value in means.items()), torch.zeros(()))
    return {"loss": total, **{f"loss_{name}": value for name, value in means.items()}}
