"""The detector's total loss: matching, every layer, both sets of queries, masks and semantic map.

`LOSSES` names its terms: a new one is a function of a `MatchedOutput`, its name there, and its weight in `LossWeights`.

Two published details are changed on purpose. The loss is not multiplied by the square root of the number of prompts,
which would tie the learning rate to how many phrases an image carries; and the classification loss is averaged over
the prompts whose concept is present, because only those take part in it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import torch
import torch.distributed as dist
from jaxtyping import Bool, Float, Int
from torch import Tensor

from masklet.data.collate import Targets
from masklet.train.losses import terms
from masklet.train.losses.matcher import (
    HungarianConfig,
    MatchedPairs,
    OneToManyConfig,
    match_one_to_many,
    match_one_to_one,
)
from masklet.types import DetectorOutput


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the summed losses, as in the paper's pre-training; `one_to_many` scales those of copies.

    `projection` is for objects that have a box and no mask, `somewhere` for phrases that an image is labelled with as a
    whole; the published training had neither.
    """

    bbox: float = 5.0
    giou: float = 2.0
    classes: float = 100.0
    presence: float = 20.0
    mask: float = 200.0
    dice: float = 10.0
    semantic: float = 20.0
    semantic_dice: float = 30.0
    projection: float = 0.0
    somewhere: float = 0.0
    one_to_many: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What sums are divided by. Add the counts of all micro-batches to make accumulation equal one large batch."""

    targets: int
    prompts: int
    present: int
    semantic: int
    unlocated: int

    @classmethod
    def of(cls, targets: Targets) -> "Counts":
        """The counts of one batch; a prompt is present when it has a target with an area."""
        return cls(
            targets=targets.target_prompt.numel(),
            prompts=targets.exhaustive.numel(),
            present=int(present_prompts(targets).sum()),
            semantic=int(targets.semantic_valid.sum()),
            unlocated=int(targets.unlocated.sum()),
        )

    def over_processes(self) -> "Counts":
        """The counts of all processes together."""
        if not dist.is_initialized():
            return self
        values = torch.tensor(list(vars(self).values()))
        dist.all_reduce(values)
        return Counts(**dict(zip(vars(self), values.tolist(), strict=True)))

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{name: value + getattr(other, name) for name, value in vars(self).items()})


@dataclass(frozen=True)
class LossReport:
    """The loss to minimise, and its unweighted parts, detached and still on the device."""

    total: Float[Tensor, ""]
    parts: dict[str, Tensor] = field(default_factory=dict)


def present_prompts(targets: Targets) -> Tensor:
    """True for prompts with a target whose box has an area, or with a label of the whole image."""
    visible = (targets.boxes_cxcywh[targets.target_object, 2:] > 0).all(-1)
    present = targets.unlocated.clone()
    present[targets.target_prompt[visible]] = True
    return present


class Criterion:
    """Compares the detector's predictions with the targets."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Published values; `num_points` bounds the pixels compared of a mask, `max_masks` the masks compared."""

        weights: LossWeights = field(default_factory=LossWeights)
        hungarian: HungarianConfig = field(default_factory=HungarianConfig)
        one_to_many: OneToManyConfig = field(default_factory=OneToManyConfig)
        weight_positive: float = 10.0
        align_alpha: float = 0.25
        gamma: float = 2.0
        pad_queries: int = 200
        mask_alpha: float = 0.25
        semantic_alpha: float = 0.6
        num_points: int = 12544
        max_masks: int = 256

    def __init__(self, config: Config) -> None:
        self.config = config

    def __call__(
        self,
        output: DetectorOutput,
        targets: Targets,
        *,
        one_to_many: DetectorOutput | None = None,
        known: MatchedPairs | None = None,
        counts: Counts | None = None,
        absent_logits: Float[Tensor, "layer absent"] | None = None,
    ) -> LossReport:
        """The loss of one batch of concept queries.

        `one_to_many` are the predictions of the copies of the queries (`Decoder.doubled_queries`), or of queries whose
        targets are `known` (`Decoder.denoising_queries`). `counts` are those
        of the whole step when this batch is only a part of it. `absent_logits` are presence logits of further prompts
        whose concept is absent; nothing else of such prompts is compared.
        """
        logits, boxes = output.pred_logits.float(), output.pred_boxes.float()
        wanted = targets.boxes_cxcywh[targets.target_object]
        pairs = match_one_to_one(logits, boxes, wanted, targets.target_prompt, self.config.hungarian)
        compared = self._compare(output, targets, counts, pairs)
        compared = replace(compared, absent_logits=absent_logits)
        parts = _computed(compared, LOSSES)
        if one_to_many is not None:
            pairs = self._one_to_many(one_to_many, targets) if known is None else known
            copies = self._compare(one_to_many, targets, counts, pairs)
            parts |= {f"{name}_one_to_many": value for name, value in _computed(copies, QUERY_LOSSES).items()}
        return LossReport(self._weighed(parts), {name: value.detach() for name, value in parts.items()})

    def of_clicks(self, output: DetectorOutput, targets: Targets, *, counts: Counts | None = None) -> LossReport:
        """The loss of click queries, of which each prompt means one object: target i is that of prompt i.

        The query whose mask fits best is matched with the object on every layer; the others learn low scores. Presence
        and the region of the concept have no loss.

        Source: SAM 3 paper, appendix (promptable segmentation on images); Kirillov et al., SAM (the best of several).
        """
        compared = self._compare(output, targets, counts, self._best_masks(output, targets))
        parts = _computed(compared, QUERY_LOSSES)
        named = {f"{name}_clicks": value.detach() for name, value in parts.items()}
        return LossReport(self._weighed(parts), named)

    def of_presence(
        self, presence_logits: Float[Tensor, "layer prompt"], targets: Targets, *, counts: Counts | None = None
    ) -> LossReport:
        """The loss of presence alone: the same term of the total, of all prompts of the targets."""
        value = _presence(presence_logits, present_prompts(targets), counts or Counts.of(targets))
        return LossReport(self._weighed({"loss_presence": value}), {"loss_presence": value.detach()})

    def _compare(
        self, output: DetectorOutput, targets: Targets, counts: Counts | None, pairs: MatchedPairs
    ) -> "MatchedOutput":
        return MatchedOutput(
            output=output,
            targets=targets,
            pairs=pairs,
            present=present_prompts(targets),
            counts=counts or Counts.of(targets),
            config=self.config,
        )

    def _one_to_many(self, output: DetectorOutput, targets: Targets) -> MatchedPairs:
        """Only the last layer is matched one-to-many, as published."""
        logits, boxes = output.pred_logits.float(), output.pred_boxes.float()
        wanted, prompts = targets.boxes_cxcywh[targets.target_object], targets.target_prompt
        last = match_one_to_many(logits[-1], boxes[-1], wanted, prompts, self.config.one_to_many)
        earlier = match_one_to_one(logits[:-1], boxes[:-1], wanted, prompts, self.config.hungarian)
        return MatchedPairs(
            layer_index=torch.cat([earlier.layer_index, torch.full_like(last.layer_index, len(logits) - 1)]),
            prompt_index=torch.cat([earlier.prompt_index, last.prompt_index]),
            query_index=torch.cat([earlier.query_index, last.query_index]),
            target_index=torch.cat([earlier.target_index, last.target_index]),
        )

    @torch.no_grad()
    def _best_masks(self, output: DetectorOutput, targets: Targets) -> MatchedPairs:
        """Each prompt's query with the lowest loss of its mask, matched with the prompt's object on every layer."""
        masks = output.pred_masks.float()
        num_layers, num_prompts, num_queries = output.pred_logits.shape
        wanted = targets.masks[targets.target_object].repeat_interleave(num_queries, dim=0)
        focal, dice = terms.mask_losses(
            masks.flatten(0, 1),
            wanted,
            alpha=self.config.mask_alpha,
            gamma=self.config.gamma,
        )
        cost = self.config.weights.mask * focal + self.config.weights.dice * dice
        layer = torch.arange(num_layers, device=masks.device).repeat_interleave(num_prompts)
        prompt = torch.arange(num_prompts, device=masks.device).repeat(num_layers)
        query = cost.view(num_prompts, num_queries).argmin(dim=1).repeat(num_layers)
        return MatchedPairs(layer_index=layer, prompt_index=prompt, query_index=query, target_index=prompt)

    def _weighed(self, parts: dict[str, Tensor]) -> Tensor:
        """The sum of the parts: `loss_NAME` has the weight NAME, and `one_to_many` multiplies those of the copies."""
        weights, weighed = self.config.weights, []
        for name, value in parts.items():
            plain = name.removesuffix("_one_to_many")
            weight = getattr(weights, WEIGHT_NAMES.get(plain, plain.removeprefix("loss_")))
            weighed.append((weight if plain == name else weight * weights.one_to_many) * value)
        return torch.stack(weighed).sum()


