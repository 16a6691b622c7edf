"""The tracker's task: clips by index, and the losses of a rollout through a batch of them.

The trunk and all that detects concepts stay as they are; the neck, the click head and the mask memory are learnt.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.utils.data import Dataset

from masklet.checkpoints.weights import OPTIONAL_PARTS, Weights, belongs
from masklet.data.schema import Clip
from masklet.data.tracking import TrackBatch, draw_batch
from masklet.errors import InputError
from masklet.models.conv_trunk import LateralNeck
from masklet.models.detector import Detector
from masklet.scenes.layout import SceneConfig
from masklet.scenes.moving.stills import ClipSource
from masklet.scenes.scene import render_scene
from masklet.train.losses.criterion import LossReport
from masklet.train.recipes.phase_sources import PhaseSources
from masklet.train.recipes.schema import Recipe, TrackingPhase, TrackingRecipe
from masklet.train.run.distributed import rank_and_world
from masklet.train.tasks.rollout import rollout_losses

CLIP_STREAM = 7  # of random numbers, apart from those of other tasks
COMPARISON_GAIN = 3.0  # a place agrees with itself by about 6 logits
SAME_PLACE = 4.0  # a cell agrees with itself by about 4 logits more than with its neighbours
MASK_GAIN, MEMORY_GAIN = 5.0, 2.0

ClipSources = Callable[[TrackingPhase, int], Mapping[str, ClipSource]]


@dataclass(frozen=True, kw_only=True)
class ClipBatches(Dataset):
    """Batch `index` of a phase, made from nothing but the seed and the index."""

    sources: Callable[[int], Mapping[str, ClipSource]]
    phase: TrackingPhase
    seed: int

    def __getitem__(self, index: int) -> TrackBatch:
        rng = np.random.default_rng([self.seed, index, CLIP_STREAM])
        names = self.phase.drawn
        weights = np.array([self.phase.weights[name] for name in names])

        def draw(num_frames: int) -> Clip:
            name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
            return self.sources(num_frames)[name].sample(rng)

        return draw_batch(draw, self.phase.batch_size, self.phase.tracking, rng)


@dataclass(frozen=True, kw_only=True)
class TrackingTask:
    """Tracks objects, and segments objects that are clicked on."""

    recipe: TrackingRecipe
    sources: ClipSources

    @classmethod
    def of(cls, recipe: Recipe, base: Weights) -> "TrackingTask":
        """The task of a recipe. Raises: InputError for a tracker without a detector, or adapters without a tracker."""
        assert isinstance(recipe, TrackingRecipe), recipe.task
        if not base.state:
            raise InputError("a tracker sees what a trained detector sees: set initial_weights to a model or a file")
        if recipe.lora is not None and not {"click", "memory"} <= base.parts:
            raise InputError(f"adapters change a tracker that is there, and {recipe.initial_weights} has none")
        return cls(recipe=recipe, sources=PhaseSources(recipe).clips)

    def trains(self, name: str) -> bool:
        """The parts that the detector does without."""
        return any(belongs(name, part) for part in OPTIONAL_PARTS)

    def dataset(self, phase: TrackingPhase) -> ClipBatches:
        """The batches of a phase by index."""
        return ClipBatches(sources=partial(self.sources, phase), phase=phase, seed=self.recipe.seed)

    def losses(
        self, model: Detector, batches: Sequence[TrackBatch], phase: TrackingPhase, seeds: Sequence[int]
    ) -> Iterator[LossReport]:
        """Each micro-batch's share of the mean over those of all processes. The seeds are those of corrections."""
        parts = len(batches) * rank_and_world()[1]
        for batch, seed in zip(batches, seeds, strict=True):
            with self.recipe.autocast(batch.images.device):
                with torch.no_grad():
                    trunk = model.vision.trunk(batch.images)
                losses = rollout_losses(
                    model.tracker, batch, trunk, phase.criterion, torch.Generator().manual_seed(seed)
                )
            shares = {name: value / parts for name, value in losses.items()}
            total = shares.pop("loss")
            yield LossReport(total, {name: value.detach() for name, value in shares.items()})


@torch.no_grad()
def start_tracker(model: Detector) -> None:
    """Sets parts of an untrained tracker to what they would have to learn first.

    The neck begins as the detector's, which has its shape and sees the same trunk, but as loud as position codes are.
    Attention between points and image begins by comparing: with keys projected as queries are, what lies at the same
    place agrees. Attention to memories begins by looking where the object last was: a constant, turned by its place,
    agrees with itself where the place is the same. And a remembered mask begins loud enough to be heard over the image.
    From unrelated projections a mask head learns at once that there are objects, but for very long not which is meant.
    """
    _start_neck(model)
    decoder = model.click.decoder
    crossings = [attention for block in decoder.blocks for attention in (block.token_to_image, block.image_to_token)]
    for attention in (*crossings, decoder.final_attention):
        attention.q.weight.mul_(COMPARISON_GAIN)
        attention.k.load_state_dict(attention.q.state_dict())
    model.memory.encoder.downsampler.project.weight.mul_(MASK_GAIN)
    for layer in model.memory.layers:
        layer.cross_attention.q.bias.add_(SAME_PLACE)
        layer.cross_attention.k.bias.add_(SAME_PLACE)
        layer.cross_attention.out.weight.mul_(MEMORY_GAIN)


def _start_neck(model: Detector) -> None:
    """The detector's neck, each level of it scaled to a standard deviation of 1 on a generated scene."""
    neck = model.vision.click_neck
    neck.load_state_dict(model.vision.concept_neck.state_dict())
    scene = render_scene(0, SceneConfig(size=model.config.image_size)).image
    image = torch.from_numpy(scene).permute(2, 0, 1)[None].float() / 127.5 - 1
    pyramid = neck(model.vision.trunk(image))
    # Beyond the coarse level of a lateral neck lie blocks that no scale passes through
    for name in ("fine", "medium") if isinstance(neck, LateralNeck) else ("fine", "medium", "coarse"):
        loudness = getattr(pyramid, name).std()
        for parameter in getattr(neck, name).smooth.parameters():
            parameter.div_(loudness)
