"""Questions and exclusive phrases asked of a session itself; what it tracks is scripted."""

import numpy as np
import pytest
from frame_results import make, rectangle
from scripted_stream import random_model

from masklet.errors import InputError
from masklet.inference.video.video_session import VideoSession
from masklet.inference.video.views import FrameAnswer

SIZE = (40, 60)
CUPS = [(5, 5, 15, 15), (30, 5, 40, 15)]


@pytest.fixture
def session(monkeypatch):
    asked = []

    def add_concept(self, phrase=None, *, frame=None):  # noqa: ARG001
        asked.append((phrase, frame))

    def frames(self, direction, start, stop, step):  # noqa: ARG001
        for index in range(start, stop or 4, step):
            masks = [rectangle(SIZE, *box) for box in (*CUPS, CUPS[0])]
            yield make(masks, [0.9, 0.8, 0.7], concepts=["cup", "cup", "mug"], index=index)

    monkeypatch.setattr(VideoSession, "add_concept", add_concept)
    monkeypatch.setattr(VideoSession, "_run_all", frames)
    with random_model().open_video(np.zeros((4, *SIZE, 3), np.uint8)) as opened:
        opened.state = opened.state.with_user_object(9, 0, opened.rules)[0]  # there is something to track
        yield opened, asked


def test_a_session_answers_a_question_frame_by_frame(session):
    opened, asked = session
    answers = list(opened.ask("the leftmost cup", start=1))
    assert asked == [("cup", 1)]
    assert [(each.index, each.ids.tolist(), each.concepts) for each in answers] == [
        (index, [1], ("cup",)) for index in (1, 2, 3)
    ]
    assert isinstance(answers[0], FrameAnswer)
    assert np.array_equal(answers[0].masks[0], rectangle(SIZE, *CUPS[0]))
    assert answers[0].explain().splitlines() == [
        "frame 1: cup 2",
        'ranked("cup", left, 1, 1): cup #1 0.99',
        "  without cup #2: is number 2 of 2",
    ]


def test_an_answer_is_a_frame_that_can_be_chosen_from_and_written(session):
    opened, _ = session
    (answer,) = opened.ask("cups", stop=1)
    assert answer.ids.tolist() == [1, 2]
    assert answer[[1]].ids.tolist() == [2]
    assert answer.to_json()["concepts"] == ["cup", "cup"]


def test_a_sentence_that_cannot_be_read_tracks_nothing(session):
    opened, asked = session
    with pytest.raises(InputError, match="cannot be placed"):
        opened.ask("the cup that wants a ball")
    assert asked == []


def test_a_thing_under_two_phrases_has_one_owner_when_asked_for(session):
    opened, _ = session
    assert [each.ids.tolist() for each in opened.track(start=0)] == [[1, 2, 3]] * 4
    assert [each.ids.tolist() for each in opened.track(start=0, exclusive=True)] == [[1, 2]] * 4
    allowed = opened.track(start=0, exclusive=True, together=[("cup", "mug")])
    assert [each.ids.tolist() for each in allowed] == [[1, 2, 3]] * 4