@dataclass(frozen=True, kw_only=True)
class MatchedOutput:
    """One set of queries, the targets it was matched with, and what sums are divided by: all that a loss may read."""

    output: DetectorOutput
    targets: Targets
    pairs: MatchedPairs
    present: Bool[Tensor, " prompt"]
    counts: Counts
    config: Criterion.Config
    absent_logits: Float[Tensor, "layer absent"] | None = None

    @property
    def matched(self) -> tuple[Int[Tensor, " match"], Int[Tensor, " match"], Int[Tensor, " match"]]:
        """Where the matched queries stand: layer, prompt, query."""
        return self.pairs.layer_index, self.pairs.prompt_index, self.pairs.query_index

    @property
    def wanted_boxes(self) -> Float[Tensor, "match 4"]:
        """The boxes that the matched queries should have, cxcywh."""
        return self.targets.boxes_cxcywh[self.targets.target_object][self.pairs.target_index]


def box_losses(compared: MatchedOutput) -> dict[str, Tensor]:
    """L1 and GIoU of matched boxes, summed over layers."""
    boxes = compared.output.pred_boxes.float()[compared.matched]
    distance, overlap = terms.box_losses(boxes, compared.wanted_boxes)
    num_targets = max(1, compared.counts.targets)
    return {"loss_bbox": distance.sum() / num_targets, "loss_giou": overlap.sum() / num_targets}


