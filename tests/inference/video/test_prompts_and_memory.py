"""What prompts leave in the memory of a session: they hold for whom they name, and go when they are taken back.

The rule for conditioning frames is that of the official tracker: a frame conditions the objects of a cohort as long as
any object's prompt on it stands; then it is an ordinary one.
"""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video_scenes import COUNT, RULES, SIZE, corners, ids, model, pictures, script

from masklet.errors import InputError
from masklet.inference.video.cohorts import Cohort
from masklet.inference.video.video_session import VideoSession
from masklet.models.memory_bank import Memory
from masklet.models.tracker import ABSENT_LOGIT
from masklet.ops.enlarge import resize_mask_logits

POINTS = {0: [(12.0, 16.0)], 1: [(50.0, 34.0)], 2: [(30.0, 20.0)]}
SHORT = 6  # frames of the videos of the property


def cohort_of(session: VideoSession, object_id: int) -> Cohort:
    place = session.state.cohort_of(object_id)
    assert place is not None
    return session.state.cohorts[place]


def memories(session: VideoSession, object_id: int) -> dict[int, Memory]:
    bank = cohort_of(session, object_id).bank
    return {**bank.tracked, **bank.conditioning}


def blind(session: VideoSession, object_id: int) -> list[int]:
    """Frames on which an object is remembered as visible without a pixel."""
    row = cohort_of(session, object_id).object_ids.index(object_id)
    return [
        frame
        for frame, memory in memories(session, object_id).items()
        if memory.object_logits[row] > 0 and bool((memory.mask_logits[row] == ABSENT_LOGIT).all())
    ]


def third(object_id: int) -> np.ndarray:
    """A part of the frame of an object's own: a mask that was given takes its pixels from others given before it."""
    mask = np.zeros(SIZE, dtype=bool)
    width = SIZE[1] // 3
    mask[:, object_id * width : (object_id + 1) * width] = True
    return mask


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / max(1, (a | b).sum()))


# --- neighbours ---------------------------------------------------------------------------------------------------


def test_a_correction_on_forgotten_frames_does_not_blind_what_began_with_the_object():
    def run(corrections: tuple[int, ...]) -> dict[int, np.ndarray]:
        with model().open_video(pictures() * 2, memory_frames=1) as session:
            for object_id in (0, 1):
                session.click(object_id, 0, POINTS[object_id], [1])
            list(session.track(stop=30))
            for frame in corrections:
                assert frame not in memories(session, 1)  # it was forgotten
                session.click(0, frame, POINTS[2], [1])
            found = {each.index: each.for_id(1) for each in session.track(start=30 if not corrections else None)}
            assert blind(session, 1) == []
            assert set(cohort_of(session, 1).bank.conditioning) == {0}
        return {frame: each.mask(0) for frame, each in found.items() if frame >= 30 and len(each)}

    alone, corrected = run(()), run((2, 4, 6, 8))
    assert list(alone) == list(range(30, 2 * COUNT))
    assert {frame: overlap(mask, corrected[frame]) > 0.97 for frame, mask in alone.items()} == dict.fromkeys(
        alone, True
    )


def test_a_correction_of_a_masklet_before_it_began_does_not_blind_the_others(monkeypatch):
    script(monkeypatch, {"corner": lambda frame: corners(frame) if frame >= 4 else []})
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("corner", frame=4)
        list(session.track(start=4, stop=9))
        assert len(session.state.cohorts) == 1
        session.click(0, 1, POINTS[1], [1])
        list(session.track(start=1))
        assert blind(session, 1) == []
        assert 1 in cohort_of(session, 0).bank.conditioning
        assert 1 not in cohort_of(session, 1).bank.conditioning


def test_objects_that_are_named_on_different_frames_stay_in_sight():
    with model().open_video(pictures()) as session:
        for object_id, frame in ((0, 0), (1, 0), (2, 3)):
            session.click(object_id, frame, POINTS[object_id], [1])
        session.click(0, 5, POINTS[0], [1])  # one of them twice
        assert all({0, 1} <= set(row) for row in ids(session.track(start=0)))
        assert [blind(session, object_id) for object_id in POINTS] == [[], [], []]
        assert [set(cohort_of(session, each).bank.conditioning) for each in POINTS] == [{0, 5}, {0}, {3}]


def test_a_given_mask_is_shown_as_given_and_tracked_as_it_is_remembered():
    """docs/parity.md: remembered at the size of the tracker's masks, as officially."""
    mask = np.zeros(SIZE, dtype=bool)
    mask[10:31, 7:26] = True
    with model().open_video(pictures()[:3]) as session:
        shown = session.add_mask(0, 0, mask)
        np.testing.assert_array_equal(shown.mask(0), mask)
        tracked = next(session.track()).mask(0)
        (memory,) = cohort_of(session, 0).bank.conditioning.values()
    expected = resize_mask_logits(memory.mask_logits, *SIZE)[0].numpy()
    np.testing.assert_array_equal(tracked, expected)
    assert 0.85 < overlap(tracked, mask) <= 1


def test_a_mask_over_another_that_was_given_takes_its_pixels():
    """As officially: what is drawn last owns a pixel, so a mask that is covered wholly is remembered as empty."""
    with model().open_video(pictures()[:2]) as session:
        for object_id in (0, 1):
            session.add_mask(object_id, 0, np.ones(SIZE, dtype=bool))
        list(session.track(stop=1))
        assert (blind(session, 0), blind(session, 1)) == ([0], [])


