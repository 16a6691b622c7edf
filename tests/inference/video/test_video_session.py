"""Sessions as users drive them: sources, concepts, clicks, masks, runs both ways, streams, and all that can be wrong.

That the numbers are right is the matter of test_video_official; here they have to be the same whichever way they are
asked for, and a correction has to touch only what it is about.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from video_scenes import (
    COUNT,
    RULES,
    SIZE,
    assert_alike,
    corners,
    from_third,
    ids,
    indices,
    left,
    model,
    pictures,
    plain,
    script,
    untimed,
    write_clip,
)

from masklet.errors import InputError
from masklet.inference.video import step as video_step
from masklet.inference.video.cohorts import Cohort, FrameView, propagate
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.video_session import VideoSession
from masklet.media.video_source import open_frames
from masklet.models.memory_bank import Memory

POINTS = {0: [(12.0, 16.0)], 1: [(50.0, 34.0)]}


def begin(session: VideoSession) -> VideoSession:
    """Follows the two discs."""
    for object_id, points in POINTS.items():
        session.click(object_id, 0, points, [1])
    return session


@contextmanager
def counted_trunk() -> Iterator[list[int]]:
    """How many pictures go through the trunk."""
    calls: list[int] = []
    hook = model().detector.vision.trunk.register_forward_hook(lambda *_: calls.append(1))
    yield calls
    hook.remove()


def listen(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Who is tracked in each step."""
    calls: list[list[int]] = []

    def tracked(view: FrameView, cohorts: Sequence[Cohort]) -> list[Memory]:
        calls.append([object_id for cohort in cohorts for object_id in cohort.object_ids])
        return propagate(view, cohorts)

    monkeypatch.setattr(video_step, "propagate", tracked)
    return calls


# --- sources ------------------------------------------------------------------------------------------------------


def test_every_source_of_the_same_frames_gives_the_same_results(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4")
    frames = [frame.pixels for frame in open_frames(clip).frames()]
    (tmp_path / "folder").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "folder" / f"{number}.png")
    found = {}
    for source in (clip, tmp_path / "folder", frames, np.stack(frames), iter(frames)):
        with begin(model().open_video(source)) as session:
            assert session.size == SIZE
            found[type(source).__name__, str(source)[-6:]] = untimed(session.track())
    first, *others = found.values()
    assert len(found) == 5
    assert len(first) == COUNT
    assert all(entry["rles"] for entry in first)
    assert all(other == first for other in others)


def test_the_trunk_sees_every_frame_once_however_much_is_followed(monkeypatch):
    script(monkeypatch, {"left": left, "corner": corners})
    with counted_trunk() as calls, model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("left")
        session.add_concept("corner")
        begin(session)
        assert len(list(session.track())) == COUNT
        assert len(session.object_ids) == 3
        assert len(calls) == COUNT


def test_what_was_clicked_is_not_shown_under_somebody_elses_phrase(monkeypatch, tmp_path):
    script(monkeypatch, {"left": left})
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("left")
        prompted = session.click(7, 0, [(40, 30)], [1])
        assert dict(zip(prompted.ids.tolist(), prompted.phrases, strict=True))[7] == "object"
        seen = {phrase for result in session.track(stop=3) for phrase in result.for_id(7).phrases}
        assert seen <= {"object"}
        session.save(tmp_path / "session")
    with model().resume_video(tmp_path / "session", pictures()) as again:
        assert again.state.clicked == {7}


def test_phrases_given_before_the_first_frame_of_a_stream_wait_for_it(monkeypatch):
    script(monkeypatch, {"left": left})
    with model().open_video(rules=RULES, delay=0) as session:
        assert len(session.add_concept(["left", "Left"])) == 0
        with pytest.raises(InputError, match="example boxes lie on a frame"):
            session.add_concept("left", boxes=[(1, 1, 5, 5)])
        first = session.push(pictures()[0])
    with model().open_video(rules=RULES, delay=0) as session:
        session.push(pictures()[0])
        session.add_concept("left")
        later = session.push(pictures()[1])
    assert first.phrases == later.phrases == ("left",)
    assert first.index == 0


