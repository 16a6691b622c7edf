"""The history of a photo: what is written comes back, and what most states share is written once."""

import math
from dataclasses import replace

import pytest

from masklet.serve.sessions.photo_state import (
    PhotoConcept,
    PhotoHistory,
    PhotoObject,
    PhotoState,
    pack_history,
    unpack_history,
)

BOX = (1.5, 2.0, 30.25, 40.0)


def clicked(number: int, mask: str, prompt: str | None = None) -> PhotoObject:
    return PhotoObject(
        id=number,
        phrase="cup",
        score=0.75,
        box=BOX,
        area=9,
        mask=mask,
        source="click",
        points=((1.5, 2.5),),
        labels=(1,),
        around=BOX,
        prompt=prompt,
    )


def with_clicks(count: int) -> PhotoHistory:
    """A session of so many objects, each begun by a click."""
    history = PhotoHistory()
    for number in range(1, count + 1):
        state = history.now
        objects = (*state.objects, clicked(number, f"m{number}"))
        history = history.step(PhotoState(concepts=state.concepts, objects=objects, next_id=number + 1))
    return history


def counts_of(history: PhotoHistory) -> dict[str, str]:
    return {digest: f"counts of {digest}" for digest in history.masks()}


def test_a_history_comes_back_with_its_place_in_it() -> None:
    concepts = (PhotoConcept(phrase="cup", presence=0.5, boxes=(BOX,), explanation=("a", "b")),)
    first = PhotoState(concepts=concepts, objects=(clicked(1, "m1"), clicked(2, "m2", "m1")), next_id=3)
    second = PhotoState(concepts=concepts, objects=(first.objects[1],), next_id=3)
    history = PhotoHistory(threshold=0.25).step(first).step(second).step(PhotoState(next_id=3)).back().back()
    masks = counts_of(history)
    assert unpack_history(pack_history(history, masks | {"of nobody": "x"})) == (history, masks)


def test_whatever_is_done_to_objects_comes_back() -> None:
    """A state is written as its difference from the one before."""
    made = [clicked(number, f"m{number}") for number in range(9)]
    orders = [
        (),
        (0, 1, 2),
        (0, 1, 2, 3),
        (0, 2, 3),
        (4, 0, 2, 3),
        (4, 5, 2, 3),
        (3, 2),
        (2, 3),
        (8, 7, 6, 2, 3),
        (),
        (1, 1),
    ]
    history = PhotoHistory()
    for order in orders:
        history = history.step(PhotoState(objects=tuple(made[place] for place in order), next_id=10))
    for _ in orders:
        history = history.back()
        again, masks = unpack_history(pack_history(history, counts_of(history)))
        assert (again, masks.keys()) == (history, history.masks())


def test_a_click_writes_as_much_as_there_are_objects_and_not_times_the_steps_back() -> None:
    """Two hundred clicks once wrote 3.7 MB each, for a fifth of a second."""
    few, many = (len(pack_history(history, counts_of(history))) for history in (with_clicks(100), with_clicks(200)))
    assert many < 3 * few
    assert many < 200_000


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"now":2', b'"now":9'),
        (b'"now":2', b'"now":-1'),
        (b'"objects":[1]', b'"objects":[7]'),
        (b'"head":1', b'"head":2'),
        (b'"tail":0', b'"tail":1'),
        (b'"m2":', b'"m3":'),
    ],
)
def test_a_file_that_names_what_is_not_there_is_refused(old: bytes, new: bytes) -> None:
    history = with_clicks(2)
    data = pack_history(history, counts_of(history))
    assert old in data
    with pytest.raises(ValueError, match=r"names what is not there|keeps more|greater than|masks are missing"):
        unpack_history(data.replace(old, new))


def test_a_score_that_is_no_number_does_not_lose_the_session() -> None:
    state = with_clicks(1).now
    history = PhotoHistory().step(replace(state, objects=(replace(state.objects[0], score=math.nan),)))
    again, _ = unpack_history(pack_history(history, counts_of(history)))
    assert math.isnan(again.now.objects[0].score)
