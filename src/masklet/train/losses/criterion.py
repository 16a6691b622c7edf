"""The detector's total loss: matching, every layer, both halves of the queries, masks and semantic map.

Two published details are changed on purpose. The loss is not multiplied by the square root of the number of prompts,
which would tie the learning rate to how many phrases an image carries; and the classification loss is averaged over
the prompts whose concept is present, because only those take part in it.
"""

from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from jaxtyping import Float, Int
from torch import Tensor

from masklet.data.collate import Targets
from masklet.train.losses import terms as losses
from masklet.train.losses.matcher import HungarianConfig, Matches, OneToManyConfig, match_one_to_many, match_one_to_one
from masklet.types import DetectorOutput


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the summed losses, as in the paper's pre-training."""

    bbox: float = 5.0
    giou: float = 2.0
    classes: float = 100.0
    presence: float = 20.0
    mask: float = 200.0
    dice: float = 10.0
    semantic: float = 20.0
    semantic_dice: float = 30.0
    one_to_many: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Counts:
    """What sums are divided by. Add the counts of all micro-batches to make accumulation equal one large batch."""

    targets: int
    prompts: int
    present: int
    semantic: int

    @classmethod
    def of(cls, targets: Targets) -> "Counts":
        """The counts of one batch; a prompt is present when it has a target with an area."""
        return cls(
            targets=targets.target_prompt.numel(),
            prompts=targets.exhaustive.numel(),
            present=int(present_prompts(targets).sum()),
            semantic=int(targets.semantic_valid.sum()),
        )

    def over_processes(self) -> "Counts":
        """The counts of all processes together."""
        if not dist.is_initialized():
            return self
        values = torch.tensor([self.targets, self.prompts, self.present, self.semantic])
        dist.all_reduce(values)
        return Counts(**dict(zip(("targets", "prompts", "present", "semantic"), values.tolist(), strict=True)))

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            targets=self.targets + other.targets,
            prompts=self.prompts + other.prompts,
            present=self.present + other.present,
            semantic=self.semantic + other.semantic,
        )


@dataclass(frozen=True)
class LossReport:
    """The loss to minimise, and its unweighted parts, detached and still on the device."""

    total: Float[Tensor, ""]
    parts: dict[str, Tensor] = field(default_factory=dict)


def present_prompts(targets: Targets) -> Tensor:
    """True for prompts with at least one target whose box has an area."""
    visible = (targets.boxes_cxcywh[targets.target_object, 2:] > 0).all(-1)
    present = torch.zeros_like(targets.exhaustive)
    present[targets.target_prompt[visible]] = True
    return present