def test_results_say_who_is_where_and_how_surely(monkeypatch):
    script(monkeypatch, {"left": left})
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("left")
        result = next(session.track())
    assert (result.index, result.time, result.size, result.concepts) == (0, 0.0, SIZE, ("left",))
    assert result.ids.dtype == np.int64
    assert result.scores == pytest.approx([0.95])
    assert 0 < result.object_scores[0] <= 1
    assert "masks" not in vars(result)  # they are made when they are asked for
    assert result.masks.shape == (1, *SIZE)
    assert result.boxes.tolist() == [[0, 0, 30, 48]]
    np.testing.assert_array_equal(result.image, pictures()[0])


# --- concepts -----------------------------------------------------------------------------------------------------


def test_concepts_do_not_disturb_each_other(monkeypatch):
    script(monkeypatch, {"left": left, "corner": corners})
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("left")
        alone = list(session.track())
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("left")
        session.add_concept("corner")
        together = list(session.track())
    assert all(result.for_concept("left").ids.tolist() == [0] for result in together)
    assert all(result.for_concept("corner").ids.tolist() == [1, 2] for result in together)
    assert_alike([result.for_concept("left") for result in together], alone)


def test_a_concept_added_on_the_way_resets_nothing(monkeypatch):
    script(monkeypatch, {"left": left, "corner": corners})
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("left")
        alone = list(session.track())
        tracked = listen(monkeypatch)
        shown = session.add_concept("corner", frame=6)
        assert (shown.index, shown.concepts) == (6, ("left", "corner", "corner"))
        after = list(session.track())
        assert indices(after) == list(range(6, COUNT))
        assert plain([result.for_concept("left") for result in after]) == plain(alone[6:])
        assert all(result.for_concept("corner").ids.tolist() == [1, 2] for result in after)
        assert all(set(objects) <= {1, 2} for objects in tracked)
        tracked.clear()
        assert plain(session.track(start=6)) == plain(after)  # all from the history
        assert not tracked


def test_a_concept_that_is_no_longer_followed_takes_its_objects_along(monkeypatch):
    script(monkeypatch, {"left": left, "corner": corners})
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("left")
        session.add_concept("corner")
        whole = list(session.track())
        session.remove_concept("left")
        assert session.object_ids == (1, 2)
        again = list(session.track(start=0))
        assert plain(again) == plain([result.for_concept("corner") for result in whole])
        with pytest.raises(InputError, match="'left' is not tracked; there are corner"):
            session.remove_concept("left")


def test_a_concept_may_come_and_go_while_results_wait(monkeypatch):
    """What a prompt decides is still given, by the run that was going on."""
    script(monkeypatch, {"left": left, "corner": corners})
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("left")
        whole = list(session.track())
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("left")
        results = []
        for result in session.track():
            results.append(result)
            if result.index == 3:
                session.add_concept("corner")
            if result.index == 12:
                session.remove_concept("corner")
    assert indices(results) == list(range(COUNT))
    assert_alike([result.for_concept("left") for result in results], whole)
    seen = [result.index for result in results if len(result) > 1]
    assert seen == list(range(7, 13))  # the concept was added when frame 7 was tracked


def test_a_phrase_asked_again_with_examples_keeps_its_masklets(monkeypatch):
    script(monkeypatch, {"left": left})
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("left")
        list(session.track(stop=6))
        session.add_concept("left", boxes=[(0, 0, 30, 40)], frame=5)
        assert session.state.concepts["left"].tokens is not None
        assert session.object_ids == (0,)
        assert ids(session.track(start=6)) == [[0]] * (COUNT - 6)


