"""What is shown, when, and to whom a pixel belongs."""

import pytest
import torch
from torch import Tensor

from masklet.inference.emission import DelayBuffer, FrameRecord, visible_objects
from masklet.inference.rules import Rules, sam3, without_heuristics


def block(left: int, right: int, size: int = 8) -> Tensor:
    """Logits of a mask of whole columns."""
    columns = torch.arange(size)
    return ((columns >= left) & (columns < right)).float().expand(size, -1) * 8 - 4


def record(frame: int, ids: tuple[int, ...] = (1, 2), **sets: set[int]) -> FrameRecord:
    masks = [block(2 * index, 2 * index + 2) for index in range(len(ids))]
    return FrameRecord(
        frame=frame,
        object_ids=ids,
        mask_logits=torch.stack(masks) if masks else torch.zeros(0, 8, 8),
        birth_scores=tuple(0.5 + one / 100 for one in ids),
        tracker_scores=(0.9,) * len(ids),
        **{name: frozenset(members) for name, members in sets.items()},
    )


def run(rules: Rules, records: list[FrameRecord]) -> list[list[FrameRecord]]:
    """What comes out at each push, and at the end."""
    buffer, out = DelayBuffer.of(rules), []
    for one in records:
        buffer, released = buffer.push(one)
        out.append(list(released))
    buffer, rest = buffer.flush()
    assert buffer.waiting == ()
    return [*out, list(rest)]


def shown(one: FrameRecord) -> tuple[int, ...]:
    return visible_objects(one, 8, 8).object_ids


@pytest.mark.parametrize(("delay", "first"), [(0, 0), (1, 0), (2, 1), (15, 14)])
def test_a_frame_comes_out_when_the_delay_is_full_and_the_rest_at_the_end(delay: int, first: int) -> None:
    out = run(Rules(confirmation_delay=delay), [record(frame) for frame in range(20)])
    frames = [[one.frame for one in released] for released in out]
    assert frames[: first + 1] == [[]] * first + [[0]]
    assert [frame for released in frames for frame in released] == list(range(20))
    assert len(frames[-1]) == max(delay - 1, 0)


def test_a_masklet_removed_while_a_frame_waits_is_not_shown_on_it() -> None:
    records = [record(0), record(1), record(2, removed={2}), record(3, ids=(1,)), record(4, ids=(1,))]
    out = run(Rules(confirmation_delay=2), records)
    assert [shown(one) for released in out for one in released] == [(1, 2), (1,), (1,), (1,), (1,)]
    undelayed = run(without_heuristics(), records)
    assert [shown(one) for released in undelayed for one in released] == [(1, 2), (1, 2), (1,), (1,), (1,)]


def test_a_masklet_confirmed_on_its_third_frame_is_shown_from_its_first() -> None:
    """And one never confirmed is not; at the end the last known status counts."""
    unconfirmed = [{1, 2}, {1, 2}, {2}, {2}, {2}]
    records = [record(frame, unconfirmed=members) for frame, members in enumerate(unconfirmed)]
    out = run(Rules(confirmation_delay=3, confirm_after=3), records)
    assert [shown(one) for released in out for one in released] == [(1,)] * 5
    plain = run(Rules(confirmation_delay=0, confirm_after=3), records)
    assert [shown(one) for released in plain for one in released] == [(), (), (1,), (1,), (1,)]


def test_hidden_and_empty_masklets_are_left_out_and_the_rest_sorted() -> None:
    one = FrameRecord(
        frame=3,
        object_ids=(9, 4, 5, 6),
        mask_logits=torch.stack([block(0, 2), block(4, 6), block(6, 8), torch.full((8, 8), -4.0)]),
        birth_scores=(0.9, 0.4, 0.5, 0.6),
        tracker_scores=(0.8, 0.8, 0.8, 0.8),
        hidden=frozenset({5}),
    )
    objects = visible_objects(one, 16, 24)
    assert (objects.frame, objects.object_ids, objects.scores) == (3, (4, 9), (0.4, 0.9))
    assert objects.boxes_xyxy.tolist() == [[12, 0, 18, 16], [0, 0, 6, 16]]
    assert objects.masks.shape == (2, 16, 24)


def test_a_pixel_belongs_to_the_object_the_tracker_is_surest_of_and_boxes_do_not_care() -> None:
    one = FrameRecord(
        frame=0,
        object_ids=(1, 2),
        mask_logits=torch.stack([block(0, 6), block(4, 8)]),
        birth_scores=(1.0, 0.5),
        tracker_scores=(0.6, 0.7),
    )
    objects = visible_objects(one, 8, 8)
    assert objects.masks[:, 0].tolist() == [[True] * 4 + [False] * 4, [False] * 4 + [True] * 4]
    assert objects.boxes_xyxy.tolist() == [[0, 0, 6, 8], [4, 0, 8, 8]]


def test_a_frame_without_objects_shows_nothing() -> None:
    objects = visible_objects(record(0, ids=()), 6, 7)
    assert objects.masks.shape == (0, 6, 7)
    assert objects.boxes_xyxy.shape == (0, 4)


def test_the_published_rules_wait_fifteen_frames_and_look_at_no_confirmation() -> None:
    buffer = DelayBuffer.of(sam3())
    assert (buffer.delay, buffer.look_ahead) == (15, 0)
    assert DelayBuffer.of(Rules(confirm_after=3)).look_ahead == 2
