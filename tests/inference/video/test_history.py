"""Results kept for corrections: what is replaced, what is forgotten, and in which order."""

import numpy as np
import torch

from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.history import History, join, update, without
from masklet.inference.video.records import FrameRecord


def make_result(index: int, ids: list[int], shift: int = 0, *, image: np.ndarray | None = None) -> FrameResult:
    logits = torch.full((len(ids), 8, 8), -5.0)
    for row in range(len(ids)):
        logits[row, row : row + 3, shift : shift + 3] = 5
    return FrameResult.of(
        index=index,
        time=index / 10,
        size=(8, 8),
        ids=ids,
        concepts=[f"c{i}" for i in ids],
        scores=[0.5] * len(ids),
        object_scores=[0.25] * len(ids),
        mask_logits=logits,
        image=image,
    )


def make_record(index: int, ids: list[int], **states: frozenset[int]) -> FrameRecord:
    return FrameRecord(result=make_result(index, ids), **states)


def test_the_frames_visited_longest_ago_are_forgotten_first() -> None:
    history = History(3)
    for frame in (5, 6, 7, 5, 8):
        history.store(make_record(frame, [1]))
    assert list(history.records) == [7, 5, 8]
    endless = History(None)
    for frame in range(50):
        endless.store(make_record(frame, []))
    assert len(endless.records) == 50
    nothing = History(0)
    nothing.store(make_record(0, [1]))
    assert not nothing.records


def test_pictures_are_not_kept() -> None:
    history = History(None)
    history.store(FrameRecord(result=make_result(0, [1], image=np.zeros((8, 8, 3), dtype=np.uint8))))
    assert history.records[0].result.image is None


def test_forgotten_objects_leave_every_frame() -> None:
    history = History(None)
    for frame in range(3):
        history.store(make_record(frame, [frame, 7]))
    history.drop([7, 1])
    assert [record.result.ids.tolist() for record in history.records.values()] == [[0], [], [2]]


def test_an_update_replaces_what_is_said_of_some_and_nothing_else() -> None:
    known = make_record(4, [1, 2, 3], hidden=frozenset({1, 2}), unconfirmed=frozenset({3}))
    fresh = FrameRecord(
        result=make_result(4, [2, 3, 5], shift=4), hidden=frozenset({5, 3}), unconfirmed=frozenset({2, 5})
    )
    record = update(known, fresh, [2, 5])
    assert record.result.ids.tolist() == [1, 2, 3, 5]
    assert record.hidden == {1, 5}
    assert record.unconfirmed == {3, 2, 5}
    for object_id, source in {1: known, 2: fresh, 3: known, 5: fresh}.items():
        assert record.result.for_id(object_id).to_json() == source.result.for_id(object_id).to_json()


def test_an_object_that_is_not_seen_any_more_leaves_the_frame() -> None:
    record = update(make_record(4, [1, 2]), make_record(4, []), [2])
    assert record.result.ids.tolist() == [1]


def test_results_of_a_frame_are_joined_by_id() -> None:
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    joined = join(make_result(0, [4, 1], image=image), make_result(0, [3]))
    assert joined.ids.tolist() == [1, 3, 4]
    assert joined.concepts == ("c1", "c3", "c4")
    assert joined.image is image
    assert without(joined, [3, 9]).ids.tolist() == [1, 4]