class Criterion:
    """Compares what the detector said with the targets."""

    @dataclass(frozen=True, kw_only=True)
    class Config:
        """Published values; `num_points` bounds the pixels compared of a mask."""

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
        counts: Counts | None = None,
        one_to_many: bool = True,
        absent_logits: Float[Tensor, "layer absent"] | None = None,
    ) -> LossReport:
        """The loss of one batch; `one_to_many` says that the query axis holds both halves.

        `counts` are the counts of the whole step when this batch is only a part of it. `absent_logits` are presence
        logits of further prompts whose concept is absent: nothing else of those is ever looked at.
        """
        counts = counts or Counts.of(targets)
        num_queries = output.pred_logits.shape[-1] // (2 if one_to_many else 1)
        logits, boxes = output.pred_logits.float(), output.pred_boxes.float()
        present = present_prompts(targets)
        target_boxes = targets.boxes_cxcywh[targets.target_object]
        first = self._one_to_one(logits[..., :num_queries], boxes[:, :, :num_queries], target_boxes, targets)
        parts = self._query_losses(
            logits[..., :num_queries], boxes[:, :, :num_queries], first, target_boxes, targets, present, counts
        )
        presence = _presence(output.presence_logits, present, counts)
        if absent_logits is not None:
            presence = presence + _presence(absent_logits, present.new_zeros(absent_logits.shape[1]), counts)
        parts["loss_presence"] = presence
        last = first.keep(first.layer_index == logits.shape[0] - 1)
        parts |= self._mask_losses(output, last, targets, counts, offset=0)
        parts |= self._semantic_losses(output, targets, counts)
        if one_to_many:
            logits, boxes = logits[..., num_queries:], boxes[:, :, num_queries:]
            second, last = self._one_to_many(logits, boxes, target_boxes, targets)
            more = self._query_losses(logits, boxes, second, target_boxes, targets, present, counts)
            more |= self._mask_losses(output, last, targets, counts, offset=num_queries)
            parts |= {f"{name}_one_to_many": value for name, value in more.items()}
        return LossReport(self._weighed(parts), {name: value.detach() for name, value in parts.items()})

    def of_clicks(self, output: DetectorOutput, targets: Targets, *, counts: Counts | None = None) -> LossReport:
        """The loss of click queries, of which each prompt means one object: target i is that of prompt i.

        The query whose mask fits best is told what it should have been, on every layer, and to be the surest; the
        others to be unsure. Presence says nothing, and there is no region of a concept.

        Source: SAM 3 paper, appendix (promptable segmentation on images); Kirillov et al., SAM (the best of several).
        """
        counts = counts or Counts.of(targets)
        matches = self._best_masks(output, targets)
        parts = self._query_losses(
            output.pred_logits.float(),
            output.pred_boxes.float(),
            matches,
            targets.boxes_cxcywh[targets.target_object],
            targets,
            present_prompts(targets),
            counts,
        )
        last = matches.keep(matches.layer_index == output.pred_logits.shape[0] - 1)
        parts |= self._mask_losses(output, last, targets, counts, offset=0)
        named = {f"{name}_clicks": value.detach() for name, value in parts.items()}
        return LossReport(self._weighed(parts), named)

    def of_presence(
        self, presence_logits: Float[Tensor, "layer prompt"], targets: Targets, *, counts: Counts | None = None
    ) -> LossReport:
        """The loss of presence alone: the same term of the total, of all prompts of the targets."""
        value = _presence(presence_logits, present_prompts(targets), counts or Counts.of(targets))
        return LossReport(self._weighed({"loss_presence": value}), {"loss_presence": value.detach()})

    @torch.no_grad()
    def _best_masks(self, output: DetectorOutput, targets: Targets) -> Matches:
        """Each prompt's query with the lowest loss of its mask, matched with the prompt's object on every layer."""
        masks = output.pred_masks.float()
        num_layers, num_prompts, num_queries = output.pred_logits.shape
        wanted = targets.masks[targets.target_object].repeat_interleave(num_queries, dim=0)
        focal, dice = losses.mask_losses(
            masks.flatten(0, 1),
            wanted,
            alpha=self.config.mask_alpha,
            gamma=self.config.gamma,
            num_points=wanted.shape[-2:].numel(),
        )
        cost = self.config.weights.mask * focal + self.config.weights.dice * dice
        rows = torch.arange(num_prompts, device=masks.device)
        return Matches(
            layer_index=torch.arange(num_layers, device=masks.device).repeat_interleave(num_prompts),
            prompt_index=rows.repeat(num_layers),
            query_index=cost.view(num_prompts, num_queries).argmin(dim=1).repeat(num_layers),
            target_index=rows.repeat(num_layers),
        )

    def _one_to_one(self, logits: Tensor, boxes: Tensor, target_boxes: Tensor, targets: Targets) -> Matches:
        return match_one_to_one(logits, boxes, target_boxes, targets.target_prompt, self.config.hungarian)

    def _one_to_many(
        self, logits: Tensor, boxes: Tensor, target_boxes: Tensor, targets: Targets
    ) -> tuple[Matches, Matches]:
        """Pairs of all layers and those of the last: only the last is matched one-to-many, as published."""
        last = match_one_to_many(logits[-1], boxes[-1], target_boxes, targets.target_prompt, self.config.one_to_many)
        earlier = self._one_to_one(logits[:-1], boxes[:-1], target_boxes, targets)
        joined = Matches(
            layer_index=torch.cat([earlier.layer_index, torch.full_like(last.layer_index, logits.shape[0] - 1)]),
            prompt_index=torch.cat([earlier.prompt_index, last.prompt_index]),
            query_index=torch.cat([earlier.query_index, last.query_index]),
            target_index=torch.cat([earlier.target_index, last.target_index]),
        )
        return joined, last

    def _query_losses(
        self,
        logits: Tensor,
        boxes: Tensor,
        matches: Matches,
        target_boxes: Tensor,
        targets: Targets,
        present: Tensor,
        counts: Counts,
    ) -> dict[str, Tensor]:
        """Boxes and classification, summed over layers."""
        config = self.config
        index = (matches.layer_index, matches.prompt_index, matches.query_index)
        matched_boxes, wanted = boxes[index], target_boxes[matches.target_index]
        distance, overlap = losses.box_losses(matched_boxes, wanted)
        aligned = losses.alignment(logits[index], matched_boxes, wanted, config.align_alpha)
        soft = losses.soft_targets(tuple(logits.shape), index, aligned)
        towards, away = losses.iou_aware_bce(logits, soft, weight_positive=config.weight_positive, gamma=config.gamma)
        # A prompt without its concept teaches only presence; one that is not fully labelled has no known negatives.
        classes = (towards + away * targets.exhaustive[:, None]) * present[:, None]
        queries = max(1, counts.present) * max(logits.shape[-1], config.pad_queries)
        num_targets = max(1, counts.targets)
        return {
            "loss_bbox": distance.sum() / num_targets,
            "loss_giou": overlap.sum() / num_targets,
            "loss_class": classes.sum() / queries,
        }

    def _mask_losses(
        self, output: DetectorOutput, matches: Matches, targets: Targets, counts: Counts, *, offset: int
    ) -> dict[str, Tensor]:
        """Focal and dice of the matched masks of the last layer; those beyond `max_masks` are left out evenly."""
        matches = matches.keep(targets.mask_valid[targets.target_object[matches.target_index]])
        num_matches = matches.query_index.numel()
        share = max(1.0, num_matches / self.config.max_masks)
        if share > 1:
            picked = torch.linspace(0, num_matches - 1, self.config.max_masks, device=matches.query_index.device)
            matches = matches.map(lambda index: index[picked.long()])
        mask_logits = matched_mask_logits(output, matches.prompt_index, matches.query_index + offset)
        focal, dice = losses.mask_losses(
            mask_logits.float(),
            targets.masks[targets.target_object[matches.target_index]],
            alpha=self.config.mask_alpha,
            gamma=self.config.gamma,
            num_points=self.config.num_points,
        )
        scale = share / max(1, counts.targets)
        return {"loss_mask": focal.sum() * scale, "loss_dice": dice.sum() * scale}

    def _semantic_losses(self, output: DetectorOutput, targets: Targets, counts: Counts) -> dict[str, Tensor]:
        """Focal and dice of the union of instances, over the prompts where that union is known and not empty."""
        valid = targets.semantic_valid
        focal, dice = losses.semantic_losses(
            output.semantic_logits[valid].float(),
            targets.semantic_masks[valid],
            alpha=self.config.semantic_alpha,
            gamma=self.config.gamma,
        )
        count = max(1, counts.semantic)
        return {"loss_semantic": focal.sum() / count, "loss_semantic_dice": dice.sum() / count}

    def _weighed(self, parts: dict[str, Tensor]) -> Tensor:
        weights = self.config.weights
        weight_of = {
            "loss_bbox": weights.bbox,
            "loss_giou": weights.giou,
            "loss_class": weights.classes,
            "loss_presence": weights.presence,
            "loss_mask": weights.mask,
            "loss_dice": weights.dice,
            "loss_semantic": weights.semantic,
            "loss_semantic_dice": weights.semantic_dice,
        }
        weight_of |= {f"{name}_one_to_many": weight * weights.one_to_many for name, weight in weight_of.items()}
        return torch.stack([weight_of[name] * value for name, value in parts.items()]).sum()


def _presence(logits: Float[Tensor, "layer prompt"], present: Tensor, counts: Counts) -> Float[Tensor, ""]:
    return losses.presence_loss(logits.float(), present).sum() / max(1, counts.prompts)


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