def test_examples_are_read_on_their_frame_and_asked_of_all_others(monkeypatch):
    asked = []
    network = type(model().detector).ground_tokens

    def ground(detector, features, tokens, image_index):
        asked.append(tokens)
        return network(detector, features, tokens, image_index)

    monkeypatch.setattr(type(model().detector), "ground_tokens", ground)
    with model().open_video(pictures()) as session:
        result = session.add_concept(boxes=[(4, 8, 20, 24)], not_boxes=[(40, 26, 60, 42)], frame=4)
        assert result.index == 4
        list(session.track(start=0, stop=8))
        other = session.add_concept(boxes=[(4, 8, 20, 24)], not_boxes=[(40, 26, 60, 42)], frame=7)
        assert other.index == 7
    assert list(session.state.concepts) == ["visual"]
    assert len(asked) == 1 + 8 + 1
    assert all((each.tokens == asked[0].tokens).all() for each in asked[:9])
    assert not (asked[9].tokens == asked[0].tokens).all()


# --- objects ------------------------------------------------------------------------------------------------------


def test_objects_are_begun_by_points_boxes_and_masks_with_or_without_an_id():
    mask = np.zeros(SIZE, dtype=bool)
    mask[26:42, 40:60] = True
    with model().open_video(pictures()) as session:
        assert session.click(None, 0, [(12, 16)], [1]).for_id(0).concepts == ("",)
        session.click(7, 0, box=(4, 8, 20, 24))
        result = session.add_mask(None, 0, mask)
        assert session.object_ids == (0, 7, 8)
        np.testing.assert_array_equal(result.mask(result.ids.tolist().index(8)), mask)
        assert all(row == [0, 7, 8] for row in ids(session.track()))


def test_a_click_adds_to_those_before_it_or_replaces_them():
    def answer(*clicks) -> tuple[int, float]:
        with model().open_video(pictures()) as session:
            for point, label, add in clicks:
                session.click(0, 0, [point], [label], add=add)
            cohort = session.state.cohorts[0]
            return cohort.points[0][0].points_xy.shape[1], float(cohort.prompted[0][0].memory.mask_logits.sum())

    first, second = ((12, 16), 1), ((50, 34), 0)
    both, replaced, single = (
        answer((*first, False), (*second, True)),
        answer((*first, False), (*second, False)),
        answer((*first, False)),
    )
    assert [count for count, _ in (both, replaced, single)] == [2, 1, 1]
    assert len({total for _, total in (both, replaced, single)}) == 3


def test_a_correction_tracks_only_what_it_touches(monkeypatch):
    with model().open_video(pictures()) as session:
        session.click(0, 0, POINTS[0], [1])
        session.click(5, 3, POINTS[1], [1])
        list(session.track(start=0, stop=3))
        session.click(9, 4, [(30, 20)], [1])
        before = list(session.track(start=0))
        tracked = listen(monkeypatch)
        shown = session.click(9, 8, [(40, 10)], [1])
        assert shown.ids.tolist() == [0, 5, 9]
        after = list(session.track())
        assert indices(after) == list(range(8, COUNT))
        assert tracked == [[9]] * (COUNT - 8)
        for earlier, later in zip(before[8:], after, strict=True):
            assert plain([later[later.ids != 9]]) == plain([earlier[earlier.ids != 9]])
        assert any(a.for_id(9).rles != b.for_id(9).rles for a, b in zip(before[8:], after, strict=True))
        tracked.clear()
        assert plain(session.track(start=8)) == plain(after)
        assert not tracked
        back = list(session.track("backward", start=7))
        assert indices(back) == list(range(7, -1, -1))
        assert len(tracked) == 8  # the correction goes both ways
        tracked.clear()
        assert plain(session.track("backward", start=7)) == plain(back)
        assert not tracked


