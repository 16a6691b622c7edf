"""What is shown, and when, and to whom a pixel belongs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import load_file
from torch import Tensor

from masklet.inference.rules.rules import Rules, sam3, without_heuristics
from masklet.inference.video.emission import DelayBuffer, shown
from masklet.inference.video.frame_result import FrameResult
from masklet.inference.video.records import FrameRecord

GOLDEN = load_file(Path(__file__).parents[2] / "golden" / "official" / "4c_functions.safetensors")


def block(left: int, right: int, size: int = 8) -> Tensor:
    """Logits of a mask of whole columns."""
    columns = torch.arange(size)
    return ((columns >= left) & (columns < right)).float().expand(size, -1) * 8 - 4


def record(frame: int, ids: tuple[int, ...] = (1, 2), **sets: set[int]) -> FrameRecord:
    masks = [block(2 * index, 2 * index + 2) for index in range(len(ids))]
    result = FrameResult.of(
        index=frame,
        time=frame,
        size=(8, 8),
        ids=ids,
        concepts=("coin",) * len(ids),
        scores=[0.5 + one / 100 for one in ids],
        object_scores=[0.9] * len(ids),
        mask_logits=torch.stack(masks) if masks else torch.zeros(0, 8, 8),
    )
    return FrameRecord(result=result, **{name: frozenset(members) for name, members in sets.items()})


def run(rules: Rules, records: list[FrameRecord]) -> list[list[FrameRecord]]:
    """What comes out at each push, and at the end."""
    buffer, out = DelayBuffer.of(rules), []
    for one in records:
        buffer, released = buffer.push(one)
        out.append(list(released))
    buffer, rest = buffer.flush()
    assert buffer.waiting == ()
    return [*out, list(rest)]


def seen(one: FrameRecord, *ended: int) -> list[int]:
    return shown(one, ended).ids.tolist()


@pytest.mark.parametrize(("delay", "first"), [(0, 0), (1, 0), (2, 1), (15, 14)])
def test_a_frame_comes_out_when_the_delay_is_full_and_the_rest_at_the_end(delay: int, first: int) -> None:
    out = run(Rules(confirmation_delay=delay), [record(frame) for frame in range(20)])
    frames = [[one.frame for one in released] for released in out]
    assert frames[: first + 1] == [[]] * first + [[0]]
    assert [frame for released in frames for frame in released] == list(range(20))
    assert len(frames[-1]) == max(delay - 1, 0)


def test_a_masklet_that_ended_is_not_shown_on_frames_that_waited() -> None:
    assert seen(record(0)) == [1, 2]
    assert seen(record(0), 2, 7) == [1]


def test_a_masklet_confirmed_on_its_third_frame_is_shown_from_its_first() -> None:
    """And one never confirmed is not; at the end the last known status counts."""
    unconfirmed = [{1, 2}, {1, 2}, {2}, {2}, {2}]
    records = [record(frame, unconfirmed=members) for frame, members in enumerate(unconfirmed)]
    out = run(Rules(confirmation_delay=3, confirm_after=3), records)
    assert [seen(one) for released in out for one in released] == [[1]] * 5
    plain = run(Rules(confirmation_delay=0, confirm_after=3), records)
    assert [seen(one) for released in plain for one in released] == [[], [], [1], [1], [1]]


def test_hidden_masklets_are_left_out_and_the_rest_sorted() -> None:
    result = shown(record(3, ids=(9, 4, 5), hidden={4}), ())
    assert (result.index, result.ids.tolist()) == (3, [5, 9])
    np.testing.assert_allclose(result.scores, [0.55, 0.59], rtol=1e-6)
    assert result.boxes.tolist() == [[4, 0, 6, 8], [0, 0, 2, 8]]


def test_a_frame_without_objects_shows_nothing() -> None:
    assert len(shown(record(0, ids=()), ())) == 0


def test_the_delay_and_the_look_ahead_come_from_the_rules() -> None:
    buffer = DelayBuffer.of(sam3())
    assert (buffer.delay, buffer.look_ahead) == (15, 0)
    assert DelayBuffer.of(without_heuristics()).delay == 0
    assert DelayBuffer.of(Rules(confirm_after=3)).look_ahead == 2


def settled(masks: Tensor, scores: Tensor) -> np.ndarray:
    """Masks as a user gets them, with overlaps resolved; empty ones stay, though results leave them out."""
    result = FrameResult.of(
        index=0,
        time=0,
        size=(masks.shape[1], masks.shape[2]),
        ids=range(len(masks)),
        concepts=("coin",) * len(masks),
        scores=scores,
        object_scores=scores,
        mask_logits=masks.float() - 0.5,
    )
    disjoint = np.zeros(masks.shape, dtype=bool)
    disjoint[result.ids] = result.masks
    return disjoint


@pytest.mark.parametrize("index", range(2))
def test_disjoint_masks_equal_the_official_ones(index: int) -> None:
    name = f"object_nonoverlap.{index}"
    masks = settled(GOLDEN[f"{name}.in.masks"][:, 0], GOLDEN[f"{name}.in.scores"][:, 0])
    np.testing.assert_array_equal(masks, GOLDEN[f"{name}.out.masks"][:, 0].bool().numpy())


@given(hnp.arrays(bool, st.tuples(st.integers(0, 5), st.integers(1, 6), st.integers(1, 6))), st.data())
def test_a_pixel_belongs_to_the_object_of_highest_score_or_the_first(batch: np.ndarray, data: st.DataObject) -> None:
    number = len(batch)
    scores = data.draw(st.lists(st.sampled_from([0.1, 0.5, 0.9]), min_size=number, max_size=number))
    masks = settled(torch.from_numpy(batch), torch.tensor(scores, dtype=torch.float32))
    for row, column in np.ndindex(batch.shape[1:]):
        claims = np.flatnonzero(batch[:, row, column]).tolist()
        owner = max(claims, key=lambda index: (scores[index], -index)) if claims else None
        assert np.flatnonzero(masks[:, row, column]).tolist() == ([] if owner is None else [owner])
