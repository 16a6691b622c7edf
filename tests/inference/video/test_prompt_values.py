"""Prompts of a session come as users have them, as lists, arrays or tensors; what cannot be is a sentence."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from frame_results import make, rectangle
from video_scenes import COUNT, RULES, SIZE, corners, ids, left, model, pictures, plain, script

from masklet.errors import InputError
from masklet.inference.concepts import read_phrases, read_whole

POINT, BOX = (12, 16), (4, 8, 20, 24)


@pytest.mark.parametrize(
    "points", [np.array([POINT]), torch.tensor([POINT]), [np.array(POINT)], np.array(POINT), POINT]
)
@pytest.mark.parametrize("labels", [np.array([1]), torch.tensor([1]), 1], ids=str)
def test_points_are_taken_however_they_come(points, labels):
    with model().open_video(pictures()[:2]) as session:
        expected = session.click(0, 0, [POINT], [1])
    with model().open_video(pictures()[:2]) as session:
        found = session.click(np.int64(0), np.int32(0), points, labels)
        assert found.to_json() == expected.to_json()


@pytest.mark.parametrize(
    "box", [np.array(BOX), torch.tensor(BOX), list(BOX), np.array([BOX], dtype=np.float64)], ids=str
)
def test_boxes_are_taken_however_they_come(box, monkeypatch):
    script(monkeypatch, {"left": left})
    with model().open_video(pictures()[:2], rules=RULES) as session:
        expected = session.click(0, 0, box=BOX).to_json()
    with model().open_video(pictures()[:2], rules=RULES) as session:
        assert session.click(0, 0, box=box).to_json() == expected
        session.add_concept("left", boxes=box, not_boxes=np.array([(30.0, 0.0, 60.0, 20.0)]))
        assert session.state.concepts["left"].concept.labels == (1, 0)


def test_what_numpy_gave_can_be_saved(tmp_path, monkeypatch):
    script(monkeypatch, {"left": left})
    with model().open_video(pictures(), rules=RULES) as session:
        session.add_concept("left", boxes=np.array([BOX], dtype=np.float32), frame=np.int64(0))
        session.click(np.int64(7), np.uint8(0), np.array([POINT]), np.array([1]))
        session.add_mask(torch.tensor(9), 0, torch.ones(SIZE, dtype=torch.bool))
        expected = [each.to_json() for each in session.track(start=np.int64(0), stop=np.int64(6), step=np.int64(1))]
        session.save(tmp_path / "session")
    with model().resume_video(tmp_path / "session", pictures()) as resumed:
        assert resumed.object_ids == (0, 7, 9)
        assert plain(resumed.track(start=0, stop=6)) == expected
        resumed.remove(np.int64(7))
        resumed.clear(np.int64(9), np.int64(0))
        assert resumed.object_ids == (0,)


def test_a_list_of_phrases_is_as_many_concepts(monkeypatch):
    script(monkeypatch, {"left": left, "corner": corners})
    with model().open_video(pictures(), rules=RULES) as session:
        shown = session.add_concept(["left", "corner", " LEFT "])
        assert list(session.state.concepts) == ["left", "corner"]
        assert sorted(set(shown.concepts)) == ["corner", "left"]
        together = list(session.track())
        assert ids(together) == [[0, 1, 2]] * COUNT
        session.add_concept("Left_")  # which is tracked already
        assert list(session.state.concepts) == ["left", "corner"]
        assert together[0].for_concept("LEFT").ids.tolist() == [0]
        session.remove_concept("_Corner")
        assert session.object_ids == (0,)
    with model().open_video(pictures(), rules=RULES) as session:
        assert session.add_concept(np.array(["left"])).concepts == ("left",)


@pytest.mark.parametrize(
    ("mask", "sentence"),
    [
        (np.full(SIZE, -5.0), "cut logits first"),
        (np.linspace(-1, 1, SIZE[0] * SIZE[1]).reshape(SIZE), "cut logits first"),
        (np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) % 3, "0 and one other number"),
        (np.full(SIZE, "a"), "a mask holds bools or numbers"),
        (np.zeros((1, *SIZE), bool), r"the mask is \(1, 48, 64\), the video \(48, 64\)"),
    ],
    ids=["absent logits", "logits", "objects", "text", "axes"],
)
def test_what_is_no_mask_is_refused(mask, sentence):
    with model().open_video(pictures()[:2]) as session, pytest.raises(InputError, match=sentence):
        session.add_mask(0, 0, mask)


@pytest.mark.parametrize("scale", [True, 1, 255, 1.0])
def test_masks_are_bools_or_one_number(scale):
    mask = np.zeros(SIZE, dtype=type(scale) if isinstance(scale, (bool, float)) else np.uint8)
    mask[8:24, 4:20] = scale
    with model().open_video(pictures()[:2]) as session:
        assert session.add_mask(0, 0, mask).areas.tolist() == [256]


MISTAKES = {
    "an object's id is a whole number from 0 on, not 1000000000000000000000": lambda s: s.remove(10**21),
    "an object's id is a whole number from 0 on, not -1": lambda s: s.click(-1, 0, [POINT], [1]),
    "the number of a frame is a whole number from 0 on, not -4": lambda s: s.add_concept("dog", frame=-4),
    "an object's id is a whole number from 0 on, not 1.5": lambda s: s.remove(torch.tensor(1.5)),
    "the phrase is empty": lambda s: s.add_concept("_ \x01"),
    "example boxes belong to one concept": lambda s: s.add_concept(["dog", "cat"], boxes=[BOX]),
    "nothing to look for": lambda s: s.add_concept(None, boxes=np.zeros((0, 4))),
    "a point is 2 numbers x, y": lambda s: s.click(0, 0, np.array([[1, 2, 3]]), [1]),
}


@pytest.mark.parametrize("sentence", MISTAKES)
def test_odd_values_are_one_sentence(sentence):
    with model().open_video(pictures()[:2]) as session:
        session.click(0, 0, [POINT], [1])
        with pytest.raises(InputError, match=sentence):
            MISTAKES[sentence](session)
        assert session.object_ids == (0,)


@pytest.mark.parametrize("value", ["cup", 1.5, True, None, b"1", [1], np.array([1, 2])], ids=str)
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(InputError, match="an object's id is a whole number from 0 on, not "):
        read_whole(value, "an object's id")


@pytest.mark.parametrize("value", [b"dog", [None], [b"dog"], 3], ids=str)
def test_what_is_no_phrase_is_refused(value):
    with pytest.raises(InputError, match="a phrase is a text, not "):
        read_phrases(value)


def test_an_ended_or_closed_session_says_so_at_once():
    with model().open_video(iter(pictures()[:4])) as session:
        session.click(0, 0, [POINT], [1])
        assert len(list(session.track())) == 4
        with pytest.raises(InputError, match="the stream has ended after 4 frames"):
            session.track()
    with pytest.raises(InputError, match="the session is closed"):
        session.track()


def test_objects_of_a_frame_are_tracks_for_supervision(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    result = make([rectangle(SIZE, 2, 2, 9, 9)] * 3, [0.9, 0.8, 0.7], ids=[4, 8, 9], concepts=["dog", "", "dog"])
    with pytest.raises(ImportError, match="pip install supervision"):
        result.to_supervision()
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    made = result.to_supervision()
    assert made.tracker_id.tolist() == [4, 8, 9]
    assert made.class_id.tolist() == [0, 1, 0]
    assert made.data["class_name"].tolist() == ["dog", "object", "dog"]
