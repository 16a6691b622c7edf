"""The task of stage one: image trunk, neck and text encoder learn to agree on what is where."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from masklet.data.collate import TrainingBatch
from masklet.models.detector import Detector
from masklet.train.losses.contrast import ContrastConfig, contrast_losses
from masklet.train.losses.criterion import LossReport
from masklet.train.recipes.schema import Phase
from masklet.train.tasks.detector import Batches, ConceptTask


@dataclass(frozen=True, kw_only=True)
class EncoderTask:
    """Compare pictures with words: image trunk, neck and text encoder alone."""

    concept: ConceptTask

    def trains(self, name: str) -> bool:
        """The encoders, and of the neck the level that prompts look at."""
        return name.startswith(("vision.trunk.", "vision.concept_neck.coarse.", "text."))

    def dataset(self, phase: Phase) -> Batches:
        """The batches of a phase, to be asked for by index."""
        return self.concept.dataset(phase)

    def losses(
        self, model: Detector, batches: Sequence[TrainingBatch], phase: Phase, seeds: Sequence[int]
    ) -> Iterator[LossReport]:
        """Each micro-batch's share of the mean over those of all processes; a phrase is compared within its own."""
        config = self.concept.recipe.contrast_config(phase)
        parts = len(batches) * (dist.get_world_size() if dist.is_initialized() else 1)
        bfloat16 = self.concept.recipe.bfloat16
        for batch, seed in zip(batches, seeds, strict=True):
            torch.manual_seed(seed)
            with torch.autocast(batch.images.device.type, torch.bfloat16, enabled=bfloat16):
                cells = model.vision.concept_neck.coarse(model.vision.trunk(batch.images))
                tokens = model.encode_phrases(batch.prompts)
            losses = contrast_losses(cells.float().flatten(2), tokens.tokens.float(), batch, config)
            yield _scaled(losses, config, 1 / parts)


def _scaled(parts: dict[str, Tensor], config: ContrastConfig, share: float) -> LossReport:
    total = parts["loss_contrast"] + config.cells * parts["loss_cells"] + config.lengths * parts["loss_lengths"]
    return LossReport(share * total, {name: share * value.detach() for name, value in parts.items()})
