"""Augmented clips: everything turns together, masks go with their pixels, and copies in a mosaic are not meant."""

from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import Bool

from masklet.data.clip_transforms import ClipAugmentConfig, augment_clip, boxes_of, random_affine
from masklet.data.schema import Clip, Example

SIDE = 64
NOTHING = ClipAugmentConfig(
    flip_probability=0.0,
    reverse_probability=0.0,
    degrees=0.0,
    shear=0.0,
    color=(0.0, 0.0, 0.0),
    grey_probability=0.0,
    flicker=(0.0, 0.0, 0.0),
    mosaic_probability=0.0,
)
COLOURS = ((250, 0, 0), (0, 250, 0))


def make_clip(num_frames: int = 3) -> Clip:
    """A red square that wanders to the right and a green one that appears on the second frame."""
    frames = []
    for index in range(num_frames):
        masks = np.zeros((2, SIDE, SIDE), bool)
        masks[0, 20:32, 10 + 6 * index : 22 + 6 * index] = True
        masks[1, 40:50, 30:44] = index > 0
        image = np.full((SIDE, SIDE, 3), 90, np.uint8)
        for mask, colour in zip(masks, COLOURS, strict=True):
            image[mask] = colour
        valid = np.atleast_1d(masks.any(axis=(1, 2)))
        frames.append(
            Example(image=image, boxes_xyxy=boxes_of(masks), masks=masks, mask_valid=valid, queries=(), source="a test")
        )
    return Clip(frames=tuple(frames))


def augmented(seed: int = 0, **changes) -> Clip:
    return augment_clip(make_clip(), replace(NOTHING, **changes), np.random.default_rng(seed))


def reddish(image: np.ndarray) -> Bool[np.ndarray, "height width"]:
    return image[..., 0].astype(int) - image[..., 1] > 120


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def centre(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(axis=0)


def test_without_strengths_a_clip_stays_as_it_is() -> None:
    for before, after in zip(make_clip().frames, augmented().frames, strict=True):
        assert np.array_equal(after.image, before.image)
        assert np.array_equal(after.masks, before.masks)


def test_masks_and_boxes_go_with_their_pixels() -> None:
    whole = ClipAugmentConfig(grey_probability=0.0, mosaic_probability=0.0)
    for seed in range(12):
        clip = augment_clip(make_clip(), whole, np.random.default_rng(seed))
        for frame in clip.frames:
            assert overlap(reddish(frame.image), frame.masks[0]) > 0.8
            assert np.array_equal(frame.boxes_xyxy, boxes_of(frame.masks))
            assert frame.mask_valid.tolist() == frame.masks.any(axis=(1, 2)).tolist()


def test_clips_are_mirrored_and_run_backwards_as_a_whole() -> None:
    mirrored, backwards = augmented(flip_probability=1.0), augmented(reverse_probability=1.0)
    for before, flipped in zip(make_clip().frames, mirrored.frames, strict=True):
        assert np.array_equal(flipped.image, before.image[:, ::-1])
        assert np.array_equal(flipped.masks, before.masks[:, :, ::-1])
    for before, after in zip(make_clip().frames, reversed(backwards.frames), strict=True):
        assert np.array_equal(after.image, before.image)
    ways = {
        tuple(augmented(seed, reverse_probability=0.5, flip_probability=0.5).frames[0].boxes_xyxy[0].tolist())
        for seed in range(30)
    }
    assert len(ways) == 4


def test_all_frames_turn_alike_and_within_bounds() -> None:
    for seed in range(8):
        clip = augmented(seed, degrees=25.0, shear=20.0)
        starts = [centre(frame.masks[0]) for frame in make_clip().frames]
        ends = [centre(frame.masks[0]) for frame in clip.frames]
        steps = np.diff(starts, axis=0), np.diff(ends, axis=0)
        np.testing.assert_allclose(steps[1][0], steps[1][1], atol=0.8)  # a straight way stays one, as even as before
        assert np.linalg.norm(steps[1][0]) == pytest.approx(6, rel=0.15)  # what lies level is turned and not stretched
        assert abs(np.degrees(np.arctan2(steps[1][0][0], steps[1][0][1]))) < 30
    config, rng = replace(NOTHING, degrees=25.0, shear=20.0), np.random.default_rng(0)
    for _ in range(50):
        linear = random_affine(SIDE, config, rng)[:, :2]
        assert np.linalg.det(linear) == pytest.approx(1)  # nothing gets larger or smaller
        assert abs(np.degrees(np.arctan2(-linear[1, 0], linear[1, 1]))) <= 25 + 1e-6
    middle = np.append(np.full(2, SIDE / 2), 1)
    np.testing.assert_allclose(random_affine(SIDE, config, rng) @ middle, middle[:2])


def test_no_turn_takes_an_object_from_the_first_frame() -> None:
    frame = make_clip(1).frames[0]
    masks = np.zeros((1, SIDE, SIDE), bool)
    masks[0, :3, :3] = True  # in a corner, where most turns lose it
    corner = Clip(frames=(replace(frame, masks=masks, boxes_xyxy=boxes_of(masks), mask_valid=np.ones(1, bool)),))
    config, kept = replace(NOTHING, degrees=25.0, shear=20.0), []
    for seed in range(40):
        clip = augment_clip(corner, config, np.random.default_rng(seed))
        assert clip.frames[0].masks.any()
        kept.append(np.array_equal(clip.frames[0].image, frame.image))
    assert sum(kept) < 5  # nearly always one is found that keeps it


def test_in_a_mosaic_three_copies_are_not_meant() -> None:
    cells = set()
    for seed in range(20):
        clip = augmented(seed, mosaic_probability=1.0)
        for frame in clip.frames:
            copies = reddish(frame.image)
            assert overlap(frame.masks[0], copies) == pytest.approx(0.25, abs=0.05)
            assert (frame.masks[0] & ~copies).sum() <= 8
            assert np.array_equal(frame.boxes_xyxy, boxes_of(frame.masks))
        (row, column), *others = [(centre(frame.masks[0]) // (SIDE / 2)).astype(int).tolist() for frame in clip.frames]
        assert all(other == [row, column] for other in others)
        cells.add((row, column))
    assert len(cells) == 4


def test_colours_change_once_for_the_clip_and_again_in_each_frame() -> None:
    ground = [frame.image[2, 2].astype(int) for frame in augmented(color=(0.3, 0.0, 0.0)).frames]
    assert (ground[0] != 90).any()
    assert all(np.array_equal(other, ground[0]) for other in ground)
    flickering = {int(frame.image[2, 2, 0]) for frame in augmented(flicker=(0.3, 0.0, 0.0)).frames}
    assert len(flickering) == 3
    grey = augmented(grey_probability=1.0)
    assert all((frame.image[..., 0] == frame.image[..., 1]).all() for frame in grey.frames)


def test_the_same_generator_state_gives_the_same_clip() -> None:
    first, second = (augment_clip(make_clip(), ClipAugmentConfig(), np.random.default_rng(7)) for _ in range(2))
    assert all(np.array_equal(a.image, b.image) for a, b in zip(first.frames, second.frames, strict=True))
