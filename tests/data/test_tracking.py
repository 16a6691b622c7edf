"""Batches for the tracker: whose objects, on which frames, pointed at how."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from masklet.data.schema import Clip, Example
from masklet.data.tracking import TrackBatch, TrackingConfig, choose_objects, draw_batch
from masklet.errors import InputError

CONFIG = TrackingConfig(num_frames=4, least_area=0.01)


def _clip(num_frames: int, seed: int = 0) -> Clip:
    """A large object that stays, one that leaves after two frames, a speck, and one that only comes later."""
    frames = []
    for frame in range(num_frames):
        masks = np.zeros((4, 50, 50), bool)
        masks[0, 5:25, 5 + frame : 25 + frame] = True
        masks[1, 30:45, 10:25] = frame < 2
        masks[2, 0, 0] = True
        masks[3, 30:45, 30:45] = frame >= 1
        frames.append(
            Example(
                image=np.full((50, 50, 3), 10 * seed + frame, np.uint8),
                boxes_xyxy=np.zeros((4, 4), np.float32),
                masks=masks,
                mask_valid=np.ones(4, bool),
                queries=(),
                source="test",
            )
        )
    return Clip(frames=tuple(frames))


def _batches(config: TrackingConfig, count: int = 40) -> list[TrackBatch]:
    return [draw_batch(_clip, 2, config, np.random.default_rng(seed)) for seed in range(count)]


def test_objects_are_those_the_first_frame_shows_large_enough() -> None:
    chosen = choose_objects(_clip(4), CONFIG, np.random.default_rng(0))
    assert sorted(chosen.tolist()) == [0, 1]
    assert len(choose_objects(_clip(4), replace(CONFIG, max_objects=1), np.random.default_rng(0))) == 1


def test_every_row_is_an_object_of_its_own_clip() -> None:
    seeds = iter(range(2))
    batch = draw_batch(lambda n: _clip(n, next(seeds)), 2, replace(CONFIG, image_share=0.0), np.random.default_rng(0))
    assert batch.images.shape == (8, 3, 50, 50)
    assert batch.masks.shape[1] == batch.num_frames == 4
    assert batch.clip_index.tolist() == [0, 0, 1, 1]
    pixels = (batch.images[batch.clip_index * 4 + 2, 0, 0, 0] + 1) * 127.5
    assert pixels.round().int().tolist() == [2, 2, 12, 12]


def test_points_lie_where_the_way_of_pointing_says() -> None:
    seen = Counter()
    for batch in _batches(CONFIG):
        seen[batch.pointing] += 1
        for masks, given in zip(batch.masks, batch.first_points, strict=True):
            for frame, points in zip(batch.conditioning, given, strict=True):
                rows, columns = torch.nonzero(masks[frame], as_tuple=True)
                if batch.pointing == "click":
                    column, row = (points[0] * 50).int().tolist()
                    assert masks[frame, row, column]
                elif batch.pointing == "box":
                    corners = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]) / 50
                    assert (points.flatten() - corners).abs().max() <= CONFIG.largest_jitter + 1e-6
                else:
                    assert points.shape == (0, 2)
    assert all(seen[pointing] >= 5 for pointing in ("mask", "box", "click"))


def test_a_second_frame_shows_every_object() -> None:
    batches = _batches(replace(CONFIG, image_share=0.0, second_frame_share=1.0))
    assert {batch.conditioning for batch in batches} == {(0, 1)}  # one of the objects is gone from frame 2 on


def test_stills_have_one_frame_and_are_never_given_as_masks() -> None:
    batches = _batches(replace(CONFIG, image_share=1.0, image_corrections=5))
    assert {batch.num_frames for batch in batches} == {1}
    assert {batch.pointing for batch in batches} == {"box", "click"}
    assert {batch.corrections for batch in batches} == {5}
    assert all(len(batch.images) == 8 for batch in batches)


def test_masks_need_no_correction() -> None:
    config = replace(CONFIG, image_share=0.0, corrections=2)
    corrections = {batch.pointing: batch.corrections for batch in _batches(config)}
    assert corrections == {"mask": 0, "box": 2, "click": 2}


@pytest.mark.parametrize("seed", range(3))
def test_the_same_generator_state_gives_the_same_batch(seed: int) -> None:
    first, second = (draw_batch(_clip, 2, CONFIG, np.random.default_rng(seed)) for _ in range(2))
    assert (first.pointing, first.conditioning) == (second.pointing, second.conditioning)
    for name in ("images", "masks", "clip_index", "first_points", "first_labels"):
        assert torch.equal(getattr(first, name), getattr(second, name)), name


def test_clips_that_never_show_an_object_are_refused() -> None:
    config = TrackingConfig(num_frames=2, least_area=0.9)
    with pytest.raises(InputError, match="none begins with an object of 90 % of the frame"):
        draw_batch(_clip, 2, config, np.random.default_rng(0))