def test_a_correction_that_was_followed_in_part_is_followed_on(monkeypatch):
    with begin(model().open_video(pictures())) as session:
        list(session.track())
        session.click(0, 4, [(40, 10)], [1])
        whole = list(session.track())
    with begin(model().open_video(pictures())) as session:
        list(session.track())
        session.click(0, 4, [(40, 10)], [1])
        tracked = listen(monkeypatch)
        parts = list(session.track(stop=8))
        for result in session.track(start=8):
            parts.append(result)
            if result.index == 11:
                break
        parts += session.track(start=12)
        assert len(tracked) == COUNT - 4
        assert plain(parts) == plain(whole)


def test_an_object_that_is_removed_is_gone_from_every_result():
    with begin(model().open_video(pictures())) as session:
        whole = list(session.track())
        session.remove(0)
        assert session.object_ids == (1,)
        assert plain(session.track(start=0)) == plain([result.for_id(1) for result in whole])
        with pytest.raises(InputError, match="there is no object 0; there are 1"):
            session.remove(0)


def test_a_removed_id_given_anew_brings_nothing_back(monkeypatch):
    script(monkeypatch, {"left": left})
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("left")
        run = session.track()
        next(run)
        session.remove(0)  # while results wait in which it is seen
        session.click(0, 2, POINTS[1], [1])
        results = [*run]
        assert indices(results) == list(range(1, COUNT))
        assert [0 in row for row in ids(results)[:4]] == [False, True, False, False]


def test_promptable_segmentation_without_words_takes_objects_on_the_way():
    with begin(model().open_video(pictures())) as session:
        results = []
        for result in session.track():
            results.append(result)
            if result.index == 5:
                session.click(None, 5, [(32, 24)], [1])
        assert ids(results) == [[0, 1]] * 6 + [[0, 1, 2]] * (COUNT - 6)
        assert set(results[-1].concepts) == {""}


# --- runs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direction", "options", "expected"),
    [
        ("forward", {}, [*range(4, COUNT)]),
        ("forward", {"start": 6, "stop": 12, "step": 2}, [6, 8, 10]),
        ("backward", {}, [4, 3, 2, 1, 0]),
        ("backward", {"start": 9, "stop": 2, "step": 3}, [9, 6, 3]),
        ("both", {}, [*range(4, COUNT), 3, 2, 1, 0]),
        ("both", {"start": 6, "stop": 10, "step": 2}, [6, 8, 4, 2, 0]),
        ("both", {"start": 0, "stop": 2}, [0, 1]),
        ("backward", {"start": -1}, []),
        ("forward", {"start": 3, "stop": 3}, []),
    ],
)
def test_runs_visit_what_they_are_told_to(direction, options, expected):
    with model().open_video(pictures()) as session:
        session.click(None, 4, POINTS[0], [1])
        assert indices(session.track(direction, **options)) == expected


def test_results_wait_and_masklets_that_end_meanwhile_were_never_there(monkeypatch):
    """One masklet lasts, one is lost after its first frame and ends on the third unmatched one."""
    squares = {"left": lambda frame: left(frame) + (corners(frame)[:1] if frame == 0 else [])}
    detect = script(monkeypatch, squares)
    rules = replace(RULES, max_unmatched=3, min_match_iou=0.2)

    def run(delay: int | None) -> tuple[list[FrameResult], list[int]]:
        with model().open_video(pictures(), rules=rules, delay=delay) as session:
            session.add_concept("left")
            results, asked = [], []
            for result in session.track():
                results.append(result)
                asked.append(detect.call_count)
            return results, asked

    detect.reset_mock()
    late, asked = run(None)
    assert [count - 1 for count in asked] == [*range(5, COUNT), *[COUNT] * 5]
    assert indices(late) == list(range(COUNT))
    detect.reset_mock()
    at_once, asked = run(0)
    assert [count - 1 for count in asked] == list(range(1, COUNT + 1))
    assert at_once[0].ids.tolist() == [0, 1]
    assert late[0].ids.tolist() in ([0], [0, 1])


