"""Training the tracker: clips by index, and what the rollout through a batch of them costs.

The trunk and all that finds concepts stay as they are; the neck, the click head and the mask memory are learnt.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.utils.data import Dataset

from masklet.checkpoints.weights import OPTIONAL_PARTS, belongs
from masklet.data.schema import Clip
from masklet.data.tracking import TrackBatch, TrackingConfig, draw_batch
from masklet.data.videos import VideoClips
from masklet.models.detector import Detector
from masklet.scenes.cutouts import CutoutLibrary
from masklet.scenes.layout import SceneConfig
from masklet.scenes.moving.clips import compose_clip, render_clip
from masklet.scenes.moving.stills import ClipSource, GeneratedClips, StillClips
from masklet.scenes.scene import render_scene
from masklet.train.losses.criterion import LossReport
from masklet.train.recipes.schema import Phase, Recipe
from masklet.train.recipes.source_specs import CutoutsSpec, ScenesSpec, VideoSpec, open_pictures, open_videos
from masklet.train.run.shelf import scene_config
from masklet.train.tasks.rollout import rollout_losses

CLIP_STREAM = 7  # of random numbers, apart from those of other tasks
COMPARISON_GAIN = 3.0  # a place agrees with itself by about 6 logits
SAME_PLACE = 4.0  # a cell agrees with itself by about 4 logits more than with its neighbours
MASK_GAIN, MEMORY_GAIN = 5.0, 2.0

ClipSources = Callable[[Phase, int], Mapping[str, ClipSource]]


@dataclass(frozen=True, kw_only=True)
class ClipBatches(Dataset):
    """Batch `index` of a phase, made from nothing but the seed and the index."""

    sources: Callable[[int], Mapping[str, ClipSource]]
    phase: Phase
    config: TrackingConfig
    seed: int

    def __getitem__(self, index: int) -> TrackBatch:
        rng = np.random.default_rng([self.seed, index, CLIP_STREAM])
        names = [name for name, weight in self.phase.weights.items() if weight > 0]
        weights = np.array([self.phase.weights[name] for name in names])

        def draw(num_frames: int) -> Clip:
            name = names[int(rng.choice(len(names), p=weights / weights.sum()))]
            return self.sources(num_frames)[name].sample(rng)

        return draw_batch(draw, self.phase.batch_size, self.config, rng)


@dataclass(frozen=True, kw_only=True)
class TrackingTask:
    """Follow objects, and segment what is clicked on."""

    recipe: Recipe
    sources: ClipSources

    def trains(self, name: str) -> bool:
        """The parts that the detector does without."""
        return any(belongs(name, part) for part in OPTIONAL_PARTS)

    def dataset(self, phase: Phase) -> ClipBatches:
        """The batches of a phase, to be asked for by index."""
        return ClipBatches(
            sources=partial(self.sources, phase),
            phase=phase,
            config=self.recipe.tracking_config(phase),
            seed=self.recipe.seed,
        )

    def losses(
        self, model: Detector, batches: Sequence[TrackBatch], phase: Phase, seeds: Sequence[int]
    ) -> Iterator[LossReport]:
        """Each micro-batch's share of the mean over those of all processes. The seeds are those of corrections."""
        config = self.recipe.tracking_loss_config(phase)
        parts = len(batches) * (dist.get_world_size() if dist.is_initialized() else 1)
        for batch, seed in zip(batches, seeds, strict=True):
            with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=self.recipe.bfloat16):
                with torch.no_grad():
                    trunk = model.vision.trunk(batch.images)
                losses = rollout_losses(model.tracker, batch, trunk, config, torch.Generator().manual_seed(seed))
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
    trunk = model.vision.trunk(image)
    for level in (neck.fine, neck.medium, neck.coarse):
        loudness = level(trunk).std()
        for parameter in level.smooth.parameters():
            parameter.div_(loudness)


class ClipShelf:
    """Builds the sources of clips: generated scenes, cut-outs, videos, and photos in motion. Files are read once."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe, self.root, self.specs = recipe, Path(recipe.data.root), recipe.data.sources
        self.loaded: dict[str, Any] = {}

    def __call__(self, phase: Phase, num_frames: int) -> dict[str, ClipSource]:
        """Sources by name, with the phase's options, of clips of that length."""
        return {name: self._build(name, phase, num_frames) for name, weight in phase.weights.items() if weight > 0}

    def _build(self, name: str, phase: Phase, num_frames: int) -> ClipSource:
        spec, options = self.specs[name], {"size": phase.image_size, **phase.options.get(name, {})}
        if isinstance(spec, ScenesSpec):
            render = partial(render_clip, config=scene_config(spec, options), num_frames=num_frames)
            return GeneratedClips(render)
        if isinstance(spec, CutoutsSpec):
            library = self._once(
                name, lambda: CutoutLibrary.open(self.root / spec.cutouts, self.root / spec.backgrounds, split="train")
            )
            config = scene_config(spec, options)
            return GeneratedClips(partial(compose_clip, library=library, config=config, num_frames=num_frames))
        augment = self.recipe.clip_augment_config(phase)
        if isinstance(spec, VideoSpec):
            videos = self._once(name, lambda: open_videos(spec, self.root))
            return VideoClips(videos=videos, size=phase.image_size, num_frames=num_frames, augment=augment)
        photos = self._once(name, lambda: open_pictures(spec, self.root))
        return StillClips(source=photos, size=phase.image_size, num_frames=num_frames, augment=augment)

    def _once(self, name: str, load: Callable[[], Any]) -> Any:
        if name not in self.loaded:
            self.loaded[name] = load()
        return self.loaded[name]
