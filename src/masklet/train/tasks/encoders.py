"""The task of stage one: image trunk, neck and text encoder learn comparable features."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from masklet.data.collate import TrainingBatch
from masklet.data.pointing import ClicksConfig
from masklet.models.detector import Detector
from masklet.train.losses.contrast import contrast_losses
from masklet.train.losses.criterion import LossReport
from masklet.train.recipes.schema import EncodersPhase, EncodersRecipe
from masklet.train.run.distributed import rank_and_world
from masklet.train.tasks.batches import ImageBatches, ImageTask

NO_CLICKS = ClicksConfig(share=0.0)


@dataclass(frozen=True, kw_only=True)
class EncoderTask(ImageTask):
    """Compares images with words: image trunk, neck and text encoder alone."""

    recipe: EncodersRecipe

    def trains(self, name: str) -> bool:
        """The encoders, and of the neck the level that prompts look at."""
        return name.startswith(("vision.trunk.", "vision.concept_neck.coarse.", "text."))

    def dataset(self, phase: EncodersPhase) -> ImageBatches:
        """The batches of a phase by index. Raises: InputError when phrases are asked of a source that has none."""
        return self.batches(phase, NO_CLICKS)

    def losses(
        self, model: Detector, batches: Sequence[TrainingBatch], phase: EncodersPhase, seeds: Sequence[int]
    ) -> Iterator[LossReport]:
        """Each micro-batch's share of the mean over those of all processes; a phrase is compared within its own."""
        share = 1 / (len(batches) * rank_and_world()[1])
        for batch, seed in zip(batches, seeds, strict=True):
            torch.manual_seed(seed)
            with self.autocast(batch):
                cells = model.vision.concept_neck.coarse_map(model.vision.trunk(batch.images))
                tokens = model.encode_phrases(batch.prompts)
            config = phase.contrast
            parts = contrast_losses(cells.float().flatten(2), tokens.tokens.float(), batch, config)
            total = parts["loss_contrast"] + config.cells * parts["loss_cells"] + config.lengths * parts["loss_lengths"]
            yield LossReport(share * total, {name: share * value.detach() for name, value in parts.items()})
