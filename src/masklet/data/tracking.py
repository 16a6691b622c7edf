"""From clips to a training batch of the tracker: frames, the masks of a few objects, and how these are pointed at.

The objects of all clips stand in one axis. Everything random about a batch is drawn from the generator handed in, but
for corrections, which depend on what the model predicts.

Source: Ravi et al., SAM 2, appendix (training); SAM 3 paper, appendix (tracker).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from masklet.data.pointing import click_inside
from masklet.data.schema import Clip
from masklet.errors import InputError
from masklet.media.images import normalise
from masklet.ops.masks import mask_to_box
from masklet.types import Bundle, bundle

Pointing = Literal["mask", "box", "click"]
MOST_UNUSABLE = 200  # clips for one batch


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """How clips become tasks.

    `image_share` of the batches are stills (`image_batch` times as many), where objects are never given as masks.
    A share of `second_frame_share` of the clips shows the objects on a second frame, too. Objects are at least
    `least_area` of the first frame. `corrections` follow a box or a click, on clips and on stills.
    """

    num_frames: int = 8
    max_objects: int = 3
    image_share: float = 0.25
    image_batch: int = 4
    mask_share: float = 0.5
    box_share: float = 0.25
    second_frame_share: float = 0.3
    least_area: float = 0.001
    corrections: int = 7
    image_corrections: int = 7
    box_jitter: float = 0.1
    largest_jitter: float = 0.02


@bundle
class TrackBatch(Bundle):
    """Clips of one length, `conditioning` frames where the objects are given, and in which way.

    `first_points` are the box corners or the click on each of those frames, as a `ClickPrompt` has them; they are empty
    where objects are given as masks. Images are normalised to [-1, 1].
    """

    images: Float[Tensor, "image 3 image_height image_width"]
    masks: Bool[Tensor, "object frame image_height image_width"]
    clip_index: Int[Tensor, " object"]
    conditioning: tuple[int, ...]
    pointing: Pointing
    first_points: Float[Tensor, "object given point 2"]
    first_labels: Int[Tensor, " point"]
    corrections: int

    @property
    def num_frames(self) -> int:
        """Frames of each clip."""
        return self.masks.shape[1]


def draw_batch(
    draw: Callable[[int], Clip], num_clips: int, config: TrackingConfig, rng: np.random.Generator
) -> TrackBatch:
    """A batch of clips, or of stills; `draw(num_frames)` is asked until all clips show an object in the first frame.

    Raises: InputError when clips without one keep coming.
    """
    still = rng.random() < config.image_share
    wanted, num_frames = (num_clips * config.image_batch, 1) if still else (num_clips, config.num_frames)
    images, masks, index = [], [], []
    for _ in range(wanted + MOST_UNUSABLE):
        if len(images) == wanted:
            break
        clip = draw(num_frames)
        chosen = choose_objects(clip, config, rng)
        if len(chosen):
            index += [len(images)] * len(chosen)
            masks.append(np.stack([frame.masks[chosen] for frame in clip.frames], axis=1))
            images.append(np.stack([frame.image for frame in clip.frames]))
    if len(images) < wanted:
        share = f"{100 * config.least_area:g} %"
        raise InputError(
            f"of {MOST_UNUSABLE} clips none begins with an object of {share} of the frame (least_area) or more"
        )
    return point_out(np.concatenate(images), np.concatenate(masks), index, still=still, config=config, rng=rng)


def choose_objects(clip: Clip, config: TrackingConfig, rng: np.random.Generator) -> Int[np.ndarray, " object"]:
    """Some of the objects that the first frame shows large enough."""
    first = clip.frames[0].masks
    shares = first.mean(axis=(1, 2)) if len(first) else np.zeros(0)
    return rng.permutation(np.flatnonzero(shares >= config.least_area))[: config.max_objects]


def point_out(
    images: np.ndarray,
    masks: Bool[np.ndarray, "object frame height width"],
    clip_index: Sequence[int],
    *,
    still: bool,
    config: TrackingConfig,
    rng: np.random.Generator,
) -> TrackBatch:
    """Choose the frames on which objects are given, and how; the same for the whole batch, so that it stays one."""
    share = config.box_share / (1 - config.mask_share) if still else config.mask_share + config.box_share
    chance = rng.random()
    pointing: Pointing = "mask" if not still and chance < config.mask_share else "box" if chance < share else "click"
    # The first frame and sometimes a later one that shows every object, if that leaves one to follow them on
    conditioning = [0]
    shown = [bool(frame.any(axis=(1, 2)).all()) for frame in masks.swapaxes(0, 1)]
    whole = [frame for frame in range(1, len(shown)) if shown[frame]]
    if whole and len(shown) > 2 and rng.random() < config.second_frame_share:
        conditioning.append(whole[int(rng.integers(len(whole)))])
    # How the objects are given there
    points = np.zeros((len(masks), len(conditioning), 0, 2), np.float32)
    if pointing != "mask":
        given = masks[:, conditioning].reshape(-1, *masks.shape[2:])
        each = [_jittered_box(mask, config, rng) if pointing == "box" else click_inside(mask, rng) for mask in given]
        points = np.stack(each).astype(np.float32).reshape(len(masks), len(conditioning), -1, 2)
    labels = {"mask": [], "box": [2, 3], "click": [1]}[pointing]
    corrections = 0 if pointing == "mask" else config.image_corrections if still else config.corrections
    pixels = normalise(torch.from_numpy(images).permute(0, 3, 1, 2))
    return TrackBatch(
        images=pixels.contiguous(),
        masks=torch.from_numpy(masks),
        clip_index=torch.tensor(list(clip_index)),
        conditioning=tuple(conditioning),
        pointing=pointing,
        first_points=torch.from_numpy(points),
        first_labels=torch.tensor(labels, dtype=torch.long),
        corrections=corrections,
    )


def _jittered_box(mask: np.ndarray, config: TrackingConfig, rng: np.random.Generator) -> np.ndarray:
    """Corners of the box, each coordinate off by up to a share of the side."""
    size = np.array([mask.shape[1], mask.shape[0]] * 2, np.float64)
    box = mask_to_box(mask)
    assert box is not None  # conditioning frames show every object
    corners = np.array(box) / size
    sides = np.tile(corners[2:] - corners[:2], 2)
    reach = np.minimum(config.box_jitter * sides, config.largest_jitter)
    return np.clip(corners + rng.uniform(-1, 1, 4) * reach, 0, 1).reshape(2, 2)
