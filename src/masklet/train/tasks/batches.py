"""Batches of labelled images by index: the same whatever was drawn before and whichever process draws them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from torch.utils.data import Dataset

from masklet.checkpoints.weights import Weights
from masklet.data.collate import CollateConfig, Encoder, TrainingBatch, collate
from masklet.data.pointing import ClicksConfig, collate_pointed
from masklet.data.sources import ExampleSource, Mixture
from masklet.data.transforms import AugmentConfig, augment
from masklet.errors import InputError
from masklet.tokenizer import Tokenizer
from masklet.train.recipes.phase_sources import PhaseSources
from masklet.train.recipes.schema import ConceptPhase, ConceptRecipe, EncodersPhase, EncodersRecipe, Phase, Recipe
from masklet.train.recipes.source_specs import DavisSpec

# Distinguishes the streams of random numbers drawn for one example or batch.
AUGMENT_STREAM, COLLATE_STREAM, CLICK_STREAM = 1, 2, 4
BATCHES_PER_SEED = 2**20

T = TypeVar("T", bound="ImageTask")
SourceBuilder = Callable[[Phase], Mapping[str, ExampleSource]]


@dataclass(frozen=True, kw_only=True)
class ImageBatches(Dataset):
    """Batch `index` of a phase, made from nothing but the seed and the index.

    All micro-batches of an update are of one kind, phrases or clicks, whichever process draws them.
    """

    mixture: Mixture
    pointed: Mixture
    tokenizer: Encoder
    phase: Phase
    augment: AugmentConfig
    collate: CollateConfig
    clicks: ClicksConfig

    def __getitem__(self, index: int) -> TrainingBatch:
        seed, update = self.mixture.seed, index // self.phase.accumulate
        is_pointed = np.random.default_rng([seed, update, CLICK_STREAM]).random() < self.clicks.share
        mixture = self.pointed if is_pointed else self.mixture
        examples = []
        for row in range(self.phase.batch_size):
            rng = np.random.default_rng([seed, index, row, AUGMENT_STREAM])
            example = mixture[index * BATCHES_PER_SEED + row]
            examples.append(augment(example, self.phase.image_size, self.augment, rng))
        rng = np.random.default_rng([seed, index, COLLATE_STREAM])
        if is_pointed:
            return collate_pointed(examples, self.tokenizer, self.collate, self.clicks, rng)
        return collate(examples, self.tokenizer, self.collate, rng)


@dataclass(frozen=True, kw_only=True)
class ImageTask:
    """What the tasks that learn from labelled images share. `patch_size` is that of the model's trunk, in pixels."""

    recipe: EncodersRecipe | ConceptRecipe
    tokenizer: Encoder
    sources: SourceBuilder
    patch_size: int

    @classmethod
    def of(cls: type[T], recipe: Recipe, base: Weights) -> T:
        """The task of a recipe that begins with these weights."""
        assert isinstance(recipe, EncodersRecipe | ConceptRecipe), recipe.task
        return cls(
            recipe=recipe,
            tokenizer=Tokenizer(vocab_size=base.config.text.vocab_size),
            sources=PhaseSources(recipe).images,
            patch_size=base.config.vision.trunk.patch_size,
        )

    def batches(self, phase: EncodersPhase | ConceptPhase, clicks: ClicksConfig) -> ImageBatches:
        """The batches of a phase. Raises: InputError when phrases are asked of a source that has none."""
        for name in phase.drawn:
            if isinstance(self.recipe.data.sources[name], DavisSpec):
                raise InputError(f"source {name}: a davis source has no phrases; it serves clicks and tracking alone")
        mixture = self._mixture(phase)
        pointed = self._mixture(phase.model_copy(update={"weights": clicks.weights})) if clicks.weights else mixture
        return ImageBatches(
            mixture=mixture,
            pointed=pointed,
            tokenizer=self.tokenizer,
            phase=phase,
            augment=phase.augment,
            collate=replace(self.recipe.collate, max_queries=phase.max_queries, patch_size=self.patch_size),
            clicks=clicks,
        )

    def _mixture(self, phase: EncodersPhase | ConceptPhase) -> Mixture:
        built = self.sources(phase)
        return Mixture(
            [built[name] for name in phase.drawn],
            [phase.weights[name] for name in phase.drawn],
            self.recipe.seed,
            mosaic_probability=phase.augment.mosaic_probability,
            mosaic_size=phase.image_size,
        )

    def autocast(self, batch: TrainingBatch) -> torch.autocast:
        """The precision of a forward pass."""
        return self.recipe.autocast(batch.images.device)