def class_loss(compared: MatchedOutput) -> dict[str, Tensor]:
    """Classification of all queries, summed over layers.

    A prompt without its concept teaches only presence; one that is not fully labelled has no known negatives.
    """
    config, index = compared.config, compared.matched
    logits, boxes = compared.output.pred_logits.float(), compared.output.pred_boxes.float()
    aligned = terms.alignment(logits[index], boxes[index], compared.wanted_boxes, config.align_alpha)
    soft = terms.soft_targets(tuple(logits.shape), index, aligned)
    towards, away = terms.iou_aware_bce(logits, soft, weight_positive=config.weight_positive, gamma=config.gamma)
    classes = (towards + away * compared.targets.exhaustive[:, None]) * compared.present[:, None]
    queries = max(1, compared.counts.present) * max(logits.shape[-1], config.pad_queries)
    return {"loss_class": classes.sum() / queries}


def presence_loss(compared: MatchedOutput) -> dict[str, Tensor]:
    """Presence of every prompt, on every layer."""
    value = _presence(compared.output.presence_logits, compared.present, compared.counts)
    if compared.absent_logits is not None:
        absent = compared.present.new_zeros(compared.absent_logits.shape[1])
        value = value + _presence(compared.absent_logits, absent, compared.counts)
    return {"loss_presence": value}


def _presence(logits: Float[Tensor, "layer prompt"], present: Tensor, counts: Counts) -> Float[Tensor, ""]:
    return terms.presence_loss(logits.float(), present).sum() / max(1, counts.prompts)


def mask_losses(compared: MatchedOutput) -> dict[str, Tensor]:
    """Focal and dice of the matched masks of the last layer; those beyond `max_masks` are left out evenly."""
    targets, config, pairs = compared.targets, compared.config, compared.pairs
    pairs = pairs.keep(pairs.layer_index == compared.output.pred_logits.shape[0] - 1)
    pairs = pairs.keep(targets.mask_valid[targets.target_object[pairs.target_index]])
    num_pairs = pairs.query_index.numel()
    share = max(1.0, num_pairs / config.max_masks)
    if share > 1:
        picked = torch.linspace(0, num_pairs - 1, config.max_masks, device=pairs.query_index.device)
        pairs = pairs.keep(picked.long())
    focal, dice = terms.mask_losses(
        matched_mask_logits(compared.output, pairs.prompt_index, pairs.query_index).float(),
        targets.masks[targets.target_object[pairs.target_index]],
        alpha=config.mask_alpha,
        gamma=config.gamma,
        num_points=config.num_points,
    )
    scale = share / max(1, compared.counts.targets)
    return {"loss_mask": focal.sum() * scale, "loss_dice": dice.sum() * scale}