@pytest.mark.parametrize("stops", [[0], [3], [12, 13, 14], [15, 16], [5, 9, 16]])
def test_breaking_out_and_going_on_gives_what_one_run_gives(monkeypatch, stops):
    script(monkeypatch, {"left": from_third, "corner": corners})

    def start() -> VideoSession:
        session = model().open_video(pictures(), rules=RULES)
        session.add_concept("left", frame=0)
        session.add_concept("corner")
        return session

    with start() as session:
        whole = list(session.track())
    with start() as session:
        results: list[FrameResult] = []
        for stop in [*stops, COUNT]:
            for result in session.track(start=len(results)):
                results.append(result)
                if result.index == stop:
                    break
    assert plain(results) == plain(whole)
    assert all(result.image is not None for result in results)


# --- streams ------------------------------------------------------------------------------------------------------


def test_pushed_frames_give_what_a_run_gives(monkeypatch):
    script(monkeypatch, {"left": from_third, "corner": corners})

    def ask(session: VideoSession) -> None:
        session.add_concept("left", frame=0)
        session.add_concept("corner", frame=0)

    with model().open_video(pictures(), rules=RULES) as session:
        ask(session)
        whole = list(session.track(start=1))
    with model().open_video(rules=RULES) as session:
        assert len(session.push(pictures()[0])) == 0  # nothing is followed yet, so nothing waits
        ask(session)
        pushed = [session.push(picture) for picture in pictures()[1:]]
        assert pushed[:4] == [None] * 4
        given = [*(result for result in pushed if result is not None), *session.flush()]
    assert plain(given) == plain(whole)
    assert [len(result) for result in given] == [2, 2] + [3] * (COUNT - 3)


def test_a_prompt_between_pushes_loses_no_result(monkeypatch):
    script(monkeypatch, {"left": left})
    with model().open_video(rules=RULES) as session:
        results = [session.push(pictures()[0])]
        session.add_concept("left")
        for index, picture in enumerate(pictures()[1:], start=1):
            results.append(session.push(picture))
            if index == 8:
                session.click(None, None, POINTS[1], [1])
        results += session.flush()
    given = [result for result in results if result is not None]
    assert indices(given) == list(range(COUNT))
    assert [len(result) for result in given[1:8]] == [1] * 7
    assert [len(result) for result in given[8:]] == [2] * (COUNT - 8)


def test_without_a_delay_every_push_gives_its_frame():
    with model().open_video(delay=0) as session:
        session.push(pictures()[0])
        begin(session)
        pushed = [session.push(picture) for picture in pictures()[1:]]
        assert session.flush() == []
    with begin(model().open_video(iter(pictures()))) as session:
        tracked = list(session.track())
    assert plain([result for result in pushed if result is not None]) == plain(tracked[1:])


# --- what cannot be -----------------------------------------------------------------------------------------------


def test_what_is_no_longer_in_the_history_cannot_be_shown_again():
    with begin(model().open_video(pictures(), history_frames=4)) as session:
        whole = list(session.track())
        assert len(session.results.history.records) == 4
        assert plain(session.track(start=COUNT - 4)) == plain(whole[-4:])
        with pytest.raises(
            InputError, match=r"^frame 0 was tracked, but of the results only the last 4 frames are kept"
        ):
            list(session.track(start=0))
        assert plain(session.track(start=COUNT - 4)) == plain(whole[-4:])