# --- what is taken back -------------------------------------------------------------------------------------------


def test_a_frame_that_only_a_removed_object_prompted_is_an_ordinary_one():
    with model().open_video(pictures()) as session:
        for object_id in (0, 1):
            session.click(object_id, 0, POINTS[object_id], [1])
        list(session.track())
        session.click(0, 3, POINTS[2], [1])
        list(session.track())
        assert set(cohort_of(session, 1).bank.conditioning) == {0, 3}
        session.remove(0)
        assert set(cohort_of(session, 1).bank.conditioning) == {0}
        assert memories(session, 1)[3].usefulness is None


def test_clearing_one_frame_tracks_the_object_as_if_it_had_not_been_prompted_there():
    with model().open_video(pictures()) as session:
        for object_id in (0, 1):
            session.click(object_id, 0, POINTS[object_id], [1])
        session.click(0, 4, POINTS[2], [1])
        session.clear(0, 4)
        cleared = list(session.track())
    with model().open_video(pictures()) as session:
        for object_id in (0, 1):
            session.click(object_id, 0, POINTS[object_id], [1])
        assert [each.to_json() for each in session.track()] == [each.to_json() for each in cleared]
        session.click(0, 6, POINTS[2], [1])
        list(session.track())
        session.clear(0, 6)
        assert set(cohort_of(session, 1).bank.conditioning) == {0}
        assert [each.index for each in session.track()] == list(range(6, COUNT))


def test_an_object_without_a_prompt_ends_and_what_was_not_prompted_cannot_be_cleared():
    with model().open_video(pictures()) as session:
        for object_id in (0, 1):
            session.click(object_id, 0, POINTS[object_id], [1])
        session.clear(0, 0)
        assert session.object_ids == (1,)
        with pytest.raises(InputError, match="object 1 has no prompt on frame 2 to take back"):
            session.clear(1, 2)
        with pytest.raises(InputError, match="there is no object 0; there are 1"):
            session.clear(0, 0)
        assert ids(session.track()) == [[1]] * COUNT


def test_a_masklet_lives_on_by_its_detection_when_a_correction_is_taken_back(monkeypatch):
    """The correction had overruled the frame on which it was born, for its neighbours as well."""
    script(monkeypatch, {"corner": corners})
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("corner")
        list(session.track(stop=4))
        session.click(0, 3, POINTS[1], [1])
        list(session.track(stop=5))
        assert set(cohort_of(session, 1).bank.conditioning) == {3}
        session.clear(0, 3)
        assert session.object_ids == (0, 1)
        assert set(cohort_of(session, 1).bank.conditioning) == {0}
        assert len(list(session.track())) > 0


# --- any order ----------------------------------------------------------------------------------------------------

ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("click"), st.sampled_from([0, 1, 2]), st.integers(0, SHORT - 1)),
        st.tuples(st.just("mask"), st.sampled_from([0, 1, 2]), st.integers(0, SHORT - 1)),
        st.tuples(st.just("clear"), st.sampled_from([0, 1, 2]), st.integers(0, SHORT - 1)),
        st.tuples(st.just("remove"), st.sampled_from([0, 1, 2]), st.just(0)),
        st.tuples(st.just("track"), st.integers(0, SHORT - 2), st.integers(1, SHORT)),
    ),
    min_size=3,
    max_size=9,
)


@settings(max_examples=25, deadline=None)
@given(ACTIONS)
def test_in_any_order_a_frame_conditions_as_long_as_a_prompt_on_it_stands(actions):
    standing: dict[int, set[int]] = defaultdict(set)  # frames on which an object's prompt stands
    with model().open_video(pictures()[:SHORT], memory_frames=SHORT) as session:
        for action, first, second in actions:
            living = session.object_ids
            if action == "click":
                session.click(first, second, POINTS[first], [1])
                standing[first].add(second)
            elif action == "mask":
                session.add_mask(first, second, third(first))
                standing[first].add(second)
            elif action == "clear" and second in standing[first]:
                session.clear(first, second)
                standing[first].discard(second)
            elif action == "remove" and first in living:
                session.remove(first)
                standing[first].clear()
            elif action == "track" and living:
                list(session.track(start=first, stop=min(first + second, SHORT)))
                check_tracked(session, standing)
            for gone in set(standing) - set(session.object_ids):
                standing[gone].clear()
            check_always(session, standing)


def check_always(session: VideoSession, standing: dict[int, set[int]]) -> None:
    anywhere = set().union(*standing.values())
    for object_id in session.object_ids:
        cohort = cohort_of(session, object_id)
        waiting = {frame for frame, given in cohort.prompted.items() if object_id in given}
        # Its own prompts condition it or wait; every other conditioning frame is held by a prompt of somebody else
        assert standing[object_id] <= waiting | set(cohort.bank.conditioning)
        assert set(cohort.bank.conditioning) <= anywhere
        assert waiting <= standing[object_id]
        assert waiting or cohort.bank.conditioning
        assert blind(session, object_id) == []


def check_tracked(session: VideoSession, standing: dict[int, set[int]]) -> None:
    """After a run no prompt waits, and what shares a bank shares its conditioning frames."""
    for cohort in session.state.cohorts:
        assert not cohort.prompted
        assert set().union(*(standing[i] for i in cohort.object_ids)) <= set(cohort.bank.conditioning)