def projection_losses(compared: MatchedOutput) -> dict[str, Tensor]:
    """Of matched masks whose object has a box alone: their projections onto both axes against those of the box.

    Source: Tian et al., BoxInst (projection term).
    """
    if not compared.config.weights.projection:
        return {}
    targets, pairs = compared.targets, compared.pairs
    pairs = pairs.keep(pairs.layer_index == compared.output.pred_logits.shape[0] - 1)
    objects = targets.target_object[pairs.target_index]
    pairs, objects = pairs.keep(~targets.mask_valid[objects]), objects[~targets.mask_valid[objects]]
    logits = matched_mask_logits(compared.output, pairs.prompt_index, pairs.query_index).float()
    distance = terms.projection_dice(logits, targets.boxes_cxcywh[objects])
    return {"loss_projection": distance.sum() / max(1, compared.counts.targets)}


def somewhere_loss(compared: MatchedOutput) -> dict[str, Tensor]:
    """Of prompts that the whole image is labelled with: on each layer one query at least should be sure of them."""
    if not compared.config.weights.somewhere:
        return {}
    best = compared.output.pred_logits.float()[:, compared.targets.unlocated].amax(dim=-1)
    return {"loss_somewhere": torch.nn.functional.softplus(-best).sum() / max(1, compared.counts.unlocated)}


def semantic_losses(compared: MatchedOutput) -> dict[str, Tensor]:
    """Focal and dice of the union of instances, over the prompts where that union is known and not empty."""
    valid, config = compared.targets.semantic_valid, compared.config
    focal, dice = terms.mask_losses(
        compared.output.semantic_logits[valid].float(),
        compared.targets.semantic_masks[valid],
        alpha=config.semantic_alpha,
        gamma=config.gamma,
    )
    count = max(1, compared.counts.semantic)
    return {"loss_semantic": focal.sum() / count, "loss_semantic_dice": dice.sum() / count}


Loss = Callable[[MatchedOutput], dict[str, Tensor]]
LOSSES: tuple[Loss, ...] = (
    box_losses,
    class_loss,
    presence_loss,
    mask_losses,
    semantic_losses,
    projection_losses,
    somewhere_loss,
)
QUERY_LOSSES: tuple[Loss, ...] = (
    box_losses,
    class_loss,
    mask_losses,
    projection_losses,
)  # computed of each set of queries, not once
WEIGHT_NAMES = {"loss_class": "classes"}  # where the weight of `loss_NAME` is not called NAME


def _computed(compared: MatchedOutput, losses: Iterable[Loss]) -> dict[str, Tensor]:
    return {name: value for loss in losses for name, value in loss(compared).items()}


def matched_mask_logits(
    output: DetectorOutput, prompt_index: Int[Tensor, " kept"], query_index: Int[Tensor, " kept"]
) -> Float[Tensor, "kept height width"]:
    """`output.mask_logits` for many masks of many prompts: one product a prompt, no copies of the pixel map.

    Needs `prompt_index` in ascending order.
    """
    if prompt_index.numel() == 0 or output.pixel_embeddings.shape[0] == 1:
        return output.mask_logits(prompt_index, query_index)
    embeddings = output.mask_embeddings[prompt_index, query_index]
    biases = output.mask_biases[prompt_index, query_index]
    counts = torch.bincount(prompt_index, minlength=output.pixel_embeddings.shape[0]).tolist()
    pieces = [
        (rows @ pixels.flatten(1)).unflatten(1, pixels.shape[1:])
        for rows, pixels in zip(embeddings.split(counts), output.pixel_embeddings.unbind(0), strict=True)
        if rows.shape[0]
    ]
    return torch.cat(pieces) + biases[:, None, None]