MISTAKES = {
    "nothing to look for": lambda s: s.add_concept(),
    "the phrase is empty": lambda s: s.add_concept(" "),
    "the phrase is too long": lambda s: s.add_concept("dog " * 40),
    "is inverted or empty": lambda s: s.add_concept("dog", boxes=[(9, 9, 3, 3)]),
    "is not inside the 64 x 48 image": lambda s: s.click(None, 0, box=(0, 0, 65, 9)),
    "the list has no frame 99": lambda s: s.add_concept("dog", frame=99),
    "the number of a frame is a whole number from 0 on, not -1": lambda s: s.click(None, -1, [(3, 3)], [1]),
    "'cat' is not tracked; there are no concepts": lambda s: s.remove_concept("cat"),
    "nothing to go by": lambda s: s.click(None, 0),
    "1 points have 2 labels": lambda s: s.click(None, 0, [(3, 3)], [1, 1]),
    "a point's label is 1": lambda s: s.click(None, 0, [(3, 3)], [2]),
    "a point is two finite numbers": lambda s: s.click(None, 0, [(3, float("nan"))], [1]),
    "a point is outside": lambda s: s.click(None, 0, [(65, 3)], [1]),
    "an object's id is a whole number from 0 on, not -3": lambda s: s.click(-3, 0, [(3, 3)], [1]),
    r"the mask is \(9, 9\), the video \(48, 64\)": lambda s: s.add_mask(0, 0, np.zeros((9, 9), dtype=bool)),
    "there is no object 5; there are 0, 1": lambda s: s.remove(5),
    "a step in frames is a whole number from 1 on, not 0": lambda s: s.track(step=0),
    "the video has 18 frames, and none of number 18": lambda s: s.track(start=18),
    "no frames from 4 to 2": lambda s: list(s.track(start=4, stop=2)),
    "this session reads a video": lambda s: s.push(pictures()[0]),
}


def test_mistakes_are_one_sentence_and_cost_nothing():
    with begin(model().open_video(pictures())) as session:
        whole = list(session.track())
    with begin(model().open_video(pictures())) as session:
        for sentence, mistake in MISTAKES.items():
            with pytest.raises(InputError, match=sentence) as caught:
                mistake(session)
            assert "\n" not in str(caught.value)
        assert session.object_ids == (0, 1)
        assert plain(session.track()) == plain(whole)


def test_sessions_without_prompts_or_pictures_say_what_is_missing():
    with model().open_video(pictures()) as session, pytest.raises(InputError, match="nothing to track: call"):
        session.track()
    with model().open_video() as session:
        with pytest.raises(InputError, match="frame 0 is not there: of a live stream only the last frames"):
            session.add_concept("dog", frame=0)
        session.push(pictures()[0])
        begin(session)
        with pytest.raises(InputError, match=r"the frame is \(9, 9\), the stream \(48, 64\)"):
            session.push(np.zeros((9, 9, 3), dtype=np.uint8))
        with pytest.raises(InputError, match="this session has no video: give its frames to push"):
            list(session.track())
        assert session.push(pictures()[1]).index == 1
    with pytest.raises(InputError, match="unknown rules 'sam4': give sam3, no-heuristics"):
        model().open_video(pictures(), rules="sam4")
    with pytest.raises(InputError, match="are numbers of frames, 0 or more"):
        model().open_video(pictures(), delay=-1)


def test_a_frame_of_another_size_ends_the_run_after_those_before_it():
    frames = [*pictures()[:4], np.zeros((10, 10, 3), dtype=np.uint8)]
    with begin(model().open_video(frames)) as session:
        results = []
        with pytest.raises(InputError, match="frame 4 of the list is 10 x 10 pixels, but the first one is 64 x 48"):
            results.extend(session.track())
        assert indices(session.track(start=0, stop=4)) == [0, 1, 2, 3]


def test_a_stream_cannot_be_gone_back_in():
    with begin(model().open_video(iter(pictures()))) as session:
        list(session.track())
        with pytest.raises(InputError, match="cannot be read backwards"):
            list(session.track("backward", start=4))


def test_a_closed_session_says_so():
    with begin(model().open_video(pictures())) as session:
        list(session.track(stop=2))
    with pytest.raises(InputError, match="the session is closed"):
        list(session.track())
    for use in (lambda: session.click(0, 0, [(3, 3)], [1]), lambda: session.add_concept("dog")):
        with pytest.raises(InputError, match="the session is closed"):
            use()
    with model().open_video() as session:
        session.push(pictures()[0])
    with pytest.raises(InputError, match="the session is closed"):
        session.push(pictures()[1])
