"""The detector's task: batches of pictures with phrases or clicks, and the losses they cause."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from masklet.checkpoints.weights import OPTIONAL_PARTS, Weights, belongs
from masklet.data.collate import CollateConfig, Encoder, TrainingBatch, collate, select_prompts
from masklet.data.pointing import ClicksConfig, PointedBatch, collate_pointed
from masklet.data.sources import ExampleSource, Mixture
from masklet.data.transforms import AugmentConfig, augment
from masklet.errors import InputError
from masklet.models.detector import Detector, Grounding, ImageFeatures
from masklet.ops.scores import joint_scores
from masklet.train.losses.criterion import Counts, Criterion, LossReport, present_prompts
from masklet.train.recipes.schema import Phase, Recipe
from masklet.train.recipes.source_specs import DavisSpec
from masklet.train.tasks.clicks import clicked_again
from masklet.train.tasks.refine import RefineConfig, with_corrections
from masklet.types import TokenSet

# Distinguishes the streams of random numbers drawn for one example or batch.
AUGMENT_STREAM, COLLATE_STREAM, REFINE_STREAM, CLICK_STREAM = 1, 2, 3, 4
BATCHES_PER_SEED = 2**20
CLICK_QUERIES = 4  # of a model that learns from clicks, as in the paper

SourceBuilder = Callable[[Phase], dict[str, ExampleSource]]


@dataclass(frozen=True, kw_only=True)
class Batches(Dataset):
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
        points = np.random.default_rng([seed, update, CLICK_STREAM]).random() < self.clicks.share
        mixture = self.pointed if points else self.mixture
        examples = []
        for row in range(self.phase.batch_size):
            rng = np.random.default_rng([seed, index, row, AUGMENT_STREAM])
            example = mixture[index * BATCHES_PER_SEED + row]
            examples.append(augment(example, self.phase.image_size, self.augment, rng))
        rng = np.random.default_rng([seed, index, COLLATE_STREAM])
        if points:
            return collate_pointed(examples, self.tokenizer, self.collate, self.clicks, rng)
        return collate(examples, self.tokenizer, self.collate, rng)


@dataclass(frozen=True, kw_only=True)
class ConceptTask:
    """Find every instance of a concept, and now and then the one object that is pointed at.

    The click head and the memory are trained apart.
    """

    recipe: Recipe
    tokenizer: Encoder
    sources: SourceBuilder
    patch_size: int

    def trains(self, name: str) -> bool:
        """All parts of the detector."""
        return not any(belongs(name, part) for part in OPTIONAL_PARTS)

    def dataset(self, phase: Phase) -> Batches:
        """The batches of a phase, to be asked for by index.

        Raises: InputError when phrases are asked of a source that has none.
        """
        for name, weight in phase.weights.items():
            if weight > 0 and isinstance(self.recipe.data.sources[name], DavisSpec):
                raise InputError(f"source {name}: a davis source has no phrases; it serves clicks and tracking alone")
        clicks = self.recipe.clicks_config(phase)
        mixture = self._mixture(phase)
        pointed = self._mixture(phase.model_copy(update={"weights": clicks.weights})) if clicks.weights else mixture
        return Batches(
            mixture=mixture,
            pointed=pointed,
            tokenizer=self.tokenizer,
            phase=phase,
            augment=self.recipe.augment_config(phase),
            collate=self.recipe.collate_config(phase, self.patch_size),
            clicks=clicks,
        )

    def _mixture(self, phase: Phase) -> Mixture:
        built = self.sources(phase)
        names = [name for name, weight in phase.weights.items() if weight > 0]
        return Mixture(
            [built[name] for name in names],
            [phase.weights[name] for name in names],
            self.recipe.seed,
            mosaic_probability=self.recipe.augment_config(phase).mosaic_probability,
            mosaic_size=phase.image_size,
        )

    def losses(
        self, model: Detector, batches: Sequence[TrainingBatch], phase: Phase, seeds: Sequence[int]
    ) -> Iterator[LossReport]:
        """The loss of each micro-batch, normalised as if they were one batch. The seeds are those of dropout."""
        criterion = Criterion(self.recipe.criterion_config(phase))
        refine = self.recipe.refine_config(phase)
        counts = sum((Counts.of(batch.targets) for batch in batches[1:]), Counts.of(batches[0].targets))
        counts = counts.over_processes()
        for batch, seed in zip(batches, seeds, strict=True):
            torch.manual_seed(seed)
            if isinstance(batch, PointedBatch):
                steps, generator = self.recipe.clicks_config(phase).steps, torch.Generator().manual_seed(seed)
                reports = self._clicked_passes(
                    model, batch, partial(criterion.of_clicks, counts=counts), steps, generator
                )
                report = _joined(list(reports), "loss_corrected_clicks")
                if not report.total.requires_grad:
                    raise InputError("clicks teach nothing of what is learnt here: leave them out of the recipe")
                yield report
                continue
            rng = np.random.default_rng([seed, REFINE_STREAM])
            if _learns_presence_alone(model):
                passes = self._presence_passes(model, batch, partial(criterion.of_presence, counts=counts), refine, rng)
            else:
                passes = self._passes(model, batch, partial(criterion, counts=counts), refine, rng)
            reports = list(passes)
            yield reports[0] if not refine.rounds else _joined(reports, "loss_refined")

    def _passes(
        self,
        model: Detector,
        batch: TrainingBatch,
        criterion: Callable[..., LossReport],
        refine: RefineConfig,
        rng: np.random.Generator,
    ) -> Iterator[LossReport]:
        """Forward pass and loss, and again after each round of correction; the pictures are looked at once.

        Absent concepts teach presence only, so they get neither one-to-many queries nor masks: a third of the time.
        """
        present = present_prompts(batch.targets)
        asked, targets = select_prompts(batch.prompts, present), batch.targets.select(present)
        unasked, nothing = select_prompts(batch.prompts, ~present), batch.targets.select(~present)
        autocast, decoder = self._autocast(batch), model.decoder
        with autocast():
            features, phrases = _encode(model, batch)
        rounds = refine.rounds_of(rng)
        for turn in range(1 + rounds):
            with autocast():
                grounding = model.ground_layers(features, phrases, asked, decoder.doubled_queries())
                output = model.segment_all(features, grounding)
                absent = model.ground_layers(features, phrases, unasked, decoder.concept_queries())
            output, copies = output.split_queries(decoder.config.num_queries)
            yield criterion(output, targets, one_to_many=copies, absent_logits=absent.presence_logits)
            if turn < rounds:
                asked = with_corrections(asked, *_finds(grounding, model), targets, refine, rng)
                unasked = with_corrections(unasked, *_finds(absent, model), nothing, refine, rng)

    def _presence_passes(
        self,
        model: Detector,
        batch: TrainingBatch,
        criterion: Callable[..., LossReport],
        refine: RefineConfig,
        rng: np.random.Generator,
    ) -> Iterator[LossReport]:
        """As `_passes`, without what the head of presence learns nothing from: masks, and one-to-many queries."""
        autocast, prompts = self._autocast(batch), batch.prompts
        with autocast():
            features, phrases = _encode(model, batch)
        rounds = refine.rounds_of(rng)
        for turn in range(1 + rounds):
            with autocast():
                grounding = model.ground_layers(features, phrases, prompts, model.decoder.concept_queries())
            yield criterion(grounding.presence_logits, batch.targets)
            if turn < rounds:
                prompts = with_corrections(prompts, *_finds(grounding, model), batch.targets, refine, rng)

    def _clicked_passes(
        self,
        model: Detector,
        batch: PointedBatch,
        criterion: Callable[..., LossReport],
        steps: int,
        generator: torch.Generator,
    ) -> Iterator[LossReport]:
        """Forward pass and loss, and again after each click on what is wrong; the pictures are looked at once."""
        autocast, prompts = self._autocast(batch), batch.prompts
        truth = batch.targets.masks[batch.targets.target_object]
        with autocast():
            features, phrases = _encode(model, batch)
        for turn in range(1 + steps):
            with autocast():
                output = model.segment_clicked(features, phrases, prompts)
            yield criterion(output, batch.targets)
            if turn < steps:
                rows = torch.arange(len(truth), device=truth.device)
                answer = output.mask_logits(rows, output.pred_logits[-1].argmax(dim=-1)).detach()
                prompts = clicked_again(prompts, answer, truth, generator)

    def _autocast(self, batch: TrainingBatch) -> Callable[[], torch.autocast]:
        return partial(torch.autocast, batch.images.device.type, torch.bfloat16, enabled=self.recipe.bfloat16)


def _encode(model: Detector, batch: TrainingBatch) -> tuple[ImageFeatures, TokenSet]:
    """What is computed once, however often is asked: in this order on every process, as both may be sharded."""
    return model.encode_images(batch.images), model.encode_phrases(batch.prompts)


def _learns_presence_alone(model: Detector) -> bool:
    """Whether nothing is learnt but what comes behind the presence token."""
    behind = ("decoder.presence_head.", "decoder.presence_norm.")
    return all(name.startswith(behind) for name, value in model.named_parameters() if value.requires_grad)


def _finds(grounding: Grounding, model: Detector) -> tuple[Tensor, Tensor]:
    """Scores and boxes that the last layer gives in use."""
    queries = slice(model.config.decoder.num_queries)
    scores = joint_scores(grounding.pred_logits[-1].float(), grounding.presence_logits[-1].float())
    return scores[:, queries].detach(), grounding.pred_boxes[-1, :, queries].detach()


def _joined(reports: Sequence[LossReport], name: str) -> LossReport:
    """The sum of all passes; the parts are those of the first, and under `name` what the others add."""
    more = sum((report.total for report in reports[1:]), torch.zeros_like(reports[0].total))
    return LossReport(reports[0].total + more, {**reports[0].parts, name: more.detach()})


def with_click_queries(base: Weights, recipe: Recipe) -> Weights:
    """What a run begins with, and room for queries for clicks where the recipe has them learnt and the base has none.

    Raises: InputError for adapters, which only change what is there.
    """
    learnt = any(recipe.clicks_config(phase).share > 0 for phase in recipe.phases)
    if recipe.task != "concept" or not learnt or base.config.decoder.num_click_queries:
        return base
    if recipe.lora is not None or not recipe.trains("decoder.click_query"):
        raise InputError("clicks: the model has no queries for them yet, so they must be learnt: train decoder.*")
    decoder = replace(base.config.decoder, num_click_queries=CLICK_QUERIES)
    return replace(base, config=replace(base.config, decoder=decoder))
