"""Clips: reproducible, exactly labelled, with lasting identity, and with all that makes tracking hard in them."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.schema import Clip, Example
from masklet.errors import InputError
from masklet.scenes.layout import SceneConfig
from masklet.scenes.library import CutoutLibrary
from masklet.scenes.moving.actors import Actor, World, cut_out, make_ground
from masklet.scenes.moving.clips import compose_clip, render_clip
from masklet.scenes.moving.motion import Bend, CameraPath, Course, Wave, sample_course, swap_courses
from masklet.scenes.moving.stills import GeneratedClips, StillClips, still_clip

CONFIG = SceneConfig(size=160, difficulty=0.5, crowd_share=0.0)
STILL = CameraPath(start=(100.0, 100.0), x=(), y=(), roll=(), zoom=(), light=())


def _square(x: float, y: float, course: Course, value: int = 200) -> Actor:
    tiles, _, _ = cut_out(np.full((40, 40, 3), value, np.uint8), np.ones((40, 40), bool))
    return Actor(tiles=tiles, x=x, y=y, scale=1.0, rotation=0.0, flip=False, gain=(1.0, 1.0, 1.0), course=course)


def _film(actors: tuple[Actor, ...], num_frames: int, camera: CameraPath = STILL) -> np.ndarray:
    """Masks [frame object 100 100] around the middle of a world of 200 x 200."""
    world = World(
        ground=make_ground(np.zeros((3, 100, 100), np.float32), 50),
        actors=actors,
        camera=camera,
        pace=1.0,
        size=100,
        cast=None,
        greyscale=False,
    )
    return np.stack([canvas.masks() for canvas, _ in world.film(num_frames)])


def _photo() -> Example:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (120, 150, 3)).astype(np.uint8)
    masks = np.zeros((3, 120, 150), bool)
    masks[0, 20:60, 30:80], masks[1, 70:110, 90:120], masks[2, 0:2, 0:2] = True, True, True
    return Example(
        image=image,
        boxes_xyxy=np.zeros((3, 4), np.float32),
        masks=masks,
        mask_valid=np.array([True, True, True]),
        queries=(),
        source="photo",
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> CutoutLibrary:
    import json

    root: Path = tmp_path_factory.mktemp("cutouts")
    index = []
    for i, name in enumerate(["apple", "banana", "kettle", "lamp", "mug", "globe"] * 3):
        pixels = np.zeros((64, 64, 4), np.uint8)
        pixels[8:56, 12:52] = (40 * (i % 6), 255 - 40 * (i % 6), 120, 255)
        Image.fromarray(pixels).save(root / f"{i}.png")
        index.append({"file": f"{i}.png", "phrases": [name], "cldr_name": name, "group": "Objects", "source": "x"})
    (root / "index.json").write_text(json.dumps(index))
    return CutoutLibrary.open(root)


def assert_same(first: Clip, second: Clip) -> None:
    for one, other in zip(first.frames, second.frames, strict=True):
        for field in fields(Example):
            assert np.array_equal(getattr(one, field.name), getattr(other, field.name)), field.name


def test_the_same_seed_gives_the_same_clip(library: CutoutLibrary) -> None:
    assert_same(render_clip(7, CONFIG, 3), render_clip(7, CONFIG, 3))
    assert_same(compose_clip(7, library, CONFIG, 3), compose_clip(7, library, CONFIG, 3))
    first, second = still_clip(7, _photo(), 96, 3), still_clip(7, _photo(), 96, 3)
    assert first is not None
    assert second is not None
    assert_same(first, second)


def test_longer_clips_begin_like_shorter_ones() -> None:
    short, long = render_clip(3, CONFIG, 2), render_clip(3, CONFIG, 5)
    assert_same(short, replace(long, frames=long.frames[:2]))


def test_clips_leave_come_back_and_hide(library: CutoutLibrary) -> None:
    """Over some seeds: an object vanishes and returns, and one is largely hidden by another."""
    returned = hidden = 0
    for seed in range(12):
        for clip in (render_clip(seed, CONFIG, 16), compose_clip(seed, library, CONFIG, 16)):
            areas = np.array([[mask.sum() for mask in frame.masks] for frame in clip.frames])
            seen = areas > 0
            for track in seen.T:
                moments = np.flatnonzero(track)
                returned += len(moments) > 0 and not track[moments[0] : moments[-1]].all()
            hidden += bool(((areas > 0) & (areas < 0.3 * areas.max(axis=0, initial=1))).any())
    assert returned >= 3
    assert hidden >= 6


def test_an_object_keeps_its_index_while_others_cover_it() -> None:
    way = (Wave(amplitude=20.0, period=20.0, phase=-np.pi / 2),)
    below, above = _square(100.0, 100.0, Course()), _square(60.0, 100.0, Course(x=way), 90)
    masks = _film((below, above), 11)
    assert masks[0, 0].sum() == pytest.approx(1600, abs=90)
    assert masks[10, 0].sum() < 100  # the one born later has come to lie on it
    assert masks[10, 1].sum() == pytest.approx(1600, abs=90)
    assert not (masks[:, 0] & masks[:, 1]).any()


def test_the_camera_moves_everything_the_same_way() -> None:
    pan = replace(STILL, x=(Wave(amplitude=10.0, period=40.0, phase=0.0),))
    masks = _film((_square(90.0, 100.0, Course()), _square(130.0, 130.0, Course())), 11, pan)
    for row in (0, 1):
        before, after = (np.argwhere(masks[frame, row]).mean(axis=0) for frame in (0, 10))
        np.testing.assert_allclose(after - before, [0, -10], atol=0.6)


def test_what_leaves_the_picture_has_an_empty_mask() -> None:
    away = (Wave(amplitude=100.0, period=40.0, phase=0.0),)
    masks = _film((_square(100.0, 100.0, Course(x=away)),), 21)
    assert masks[0].any()
    assert not masks[10].any()
    assert masks[20].any()


def test_bending_changes_the_outline_but_not_the_place() -> None:
    bend = Bend(amplitude=0.12, pitch=(2.0, 2.0), speed=0.3, phase=1.0)
    masks = _film((_square(100.0, 100.0, Course(bend=bend)),), 6)
    overlap = (masks[0] & masks[5]).sum() / (masks[0] | masks[5]).sum()
    assert 0.6 < overlap < 0.99
    for frame in masks:
        np.testing.assert_allclose(np.argwhere(frame[0]).mean(axis=0), 49.5, atol=4)


def test_two_that_change_places_meet_where_the_other_was() -> None:
    first, second = swap_courses(np.random.default_rng(0), Course(), Course(), (30.0, -8.0))
    half = first.x[0].period / 2
    assert (first.x[0].at(half), first.y[0].at(half)) == pytest.approx((30.0, -8.0))
    assert (second.x[0].at(half), second.y[0].at(half)) == pytest.approx((-30.0, 8.0))


def test_no_course_is_faster_than_its_limit() -> None:
    for seed in range(30):
        course = sample_course(np.random.default_rng(seed), 100, spins=True)
        places = np.array(
            [[sum(w.at(t) for w in course.x), sum(w.at(t) for w in course.y)] for t in map(float, range(40))]
        )
        assert np.hypot(*np.diff(places, axis=0).T).max() <= 0.04 * 100 * 1.8
        assert np.abs(places[0]).max() == 0


def test_a_photo_in_motion_keeps_its_labels() -> None:
    clip = still_clip(3, _photo(), 96, 4)
    assert clip is not None
    assert 1 <= len(clip.frames[0].masks) <= 5  # the smallest mask is too small to follow
    assert clip.frames[0].masks.any()
    assert all(frame.image.shape == (96, 96, 3) for frame in clip.frames)
    assert all(len(frame.masks) == len(clip.frames[0].masks) for frame in clip.frames)


def test_photos_without_large_masks_are_refused() -> None:
    class Speck:
        def sample(self, rng: np.random.Generator) -> Example:
            del rng
            return replace(_photo(), mask_valid=np.array([False, False, True]))

    assert still_clip(0, Speck().sample(np.random.default_rng(0)), 96, 2) is None
    with pytest.raises(InputError, match="none of 3 photos"):
        StillClips(source=Speck(), size=96, num_frames=2, tries=3).sample(np.random.default_rng(0))


def test_sources_depend_on_the_generator_alone() -> None:
    source = GeneratedClips(lambda seed: render_clip(seed, CONFIG, 2))
    assert_same(source.sample(np.random.default_rng(4)), source.sample(np.random.default_rng(4)))
