"""Objects of a video that are one thing under several phrases: one of them owns it, over time."""

import itertools
import json

import numpy as np
import pytest
from frame_results import make, rectangle

from masklet.errors import InputError
from masklet.inference.arbitration import Contests
from masklet.inference.video.views import ExclusiveView

SIZE = (60, 100)
HERE = (10, 10, 40, 40)


def frame(index, objects, scores=None):
    """A frame of `{(id, phrase): box}`; `scores` are the chances to be visible."""
    ids = [number for number, _ in objects]
    phrases = [phrase for _, phrase in objects]
    masks = [rectangle(SIZE, *box) for box in objects.values()]
    return make(masks, scores or [0.9] * len(masks), ids=ids, concepts=phrases, index=index)


def shown(frames, together=()):
    view = ExclusiveView(together=together)
    return [view(each).ids.tolist() for each in frames]


def shifted(box, across):
    return (box[0] + across, box[1], box[2] + across, box[3])


def test_the_surer_object_owns_the_thing_on_every_frame():
    # The overlap wavers around a half, and the other is surer for a moment
    wavering = [0, 8, 12, 9, 12, 0, 11, 3]
    frames = [
        frame(index, {(1, "car"): HERE, (2, "truck"): shifted(HERE, across)}, [0.8, 0.9 if index == 5 else 0.6])
        for index, across in enumerate(wavering)
    ]
    assert shown(frames) == [[1]] * len(frames)


def test_it_keeps_the_thing_but_for_a_rival_that_is_clearly_surer():
    both = {(1, "car"): HERE, (2, "truck"): HERE}
    close = [frame(index, both, [0.8, 0.7 if index < 5 else 0.99]) for index in range(30)]
    # make() gives the second object the lower detection score, 0.5 to 0.9
    assert shown(close) == [[1]] * 30
    clear = [frame(index, both, [0.9 if index < 2 else 0.1, 0.9]) for index in range(30)]
    found = shown(clear)
    assert (found[0], found[-1]) == ([1], [2])
    assert sum(one != other for one, other in itertools.pairwise(found)) == 1


def test_kinds_and_their_attributes_clicked_objects_and_named_pairs_do_not_contend():
    for one, other in (("car", "red car"), ("car", "car"), ("car", "")):
        assert shown([frame(0, {(1, one): HERE, (2, other): HERE})]) == [[1, 2]]
    both = [frame(0, {(1, "animal"): HERE, (2, "dog"): HERE})]
    assert shown(both) == [[1]]
    assert shown(both, [("dog", "animal")]) == [[1, 2]]


def test_what_parts_is_shown_again_and_what_lost_takes_nothing_away():
    frames = [frame(index, {(1, "car"): HERE, (2, "truck"): shifted(HERE, 4 * index)}) for index in range(8)]
    found = shown(frames)
    assert (found[0], found[-1]) == ([1], [1, 2])
    chain = {(1, "a"): HERE, (2, "b"): shifted(HERE, 9), (3, "c"): shifted(HERE, 18)}
    assert shown([frame(0, chain)]) == [[1, 3]]


def test_an_owner_that_is_away_is_waited_for():
    both, other = {(1, "car"): HERE, (2, "truck"): HERE}, {(2, "truck"): HERE}
    short = [frame(index, other if 2 <= index < 6 else both) for index in range(9)]
    assert shown(short) == [[1], [1], [], [], [], [], [1], [1], [1]]
    long = [frame(index, both if index < 2 else other) for index in range(12)]
    assert shown(long)[-1] == [2]


def test_contests_that_were_written_go_on():
    rng = np.random.default_rng(0)
    frames = [
        frame(index, {(1, "car"): HERE, (2, "truck"): shifted(HERE, int(rng.integers(0, 20)))}, rng.random(2).tolist())
        for index in range(30)
    ]
    view, again = ExclusiveView(), ExclusiveView()
    begun = [view(each).ids.tolist() for each in frames[:11]]
    again.restore(json.loads(json.dumps(view.to_json())))
    assert begun + [again(each).ids.tolist() for each in frames[11:]] == shown(frames)


@pytest.mark.parametrize("plain", [{}, {"sureness": [[1]], "owners": []}, {"sureness": [], "owners": 3}])
def test_what_is_no_record_of_contests_is_refused(plain):
    with pytest.raises(InputError, match="no record of contests"):
        Contests.from_json(plain)
