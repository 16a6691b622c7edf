"""Augmentation keeps boxes, masks and questions true."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from masklet.data.schema import Example, PhraseQuery
from masklet.data.transforms import (
    AugmentConfig,
    Placement,
    augment,
    flip,
    mirror_phrase,
    must_not_flip,
    names_a_side,
    place,
)


def resize_square(example: Example, size: int) -> Example:
    """The whole picture squeezed to a square, as at inference."""
    height, width = example.image.shape[:2]
    whole = Placement(window=(0, 0, width, height), rectangle=(0, 0, size, size))
    return place(example, whole, size, least_visible=0.0)


def make_example(height: int = 60, width: int = 80, *, phrases: tuple[str, ...] = ("cup", "bowl", "dog")) -> Example:
    """Two objects with masks, one box without; `cup` is the first, `bowl` the two others, `dog` is absent."""
    masks = np.zeros((3, height, width), bool)
    masks[0, 5:25, 4:20] = True
    masks[1, 30:50, 40:70] = True
    boxes = np.array([[4, 5, 20, 25], [40, 30, 70, 50], [50, 2, 60, 10]], np.float32)
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
    answers = [(0,), (1, 2), ()]
    queries = tuple(PhraseQuery(phrase=p, object_index=a) for p, a in zip(phrases, answers, strict=True))
    return Example(
        image=image,
        boxes_xyxy=boxes,
        masks=masks,
        mask_valid=np.array([True, True, False]),
        queries=queries,
        source="test",
    )


@given(seed=st.integers(0, 10_000), size=st.sampled_from([28, 56, 112]))
def test_what_remains_is_consistent(seed, size) -> None:
    view = augment(make_example(), size, AugmentConfig(crop_probability=0.8), np.random.default_rng(seed))
    assert view.image.shape == (size, size, 3)
    assert view.masks.shape == (len(view.boxes_xyxy), size, size)
    assert (view.boxes_xyxy >= 0).all()
    assert (view.boxes_xyxy <= size).all()
    assert (view.boxes_xyxy[:, 2:] > view.boxes_xyxy[:, :2]).all()
    assert view.masks[view.mask_valid].any(axis=(1, 2)).all()
    assert not view.masks[~view.mask_valid].any()
    for mask, box in zip(view.masks[view.mask_valid], view.boxes_xyxy[view.mask_valid], strict=True):
        rows, columns = np.nonzero(mask)
        found = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert np.abs(found - box).max() <= 1.01
    for query in view.queries:
        assert all(0 <= index < len(view.boxes_xyxy) for index in query.object_index)


def test_a_square_resize_keeps_every_object_and_question() -> None:
    example = make_example()
    view = resize_square(example, 112)
    assert view.queries == example.queries
    np.testing.assert_allclose(view.boxes_xyxy, example.boxes_xyxy * [1.4, 112 / 60, 1.4, 112 / 60], rtol=1e-5)


def test_the_same_generator_state_gives_the_same_view() -> None:
    first, second = (augment(make_example(), 56, AugmentConfig(), np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.boxes_xyxy, second.boxes_xyxy)


def crop(window: tuple[int, int, int, int], *, least_visible: float = 0.05) -> Example:
    placement = Placement(window=window, rectangle=(0, 0, 40, 40))
    return place(make_example(), placement, 40, least_visible=least_visible)


def test_a_question_whose_objects_are_out_of_sight_becomes_a_negative() -> None:
    view = crop((0, 0, 40, 60))
    assert [(query.phrase, query.object_index) for query in view.queries] == [("cup", (0,)), ("bowl", ()), ("dog", ())]


def test_a_question_left_with_a_sliver_is_dropped_and_not_called_absent() -> None:
    view = crop((0, 0, 41, 60))
    assert [query.phrase for query in view.queries] == ["cup", "dog"]
    assert len(view.boxes_xyxy) == 1


def test_a_question_that_lost_one_of_its_objects_to_a_sliver_is_no_longer_exhaustive() -> None:
    view = crop((51, 0, 80, 31), least_visible=0.3)
    assert [(query.phrase, query.exhaustive) for query in view.queries if query.object_index] == [("bowl", False)]


def test_boxes_of_cut_objects_are_measured_on_what_is_visible() -> None:
    view = crop((0, 0, 20, 20))
    np.testing.assert_allclose(view.boxes_xyxy, [[8, 10, 40, 40]])


def test_an_object_smaller_than_a_pixel_keeps_one() -> None:
    example = make_example(600, 800)
    view = resize_square(example, 14)
    assert view.masks[:2].any(axis=(1, 2)).all()


def test_mirroring_twice_is_the_identity() -> None:
    example = make_example()
    back = flip(flip(example))
    np.testing.assert_array_equal(back.image, example.image)
    np.testing.assert_array_equal(back.masks, example.masks)
    np.testing.assert_allclose(back.boxes_xyxy, example.boxes_xyxy)


FLIP_ALONE = AugmentConfig(
    crop_probability=0.0,
    pad_probability=0.0,
    keep_aspect_probability=0.0,
    color_probability=0.0,
    flip_probability=1.0,
)


@pytest.mark.parametrize("phrase", ["letter R", "Word on a sign", "clockwise arrow"])
def test_pictures_asked_for_what_cannot_be_mirrored_are_not(phrase) -> None:
    assert must_not_flip(phrase)
    example = make_example(phrases=(phrase, "bowl", "dog"))
    view = augment(example, 80, FLIP_ALONE, np.random.default_rng(0))
    np.testing.assert_array_equal(view.image, resize_square(example, 80).image)


@pytest.mark.parametrize(
    ("phrase", "mirrored"),
    [
        ("left cup", "right cup"),
        ("the cup on the Right", "the cup on the Left"),
        ("left-hand cup", "right-hand cup"),
        ("leftmost of the cups left of the right door", "rightmost of the cups right of the left door"),
        ("leftover cake", "leftover cake"),
        ("bright_right_cup", "bright_left_cup"),
    ],
)
def test_the_mirror_image_is_asked_for_the_other_side(phrase, mirrored) -> None:
    assert mirror_phrase(phrase) == mirrored
    assert mirror_phrase(mirrored) == phrase
    example = make_example(phrases=(phrase, "bowl", "dog"))
    view = augment(example, 80, FLIP_ALONE, np.random.default_rng(0))
    np.testing.assert_array_equal(view.image, resize_square(example, 80).image[:, ::-1])
    assert [query.phrase for query in view.queries] == [mirrored, "bowl", "dog"]
    assert [query.object_index for query in view.queries] == [query.object_index for query in example.queries]


@pytest.mark.parametrize("phrase", ["leftover cake", "bright cup", "upright piano"])
def test_words_that_only_sound_like_sides_do_not_count(phrase) -> None:
    assert not names_a_side(phrase)
    assert mirror_phrase(phrase) == phrase


@pytest.mark.parametrize("corners", [(50, 2, 50, 10), (90, 2, 99, 10), (-20, -20, -1, -1)])
def test_an_object_without_a_place_does_not_make_its_phrase_a_negative(corners) -> None:
    example = make_example()
    boxes = example.boxes_xyxy.copy()
    boxes[2] = corners
    boxes[1] = corners
    broken = replace(example, boxes_xyxy=boxes, mask_valid=np.array([True, False, False]))
    view = resize_square(replace(broken, masks=broken.masks & broken.mask_valid[:, None, None]), 80)
    assert len(view.boxes_xyxy) == 1
    assert [query.phrase for query in view.queries] == ["cup", "dog"]


@pytest.mark.parametrize(("right", "asked"), [(80, True), (50, True), (40, False)])
def test_a_label_of_the_whole_image_is_dropped_when_much_of_it_is_out_of_sight(right: int, *, asked: bool) -> None:
    example = replace(make_example(), queries=(PhraseQuery.somewhere("party"), *make_example().queries))
    window = Placement(window=(0, 0, right, 60), rectangle=(0, 0, 56, 56))
    queries = place(example, window, 56, least_visible=0.1).queries
    assert (PhraseQuery.somewhere("party") in queries) == asked
