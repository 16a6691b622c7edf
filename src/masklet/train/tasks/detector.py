"""The detector's task: batches of images with phrases or clicks, and the losses they cause."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from masklet.checkpoints.weights import OPTIONAL_PARTS, Weights, belongs
from masklet.data.collate import TrainingBatch, select_prompts
from masklet.data.pointing import PointedBatch
from masklet.errors import InputError
from masklet.models.detector import Detector, Grounding, ImageFeatures
from masklet.ops.scores import joint_scores
from masklet.train.losses.criterion import Counts, Criterion, LossReport, present_prompts
from masklet.train.recipes.schema import ConceptPhase, ConceptRecipe, Recipe
from masklet.train.tasks.batches import ImageBatches, ImageTask
from masklet.train.tasks.denoise import noised_boxes
from masklet.train.tasks.refine import with_corrections
from masklet.train.tasks.simulated_clicks import clicked_again
from masklet.types import TokenSet

REFINE_STREAM = 3  # of random numbers; tasks/batches.py has the others
CLICK_QUERIES = 4  # of a model that learns from clicks, as in the paper


@dataclass(frozen=True, kw_only=True)
class ConceptTask(ImageTask):
    """Detects every instance of a concept and, in a share of the updates, the one object that is pointed at.

    The click head and the memory are trained apart.
    """

    recipe: ConceptRecipe

    def trains(self, name: str) -> bool:
        """All parts of the detector."""
        return not any(belongs(name, part) for part in OPTIONAL_PARTS)

    def dataset(self, phase: ConceptPhase) -> ImageBatches:
        """The batches of a phase by index. Raises: InputError when phrases are asked of a source that has none."""
        return self.batches(phase, phase.clicks)

    def losses(
        self, model: Detector, batches: Sequence[TrainingBatch], phase: ConceptPhase, seeds: Sequence[int]
    ) -> Iterator[LossReport]:
        """The loss of each micro-batch, normalised as if they were one batch. The seeds are those of dropout.

        Raises: InputError when a batch of clicks changes nothing that is learnt.
        """
        counts = sum((Counts.of(batch.targets) for batch in batches[1:]), Counts.of(batches[0].targets))
        counts = counts.over_processes()
        passes = self._presence_passes if _learns_presence_alone(model) else self._passes
        for batch, seed in zip(batches, seeds, strict=True):
            torch.manual_seed(seed)
            if not isinstance(batch, PointedBatch):
                reports = list(passes(model, batch, phase, counts, np.random.default_rng([seed, REFINE_STREAM])))
                yield reports[0] if not phase.refine.rounds else _joined(reports, "loss_refined")
                continue
            clicked = self._clicked_passes(model, batch, phase, counts, torch.Generator().manual_seed(seed))
            report = _joined(list(clicked), "loss_corrected_clicks")
            if not report.total.requires_grad:
                raise InputError("clicks teach nothing of what is learnt here: leave them out of the recipe")
            yield report

    def _passes(
        self, model: Detector, batch: TrainingBatch, phase: ConceptPhase, counts: Counts, rng: np.random.Generator
    ) -> Iterator[LossReport]:
        """Forward pass and loss, and again after each round of correction; the images are encoded once.

        Absent concepts teach presence only, so they get neither one-to-many queries nor masks: a third of the time.
        """
        # Part the prompts whose concept is present from the others
        present = present_prompts(batch.targets)
        asked, targets = select_prompts(batch.prompts, present), batch.targets.select(present)
        unasked, nothing = select_prompts(batch.prompts, ~present), batch.targets.select(~present)
        criterion, decoder, refine = Criterion(phase.criterion), model.decoder, phase.refine
        more, known = decoder.doubled_queries(), None
        if phase.denoise:
            noise = torch.Generator().manual_seed(int(rng.integers(2**62)))
            boxes, known = noised_boxes(targets, phase.denoise, decoder.config.depth, noise)
            more = decoder.denoising_queries(boxes)
        with self.autocast(batch):
            features, phrases = _encode(model, batch)
        rounds = refine.rounds_of(rng)
        for turn in range(1 + rounds):
            # Predict and compare
            with self.autocast(batch):
                grounding = model.ground_layers(features, phrases, asked, more)
                output = model.segment_all(features, grounding)
                absent = model.ground_layers(features, phrases, unasked, decoder.concept_queries())
            output, copies = output.split_queries(decoder.config.num_queries)
            presence = absent.presence_logits
            yield criterion(output, targets, one_to_many=copies, known=known, counts=counts, absent_logits=presence)
            # Show what was wrong
            if turn < rounds:
                asked = with_corrections(asked, *_detections(grounding, model), targets, refine, rng)
                unasked = with_corrections(unasked, *_detections(absent, model), nothing, refine, rng)

    def _presence_passes(
        self, model: Detector, batch: TrainingBatch, phase: ConceptPhase, counts: Counts, rng: np.random.Generator
    ) -> Iterator[LossReport]:
        """As `_passes`, without what the head of presence learns nothing from: masks, and one-to-many queries."""
        prompts, criterion = batch.prompts, Criterion(phase.criterion)
        with self.autocast(batch):
            features, phrases = _encode(model, batch)
        rounds = phase.refine.rounds_of(rng)
        for turn in range(1 + rounds):
            with self.autocast(batch):
                grounding = model.ground_layers(features, phrases, prompts, model.decoder.concept_queries())
            yield criterion.of_presence(grounding.presence_logits, batch.targets, counts=counts)
            if turn < rounds:
                detections = _detections(grounding, model)
                prompts = with_corrections(prompts, *detections, batch.targets, phase.refine, rng)

    def _clicked_passes(
        self, model: Detector, batch: PointedBatch, phase: ConceptPhase, counts: Counts, generator: torch.Generator
    ) -> Iterator[LossReport]:
        """Forward pass and loss, and again after each click on what is wrong; the images are encoded once."""
        prompts, truth = batch.prompts, batch.targets.masks[batch.targets.target_object]
        criterion, rows = Criterion(phase.criterion), torch.arange(len(truth), device=truth.device)
        with self.autocast(batch):
            features, phrases = _encode(model, batch)
        for turn in range(1 + phase.clicks.steps):
            with self.autocast(batch):
                output = model.answer_clicks(features, phrases, prompts)
            yield criterion.of_clicks(output, batch.targets, counts=counts)
            if turn < phase.clicks.steps:
                best = output.mask_logits(rows, output.pred_logits[-1].argmax(dim=-1)).detach()
                prompts = clicked_again(prompts, best, truth, generator)


def _encode(model: Detector, batch: TrainingBatch) -> tuple[ImageFeatures, TokenSet]:
    """What all passes share: in this order on every process, as both encoders may be sharded."""
    return model.encode_images(batch.images), model.encode_phrases(batch.prompts)


def _learns_presence_alone(model: Detector) -> bool:
    """Whether nothing is learnt but what comes behind the presence token."""
    behind = ("decoder.presence_head.", "decoder.presence_norm.")
    return all(name.startswith(behind) for name, value in model.named_parameters() if value.requires_grad)


def _detections(grounding: Grounding, model: Detector) -> tuple[Tensor, Tensor]:
    """Scores and boxes (cxcywh) that the last layer gives in use, without those of copies of queries."""
    queries = slice(model.config.decoder.num_queries)
    scores = joint_scores(grounding.pred_logits[-1].float(), grounding.presence_logits[-1].float())
    return scores[:, queries].detach(), grounding.pred_boxes[-1, :, queries].detach()


def _joined(reports: Sequence[LossReport], name: str) -> LossReport:
    """The sum of all passes; the parts are those of the first, and under `name` what the others add."""
    more = sum((report.total for report in reports[1:]), torch.zeros_like(reports[0].total))
    return LossReport(reports[0].total + more, {**reports[0].parts, name: more.detach()})


def with_click_queries(base: Weights, recipe: Recipe) -> Weights:
    """What a run begins with, and room for click queries where the recipe has them learnt and the base has none.

    Raises: InputError for adapters, which only change what is there.
    """
    learns_clicks = isinstance(recipe, ConceptRecipe) and any(phase.clicks.share > 0 for phase in recipe.phases)
    if not learns_clicks or base.config.decoder.num_click_queries:
        return base
    if recipe.lora is not None or not recipe.trains("decoder.click_query"):
        raise InputError("clicks: the model has no queries for them yet, so they must be learnt: train decoder.*")
    decoder = replace(base.config.decoder, num_click_queries=CLICK_QUERIES)
    return replace(base, config=replace(base.config, decoder=decoder))
