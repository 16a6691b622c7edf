"""Our own set: 300 sentences whose answers are known, the same every time."""

from collections import Counter

import numpy as np
import pytest

from masklet.scenes.own_questions import (
    OwnScene,
    OwnThing,
    draw_own_scene,
    own_items,
    own_questions,
    photo_things,
    plural,
)
from masklet.scenes.phrases import Description

SIZES = {"coins.jpg": (303, 384), "cat.jpg": (300, 451)}


@pytest.fixture(scope="module")
def items():
    return list(own_items(SIZES))


def test_a_third_of_each_sort_each_with_a_key_of_its_own(items) -> None:
    assert Counter(item.sort for item in items) == {"negation": 100, "order": 100, "count": 100}
    assert len({item.key for item in items}) == 300
    assert sum(item.seed is None for item in items) == 20  # about photos
    assert 20 < sum(not item.answer for item in items) < 100


def test_the_same_call_gives_the_same_items(items) -> None:
    for one, other in zip(items[:60], own_items(SIZES, 60), strict=False):
        if one.seed is None:
            assert (one.sentence, len(one.answer)) == (other.sentence, len(other.answer))
    scene, again = draw_own_scene(3), draw_own_scene(3)
    assert np.array_equal(scene.image, again.image)
    assert list(own_questions(scene, 3)) == list(own_questions(again, 3))


def square(x, y, side):
    mask = np.zeros((100, 100), bool)
    mask[y : y + side, x : x + side] = True
    return OwnThing(mask=mask)


def test_answers_follow_from_what_is_there() -> None:
    cups = [square(70, 10, 10), square(10, 30, 20), square(40, 70, 14)]
    colours = ["red", "blue", "red"]
    scene = OwnScene(
        image=np.zeros((100, 100, 3), np.uint8),
        things=tuple(cups),
        descriptions=tuple(Description(nouns=("cup",), colour=colour, extent=20.0) for colour in colours),
    )
    asked = {each.sentence: each.answer for each in own_questions(scene, 0)}
    assert asked["the leftmost cup"] == (1,)
    assert asked["the two rightmost cups"] == (0, 2)
    assert asked["the second cup from the left"] == (2,)
    assert asked["the largest cup"] == (1,)
    assert asked["all cups but not the topmost cup"] == (1, 2)
    assert asked["cups but not red cups"] == (1,)
    assert asked["exactly three cups"] == (0, 1, 2)
    assert asked["fewer than three cups"] == ()
    assert asked["more than two cups"] == (0, 1, 2)


def test_orders_that_could_be_argued_about_are_not_asked() -> None:
    cups = (square(10, 10, 10), square(12, 60, 11))
    description = Description(nouns=("cup",), colour="red", extent=10.0)
    scene = OwnScene(image=np.zeros((100, 100, 3), np.uint8), things=cups, descriptions=(description, description))
    asked = {each.sentence for each in own_questions(scene, 0)}
    assert not {sentence for sentence in asked if "leftmost" in sentence or "largest" in sentence}
    assert "the topmost cup" in asked


def test_things_of_photos_are_drawn_as_outlined() -> None:
    drawn = photo_things(
        {"coin": [{"circle": [20, 10, 5]}], "cat": [{"polygon": [0, 0, 10, 0, 10, 10, 0, 10]}]}, (30, 40)
    )
    assert drawn["coin"][0].box == (15, 5, 26, 16)
    assert drawn["coin"][0].mask.sum() == pytest.approx(np.pi * 25, rel=0.1)
    assert drawn["cat"][0].mask.sum() == pytest.approx(100, rel=0.25)


@pytest.mark.parametrize(("noun", "expected"), [("box", "boxes"), ("fly", "flies"), ("key", "keys"), ("cup", "cups")])
def test_plurals_are_regular(noun, expected) -> None:
    assert plural(noun) == expected
