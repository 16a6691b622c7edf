"""From a list of `Example`s to tensors: images, prompts (phrases and exemplars) and targets.

All examples of a batch have the same square size (`transforms.augment` sees to that). The prompts of all images stand
in one axis and each distinct phrase is encoded once. A *target* is a pair of a prompt and an object that it means: an
object asked for by two phrases is two targets but one mask. Everything random is drawn from the generator handed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from masklet.data.schema import Example
from masklet.media.images import normalise
from masklet.types import VISUAL, Bundle, Exemplars, PromptBatch, bundle


@runtime_checkable
class Encoder(Protocol):
    """The part of the tokenizer that collation needs."""

    def encode(self, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token ids and validity, `[phrase, token]` each, trimmed to the longest phrase."""
        ...


@bundle
class Targets(Bundle):
    """The objects that the prompts of a batch mean. Targets are packed and stand in ascending order of prompts.

    Masks have the resolution of the fine level. `semantic_valid` is False where the union of all instances is unknown
    (a box without a mask, labels that are not exhaustive, no instance at all). `unlocated` prompts have no targets, but
    their concept is somewhere in the image.
    """

    boxes_cxcywh: Float[Tensor, "object 4"]
    masks: Bool[Tensor, "object height width"]
    mask_valid: Bool[Tensor, " object"]
    target_prompt: Int[Tensor, " target"]
    target_object: Int[Tensor, " target"]
    exhaustive: Bool[Tensor, " prompt"]
    semantic_masks: Bool[Tensor, "prompt height width"]
    semantic_valid: Bool[Tensor, " prompt"]
    unlocated: Bool[Tensor, " prompt"]

    def select(self, kept: Bool[Tensor, " prompt"]) -> "Targets":
        """Targets of the kept prompts, which are counted anew; objects stay as they are."""
        rows = kept[self.target_prompt]
        return replace(
            self,
            target_prompt=(kept.cumsum(0) - 1)[self.target_prompt[rows]],
            target_object=self.target_object[rows],
            exhaustive=self.exhaustive[kept],
            semantic_masks=self.semantic_masks[kept],
            semantic_valid=self.semantic_valid[kept],
            unlocated=self.unlocated[kept],
        )


@bundle
class TrainingBatch(Bundle):
    """One forward pass: images in [-1, 1], prompts over them, targets of the prompts."""

    images: Float[Tensor, "image 3 height width"]
    prompts: PromptBatch
    targets: Targets


def select_prompts(prompts: PromptBatch, kept: Bool[Tensor, " prompt"]) -> PromptBatch:
    """The kept prompts; phrases and images stay as they are."""
    return replace(
        prompts,
        phrase_index=prompts.phrase_index[kept],
        image_index=prompts.image_index[kept],
        exemplars=prompts.exemplars.map(lambda tensor: tensor[kept]),
    )


@dataclass(frozen=True, kw_only=True)
class CollateConfig:
    """How queries become prompts; probabilities are per query.

    Corners of exemplars are moved by Gaussian noise of `jitter` times the side, at most by `largest_jitter` of the
    image: as released, where that is 20 pixels of 1008.
    """

    patch_size: int = 14
    max_queries: int = 32
    least_negative_share: float = 0.25
    max_targets: int = 200
    visual_probability: float = 0.2
    text_and_box_probability: float = 0.2
    negative_exemplar_probability: float = 0.3
    max_exemplars: int = 3
    jitter: float = 0.1
    largest_jitter: float = 20 / 1008


@dataclass(frozen=True, kw_only=True)
class Dressed:
    """One query after it was dressed as a prompt: boxes cxcywh and points x y in [0, 1], labels of boxes.

    Every point is on the object; points off it are drawn as corrections of a prediction only.
    """

    phrase: str
    object_index: tuple[int, ...]
    exhaustive: bool
    boxes: np.ndarray
    labels: np.ndarray
    located: bool = True
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))


def collate(
    examples: Sequence[Example], tokenizer: Encoder, config: CollateConfig, rng: np.random.Generator
) -> TrainingBatch:
    """A training batch. Which queries are kept and which get exemplars is decided by `rng`.

    Raises: ValueError when the examples are not square images of one size.
    """
    return assemble(examples, [dress_queries(example, config, rng) for example in examples], tokenizer, config)


