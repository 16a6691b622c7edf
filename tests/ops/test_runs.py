"""Run-length masks in bulk against the same masks as pixels, and against pycocotools."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_masks

from masklet.ops.masks import mask_iou, mask_to_box, rle_encode
from masklet.ops.runs import RunTable, pair_intersections, pair_iou


def draw_masks(seed: int, count: int, height: int, width: int) -> np.ndarray:
    """Blobs, full and empty masks, and noise, which has the most runs."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((count, height, width), dtype=bool)
    for mask in masks:
        kind = rng.integers(5)
        if kind == 0:
            mask[:] = True
        elif kind == 1:
            mask[:] = rng.random((height, width)) < 0.5
        elif kind < 4:
            top, left = rng.integers(height), rng.integers(width)
            mask[top : top + rng.integers(1, height + 1), left : left + rng.integers(1, width + 1)] = True
    return masks


def table_of(masks: np.ndarray) -> RunTable:
    count, height, width = masks.shape
    return RunTable.of([rle_encode(mask) for mask in masks], [height] * count, [width] * count)


def all_pairs(num_a: int, num_b: int) -> tuple[np.ndarray, np.ndarray]:
    a_rows, b_rows = np.mgrid[:num_a, :num_b]
    return a_rows.ravel(), b_rows.ravel()


@given(st.integers(0, 10**6), st.integers(0, 6), st.integers(0, 6), st.integers(1, 9), st.integers(1, 9))
@settings(deadline=None, max_examples=150)
def test_equal_to_the_same_masks_as_pixels(seed, num_a, num_b, height, width):
    a, b = draw_masks(seed, num_a, height, width), draw_masks(seed + 1, num_b, height, width)
    table_a, table_b = table_of(a), table_of(b)
    assert len(table_a) == num_a
    assert table_a.areas.tolist() == a.sum(axis=(1, 2)).tolist()
    assert [tuple(box) for box in table_a.boxes_xyxy.tolist()] == [mask_to_box(mask) or (0, 0, 0, 0) for mask in a]
    rows = all_pairs(num_a, num_b)
    common = pair_intersections(table_a, rows[0], table_b, rows[1])
    assert common.tolist() == [int((a[i] & b[j]).sum()) for i, j in zip(*rows, strict=True)]
    np.testing.assert_array_equal(pair_iou(table_a, rows[0], table_b, rows[1]), mask_iou(a, b).ravel())


@given(st.integers(0, 10**6))
@settings(deadline=None, max_examples=50)
def test_equal_to_pycocotools(seed):
    a, b = draw_masks(seed, 4, 33, 21), draw_masks(seed + 1, 5, 33, 21)
    theirs_a, theirs_b = (coco_masks.encode(np.asfortranarray(m.transpose(1, 2, 0).astype(np.uint8))) for m in (a, b))
    ours_a, ours_b = (
        RunTable.of([each["counts"] for each in m], [33] * len(m), [21] * len(m)) for m in (theirs_a, theirs_b)
    )
    assert ours_a.areas.tolist() == coco_masks.area(theirs_a).tolist()
    rows = all_pairs(4, 5)
    expected = np.asarray(coco_masks.iou(theirs_a, theirs_b, [0] * 5)).ravel()
    np.testing.assert_array_equal(pair_iou(ours_a, rows[0], ours_b, rows[1]), expected)


def test_masks_of_many_sizes_share_a_table():
    masks = [draw_masks(seed, 1, 5 + seed, 12 - seed)[0] for seed in range(8)]
    table = RunTable.of([rle_encode(m) for m in masks], [m.shape[0] for m in masks], [m.shape[1] for m in masks])
    assert table.areas.tolist() == [int(mask.sum()) for mask in masks]
    own = np.arange(8)
    assert pair_intersections(table, own, table, own).tolist() == table.areas.tolist()
    with pytest.raises(ValueError, match="mask 0 and mask 3 are not of one size"):
        pair_intersections(table, np.array([1, 0]), table, np.array([1, 3]))


def test_plain_lists_and_bytes_are_read_like_text():
    mask = draw_masks(3, 1, 6, 7)[0]
    text = rle_encode(mask)
    plain = [3, 4, 6 * 7 - 7]
    table = RunTable.of([text, text.encode(), plain], [6] * 3, [7] * 3)
    assert table.areas.tolist() == [int(mask.sum())] * 2 + [4]


def test_selected_masks_keep_their_runs():
    masks = draw_masks(9, 6, 8, 8)
    rows = np.array([4, 0, 4])
    chosen = table_of(masks).select(rows)
    assert chosen.areas.tolist() == masks[rows].sum(axis=(1, 2)).tolist()
    assert pair_intersections(chosen, np.array([0]), chosen, np.array([2])).tolist() == [int(masks[4].sum())]


def test_pairs_are_looked_up_in_pieces(monkeypatch):
    masks = draw_masks(5, 7, 20, 20)
    table, rows = table_of(masks), all_pairs(7, 7)
    whole = pair_intersections(table, rows[0], table, rows[1])
    monkeypatch.setattr("masklet.ops.runs.CHUNK", 10)
    pieces = table_of(masks)
    assert pieces.starts.tolist() == table.starts.tolist()
    assert pieces.offsets.tolist() == table.offsets.tolist()
    assert pair_intersections(table, rows[0], table, rows[1]).tolist() == whole.tolist()


GOOD = rle_encode(np.eye(4, dtype=bool))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ("P", "mask 1: compressed counts are cut short"),
        (GOOD[:-1] + "\x7f", "mask 1: its run-length counts hold a character"),
        ("oooooooo1", "mask 1: its run-length counts hold a number larger"),
        ("é", "mask 1: "),
        ("3", "mask 1: runs of 3 pixels do not fill 4 x 4"),
        ("", "mask 1: runs of 0 pixels do not fill 4 x 4"),
        ([20, -4], "mask 1: "),
        ("0o0", "mask 1: "),
    ],
)
def test_damage_is_told_with_its_row(counts, message):
    with pytest.raises(ValueError, match=message):
        RunTable.of([GOOD, counts, GOOD], [4] * 3, [4] * 3)


def test_sizes_are_bounded():
    with pytest.raises(ValueError, match="mask 0: a size of 100000 x 100000 pixels"):
        RunTable.of(["0"], [10**5], [10**5])
