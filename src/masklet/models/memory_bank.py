"""The memories of a group of objects, and which of them a frame attends to. Bookkeeping only, no network.

Objects that began on one frame share a bank: their memories are rows of the same tensors, and a frame is in it for all
of them or for none. A bank is never changed, only replaced.

Source: Ravi et al., SAM 2 (memory bank); SAM 3 paper, appendix (frames chosen by how well the objects are seen).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from masklet.models.memory import MaskMemory, MemoryTokens
from masklet.types import Bundle, bundle


@bundle
class Memory(Bundle):
    """One frame as some objects remember it. `maps` is None once no later frame can attend to it.

    `usefulness` is how well they were seen there, in [0, 1], or None on a conditioning frame; `by_user` says of such a
    frame that a person gave it.
    """

    mask_logits: Float[Tensor, "object low_height low_width"]
    object_logits: Float[Tensor, " object"]
    pointers: Float[Tensor, "object dim"]
    maps: Float[Tensor, "object memory_dim height width"] | None = None
    usefulness: float | None = None
    by_user: bool = False


@dataclass(frozen=True, kw_only=True)
class Recall:
    """The memories that a frame attends to: maps with their row of `MaskMemory.ages`, pointers with their age."""

    maps: tuple[tuple[Memory, int], ...]
    pointers: tuple[tuple[Memory, int], ...]


@dataclass(frozen=True, kw_only=True)
class MemoryBank:
    """Memories by frame: `conditioning` of frames with a prompt of the user or the detector, `tracked` of others."""

    conditioning: Mapping[int, Memory] = field(default_factory=dict)
    tracked: Mapping[int, Memory] = field(default_factory=dict)

    def get(self, frame: int) -> Memory | None:
        """The memory of a frame, if there is one."""
        return self.conditioning.get(frame) or self.tracked.get(frame)

    def with_tracked(self, frame: int, memory: Memory) -> "MemoryBank":
        """The bank with a tracked frame. A conditioning frame stays one, with the new memory."""
        if frame in self.conditioning:
            return replace(self, conditioning={**self.conditioning, frame: memory})
        others = {key: value for key, value in self.tracked.items() if key != frame}
        return replace(self, tracked={**others, frame: memory})  # in the order of the visits

    def with_conditioning(self, frame: int, memory: Memory) -> "MemoryBank":
        """The bank with a conditioning frame, which is then no longer a tracked one."""
        tracked = {key: value for key, value in self.tracked.items() if key != frame}
        return MemoryBank(conditioning={**self.conditioning, frame: memory}, tracked=tracked)

    def demote(self, frames: Iterable[int]) -> "MemoryBank":
        """The bank with these conditioning frames among the tracked ones."""
        moved = set(frames)
        kept = {frame: memory for frame, memory in self.conditioning.items() if frame not in moved}
        tracked = {frame: self.conditioning[frame] for frame in self.conditioning if frame in moved}
        return MemoryBank(conditioning=kept, tracked={**self.tracked, **tracked})

    def promote(self, frames: Iterable[int]) -> "MemoryBank":
        """The bank with these tracked frames among the conditioning ones, as far as their maps were kept."""
        moved = {f: self.tracked[f] for f in frames if f in self.tracked and self.tracked[f].maps is not None}
        kept = {frame: memory for frame, memory in self.tracked.items() if frame not in moved}
        conditioning = {frame: replace(memory, usefulness=None) for frame, memory in moved.items()}
        return MemoryBank(conditioning={**self.conditioning, **conditioning}, tracked=kept)

    def select(self, rows: Int[Tensor, " kept"]) -> "MemoryBank":
        """The bank of some of the objects."""
        return MemoryBank(
            conditioning={frame: memory.map(lambda x: x[rows]) for frame, memory in self.conditioning.items()},
            tracked={frame: memory.map(lambda x: x[rows]) for frame, memory in self.tracked.items()},
        )


def usefulness(iou_scores: Float[Tensor, "object mask"], object_logits: Float[Tensor, " object"]) -> float:
    """How well a frame shows the objects: their mean certainty of being visible times their mean best expected IoU.

    The product of two means, not the mean of products: so the published model computes it for several objects.
    """
    seen = torch.where(object_logits > 0, 2 * object_logits.sigmoid() - 1, 0)
    return float(seen.mean() * iou_scores.max(dim=-1).values.mean())


def closest_frames(frames: Iterable[int], frame: int, limit: int) -> tuple[list[int], list[int]]:
    """At most `limit` frames and the others: the nearest before, the nearest from `frame` on, then by distance."""
    every = list(frames)
    if len(every) <= limit:
        return every, []
    chosen = [max((f for f in every if f < frame), default=None), min((f for f in every if f >= frame), default=None)]
    selected = [f for f in chosen if f is not None]
    by_distance = sorted((f for f in every if f not in selected), key=lambda f: abs(f - frame))
    selected += by_distance[: limit - len(selected)]
    return selected, [f for f in every if f not in selected]


@dataclass(frozen=True, kw_only=True)
class Traversal:
    """The order of the frames: every `stride`-th, backwards or not, of `num_frames` where that is known."""

    reverse: bool = False
    stride: int = 1
    num_frames: int | None = None

    @property
    def step(self) -> int:
        """Index of the next frame less that of this one."""
        return -self.stride if self.reverse else self.stride

    @property
    def first(self) -> float | int:
        """The index of the first frame."""
        if not self.reverse:
            return 0
        return math.inf if self.num_frames is None else self.num_frames - 1

    def pointer_reach(self, config: MaskMemory.Config) -> int:
        """Age of the oldest pointer, in frames."""
        return min(self.num_frames or config.max_pointers, config.max_pointers) - 1


def useful_frames(
    tracked: Mapping[int, Memory], frame: int, traversal: Traversal, *, limit: int, threshold: float
) -> list[int]:
    """The latest `limit` tracked frames, oldest first, on which the objects are well seen, and always the last one.

    Going forward, frame 0 is never chosen, as in the published model.
    """
    if frame == traversal.first:
        return []
    good = [
        f
        for f, memory in tracked.items()
        if (frame - f) * traversal.step > 0
        and (f > 0 or traversal.reverse)
        and memory.usefulness is not None
        and memory.usefulness > threshold
    ]
    good = sorted(good, key=lambda f: abs(f - frame), reverse=True)[-limit:]
    previous = frame - traversal.step
    return good if previous in good else [*good, previous]


def recall(bank: MemoryBank, frame: int, config: MaskMemory.Config, traversal: Traversal) -> Recall:
    """The memories that the objects of the bank attend to on `frame`."""
    step = traversal.step
    chosen, others = closest_frames(bank.conditioning, frame, config.max_conditioning)
    spare = {**{f: bank.conditioning[f] for f in others}, **bank.tracked}
    frames = _earlier_frames(bank.tracked, frame, config, traversal)
    recent = [(rank, spare[f]) for rank, f in enumerate(frames, start=1) if f in spare]
    # Of the frames that it selected the published model never reads the oldest pointer.
    pointed = [(rank, memory) for rank, memory in recent if rank < len(frames) or not config.selective]
    given = [(bank.conditioning[f], (frame - f) // step) for f in chosen if (frame - f) * step >= 0]
    oldest = config.num_maps - 1
    mapped = [(memory, rank - 1) for rank, memory in recent if rank <= oldest and memory.maps is not None]
    return Recall(
        maps=(*((bank.conditioning[f], oldest) for f in chosen), *mapped),
        pointers=(*given, *((memory, rank) for rank, memory in pointed)),
    )


def trim(bank: MemoryBank, frame: int, config: MaskMemory.Config, traversal: Traversal, keep: int) -> MemoryBank:
    """The bank after `frame` without memories that the rest of the traversal cannot reach.

    The `keep` frames visited last stay, too, and as many conditioning frames of the detector, for corrections and for
    the way back. Frames with a prompt of the user are never trimmed.
    """
    reachable = _earlier_frames(bank.tracked, frame + traversal.step, config, traversal)
    mapped = {*reachable[: config.num_maps - 1], *list(bank.tracked)[len(bank.tracked) - keep :]}
    tracked = {
        f: memory if f in mapped else replace(memory, maps=None)
        for f, memory in bank.tracked.items()
        if f in mapped or f in reachable
    }
    by_detector = [f for f, memory in bank.conditioning.items() if not memory.by_user]
    dropped = set(by_detector[1 : -max(keep, config.max_conditioning)])  # the first is where the objects began
    conditioning = {f: memory for f, memory in bank.conditioning.items() if f not in dropped}
    return MemoryBank(conditioning=conditioning, tracked=tracked)


def read_memory(network: MaskMemory, recalled: Recall, traversal: Traversal) -> MemoryTokens:
    """The recalled memories as tokens."""
    maps = [memory.maps for memory, _ in recalled.maps if memory.maps is not None]
    longest = max(traversal.pointer_reach(network.config), 1)
    return network.assemble(
        maps,
        [age for _, age in recalled.maps],
        [memory.pointers for memory, _ in recalled.pointers],
        [age / longest for _, age in recalled.pointers],
    )


def _earlier_frames(
    tracked: Mapping[int, Memory], frame: int, config: MaskMemory.Config, traversal: Traversal
) -> Sequence[int]:
    """Frames to look back at, the latest first: those that show the objects well, or simply the latest."""
    reach = traversal.pointer_reach(config)
    if config.selective:
        return useful_frames(tracked, frame, traversal, limit=reach, threshold=config.min_usefulness)[::-1]
    every = (frame - traversal.step * age for age in range(1, reach + 1))
    return [f for f in every if f >= 0 and (traversal.num_frames is None or f < traversal.num_frames)]
