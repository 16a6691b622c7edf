"""Questions over tracks of drawn squares: answers are those of each frame, and do not flicker."""

import itertools
import json

import numpy as np
import pytest
from frame_results import make, rectangle

from masklet.errors import InputError
from masklet.query.english import parse
from masklet.query.over_time import AnswerMemory, answer_frame

SIZE = (100, 200)


def frame(index, **objects):
    """A frame of things at (x0, y0, x1, y1): `cup1=(...)` is the cup with the id 1."""
    masks = [rectangle(SIZE, *box) for box in objects.values()]
    return make(
        masks,
        [0.9] * len(masks),
        ids=[int(name[-1]) for name in objects],
        concepts=[name[:-1] for name in objects],
        index=index,
    )


def answers(sentence, frames, memory=None):
    node, memory = parse(sentence)[0].node, memory or AnswerMemory()
    return [sorted(answer_frame(each, node, memory).kept) for each in frames]


TABLE = (40, 60, 160, 95)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("the cup on the table", [1, 2]),
        ("the leftmost cup", [3]),
        ("the second cup from the left", [1]),
        ("the cup that is not on the table", [3]),
        ("cups but not the leftmost cup", [1, 2]),
        ("exactly three cups", [1, 2, 3]),
        ("exactly two cups", []),
        ("the cup nearest to the plate", [2]),
        ("the table with two cups on it", [4]),
        ("cups and plates", [1, 2, 3, 5]),
        ("dogs", []),
    ],
)
def test_a_frame_is_answered_as_an_image(sentence, expected):
    things = {"cup1": (50, 40, 70, 61), "cup2": (110, 40, 130, 61), "cup3": (5, 70, 25, 95)}
    things |= {"table4": TABLE, "plate5": (135, 52, 155, 61)}
    assert answers(sentence, [frame(0, **things), frame(1, **things)]) == [expected, expected]


def changes(sets):
    return sum(one != other for one, other in itertools.pairwise(sets))


def test_places_that_jitter_do_not_change_who_is_leftmost():
    rng = np.random.default_rng(0)
    frames = []
    for index in range(60):
        one, other = 50 + int(rng.integers(-2, 3)), 51 + int(rng.integers(-2, 3))
        frames.append(frame(index, cup1=(one, 10, one + 20, 30), cup2=(other, 60, other + 20, 80)))
    shaky = [answers("the leftmost cup", [each])[0] for each in frames]
    steady = answers("the leftmost cup", frames)
    assert changes(shaky) > 10
    assert changes(steady) == 0
    assert all(len(each) == 1 for each in steady)


def test_a_relation_at_its_border_does_not_flicker():
    rng = np.random.default_rng(1)
    frames = [
        frame(index, cup1=(50, top := 36 + int(rng.integers(-3, 4)), 70, top + 20), table2=TABLE) for index in range(60)
    ]
    assert changes([answers("the cup on the table", [each])[0] for each in frames]) > 10
    assert changes(answers("the cup on the table", frames)) <= 1


def test_what_really_changes_is_followed_within_a_few_frames():
    lifted = [
        frame(index, cup1=(50, 40, 70, 61) if index < 10 else (50, 2, 70, 22), table2=TABLE) for index in range(20)
    ]
    found = answers("the cup on the table", lifted)
    assert found[:10] == [[1]] * 10
    assert found[15:] == [[]] * 5
    passing = [frame(index, cup1=(10 * index, 10, 10 * index + 20, 30), cup2=(90, 60, 110, 80)) for index in range(18)]
    leftmost = answers("the leftmost cup", passing)
    assert (leftmost[0], leftmost[-1], changes(leftmost)) == ([1], [2], 1)
    assert all(len(each) == 1 for each in leftmost)


def test_a_count_that_flickers_on_single_frames_is_steadied():
    both = {"cup1": (10, 10, 30, 30), "cup2": (50, 10, 70, 30)}
    frames = [frame(index, **({"cup1": both["cup1"]} if index % 7 == 6 else both)) for index in range(40)]
    assert [each for each in answers("exactly two cups", frames) if each not in ([1, 2], [1])] == []
    assert changes([answers("exactly two cups", [each])[0] for each in frames]) > 5


def test_an_identity_that_comes_back_is_what_it_was():
    here = {"cup1": (50, 40, 70, 61), "table2": TABLE}
    frames = [frame(index, **({"table2": TABLE} if 5 <= index < 9 else here)) for index in range(12)]
    assert answers("the cup on the table", frames) == [[1]] * 5 + [[]] * 4 + [[1]] * 3


def test_a_memory_that_was_written_goes_on_as_if_nothing_had_happened():
    rng = np.random.default_rng(2)
    frames = []
    for index in range(20):
        left = 50 + int(rng.integers(-4, 5))
        frames.append(frame(index, cup1=(left, 10, left + 20, 30), cup2=(50, 60, 70, 80), table3=TABLE))
    sentence = "the leftmost cup"
    whole, first = AnswerMemory(), AnswerMemory()
    expected = answers(sentence, frames, whole)
    begun = answers(sentence, frames[:9], first)
    again = AnswerMemory.from_json(json.loads(json.dumps(first.to_json())))
    assert begun + answers(sentence, frames[9:], again) == expected
    assert again == whole


@pytest.mark.parametrize("plain", [{}, {"values": [], "members": {}, "orders": {}}, {"values": {"a": [[1, "x"]]}}])
def test_what_is_no_memory_is_refused(plain):
    with pytest.raises(InputError, match="no memory of a question"):
        AnswerMemory.from_json(plain)


def test_masks_may_be_cut_on_every_frame():
    from masklet.query.text import from_text

    each = frame(0, table1=TABLE, cup2=(50, 50, 70, 70))
    kept = answer_frame(each, from_text('cut("table", difference, "cup")'), AnswerMemory()).kept
    assert kept[1].mask.sum() == 120 * 35 - 20 * 10