def assemble(
    examples: Sequence[Example], asked: Sequence[Sequence[Dressed]], tokenizer: Encoder, config: CollateConfig
) -> TrainingBatch:
    """The batch of what is asked of each example."""
    sizes = {side for example in examples for side in example.image.shape[:2]}
    if len(sizes) != 1:
        raise ValueError(f"a batch needs square images of one size, got sides of {sorted(sizes)} pixels")
    side = sizes.pop()
    prompts: list[Dressed] = []
    image_index: list[int] = []
    objects: list[tuple[int, int]] = []
    targets: list[tuple[int, int]] = []
    for image, of_image in enumerate(asked):
        row_of_object: dict[int, int] = {}
        for prompt in of_image:
            for index in prompt.object_index:
                if index not in row_of_object:
                    row_of_object[index] = len(objects)
                    objects.append((image, index))
                targets.append((len(prompts), row_of_object[index]))
            prompts.append(prompt)
            image_index.append(image)
    images = torch.from_numpy(np.stack([example.image for example in examples]))
    return TrainingBatch(
        images=normalise(images.permute(0, 3, 1, 2)).contiguous(),
        prompts=_prompt_batch(prompts, image_index, tokenizer),
        targets=_targets(examples, objects, targets, prompts, side // config.patch_size * 4),
    )


def dress_queries(example: Example, config: CollateConfig, rng: np.random.Generator) -> list[Dressed]:
    """The kept queries of one example as prompts, some shown by exemplars instead of words, some by both.

    Positives are kept before negatives, but negatives hold `least_negative_share` of the places if there are that many.
    Source: SAM 3 paper, stage 2 (20 % visual only, 20 % text and box).
    """
    positives = [
        query for query in example.queries if not query.located or 0 < len(query.object_index) <= config.max_targets
    ]
    negatives = [query for query in example.queries if query.located and not query.object_index]
    reserved = min(len(negatives), int(config.max_queries * config.least_negative_share))
    positives = _choose(positives, config.max_queries - reserved, rng)
    negatives = _choose(negatives, config.max_queries - len(positives), rng)
    boxes = normalised_boxes(example)
    prompts = []
    for query in [*positives, *negatives]:
        draw = rng.random()
        is_visual = bool(query.object_index) and draw < config.visual_probability
        has_boxes = is_visual or draw < config.visual_probability + config.text_and_box_probability
        shown, labels = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        if has_boxes:
            with_negative = not is_visual and rng.random() < config.negative_exemplar_probability
            shown, labels = _exemplars(boxes, query.object_index, config, rng, with_negative=with_negative)
        prompts.append(
            Dressed(
                phrase=VISUAL if is_visual else query.phrase,
                object_index=query.object_index,
                exhaustive=query.exhaustive,
                boxes=shown,
                labels=labels,
                located=query.located,
            )
        )
    return prompts


def _choose(queries: list, count: int, rng: np.random.Generator) -> list:
    if len(queries) <= count:
        return queries
    return [queries[i] for i in np.sort(rng.permutation(len(queries))[:count])]


def normalised_boxes(example: Example) -> np.ndarray:
    """The boxes of an example, cxcywh in [0, 1]."""
    height, width = example.image.shape[:2]
    corners = example.boxes_xyxy / np.array([width, height, width, height], np.float32)
    low, high = corners[:, :2], corners[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32)


def _exemplars(
    boxes: np.ndarray, objects: tuple[int, ...], config: CollateConfig, rng: np.random.Generator, *, with_negative: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Jittered boxes of one to three objects, and perhaps one of an object that is not meant, with their labels."""
    count = min(len(objects), int(rng.integers(1, config.max_exemplars + 1)))
    chosen = [objects[i] for i in rng.permutation(len(objects))[:count]]
    labels = [1] * count
    others = sorted(set(range(len(boxes))) - set(objects))
    if with_negative and others:
        chosen.append(others[int(rng.integers(len(others)))])
        labels.append(0)
    if not chosen:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    return jitter_boxes(boxes[chosen], config, rng), np.array(labels, np.int64)


def jitter_boxes(boxes_cxcywh: np.ndarray, config: CollateConfig, rng: np.random.Generator) -> np.ndarray:
    """Boxes in [0, 1] with their corners moved; one that collapses stays as it is."""
    low, high = boxes_cxcywh[:, :2] - boxes_cxcywh[:, 2:] / 2, boxes_cxcywh[:, :2] + boxes_cxcywh[:, 2:] / 2
    noise = rng.normal(0, config.jitter, (2, len(boxes_cxcywh), 2)) * boxes_cxcywh[:, 2:]
    noise = np.clip(noise, -config.largest_jitter, config.largest_jitter)
    low, high = np.clip(low + noise[0], 0, 1), np.clip(high + noise[1], 0, 1)
    moved = np.concatenate([(low + high) / 2, high - low], axis=1).astype(np.float32)
    collapsed = (moved[:, 2:] <= 0).any(axis=1, keepdims=True)
    return np.where(collapsed, boxes_cxcywh, moved).astype(np.float32)


def _prompt_batch(prompts: list[Dressed], image_index: list[int], tokenizer: Encoder) -> PromptBatch:
    phrases = list(dict.fromkeys(prompt.phrase for prompt in prompts)) or [VISUAL]
    row_of_phrase = {phrase: row for row, phrase in enumerate(phrases)}
    token_ids, token_valid = tokenizer.encode(phrases)
    boxes, box_valid = _padded([prompt.boxes for prompt in prompts], 4)
    labels, _ = _padded([prompt.labels[:, None] for prompt in prompts], 1)
    points, point_valid = _padded([prompt.points for prompt in prompts], 2)
    exemplars = Exemplars(
        boxes_cxcywh=boxes,
        box_labels=labels[..., 0].long(),
        box_valid=box_valid,
        points_xy=points,
        point_labels=point_valid.long(),
        point_valid=point_valid,
    )
    return PromptBatch(
        token_ids=token_ids,
        token_valid=token_valid,
        phrase_index=torch.tensor([row_of_phrase[prompt.phrase] for prompt in prompts], dtype=torch.int64),
        image_index=torch.tensor(image_index, dtype=torch.int64),
        exemplars=exemplars,
    )


def _padded(rows: Sequence[np.ndarray], width: int) -> tuple[Tensor, Tensor]:
    """Rows of unequal length on zeros, as float32, and where they are."""
    most = max((len(row) for row in rows), default=0)
    values, valid = torch.zeros(len(rows), most, width), torch.zeros(len(rows), most, dtype=torch.bool)
    for index, row in enumerate(rows):
        values[index, : len(row)], valid[index, : len(row)] = torch.from_numpy(row), True
    return values, valid


def _targets(
    examples: Sequence[Example],
    objects: list[tuple[int, int]],
    targets: list[tuple[int, int]],
    prompts: list[Dressed],
    mask_side: int,
) -> Targets:
    boxes = [normalised_boxes(example) for example in examples]
    pairs = torch.tensor(targets, dtype=torch.int64).view(-1, 2)
    target_prompt, target_object = pairs[:, 0], pairs[:, 1]
    masks = torch.zeros(len(objects), mask_side, mask_side, dtype=torch.bool)
    for row, (image, index) in enumerate(objects):
        masks[row] = shrink_mask(examples[image].masks[index], mask_side)
    mask_valid = torch.tensor([bool(examples[i].mask_valid[j]) for i, j in objects], dtype=torch.bool)
    semantic = torch.zeros(len(prompts), mask_side, mask_side, dtype=torch.bool)
    exhaustive = torch.tensor([prompt.exhaustive for prompt in prompts], dtype=torch.bool)
    semantic_valid = exhaustive & torch.tensor([bool(prompt.object_index) for prompt in prompts], dtype=torch.bool)
    for prompt, row in targets:
        semantic[prompt] |= masks[row]
        semantic_valid[prompt] &= mask_valid[row]
    return Targets(
        boxes_cxcywh=torch.from_numpy(np.array([boxes[i][j] for i, j in objects], np.float32).reshape(-1, 4)),
        masks=masks,
        mask_valid=mask_valid,
        target_prompt=target_prompt,
        target_object=target_object,
        exhaustive=exhaustive,
        semantic_masks=semantic,
        semantic_valid=semantic_valid,
        unlocated=torch.tensor([not prompt.located for prompt in prompts], dtype=torch.bool),
    )


def shrink_mask(mask: Bool[np.ndarray, "height width"], side: int) -> Bool[Tensor, "side side"]:
    """The mask at `side` by `side`: cells covered at least half; of a smaller object, those covered best."""
    coverage = F.adaptive_avg_pool2d(torch.from_numpy(mask)[None].float(), side)[0]
    bar = coverage.max().clamp(max=0.5)
    return (coverage >= bar) & (coverage > 0)
