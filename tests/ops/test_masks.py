import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.ndimage import binary_fill_holes, label

from masklet.ops.masks import (
    mask_iou,
    mask_to_box,
    mask_to_outline,
    mask_to_polygons,
    polygons_to_mask,
    rle_area,
    rle_decode,
    rle_encode,
)

masks = hnp.arrays(bool, st.tuples(st.integers(0, 12), st.integers(0, 12)))


@given(masks)
@settings(max_examples=200, deadline=None)
def test_rle_gives_the_mask_back(mask):
    counts = rle_encode(mask)
    np.testing.assert_array_equal(rle_decode(counts, *mask.shape), mask)
    np.testing.assert_array_equal(rle_decode(counts.encode(), *mask.shape), mask)
    assert rle_area(counts) == mask.sum()


@pytest.mark.parametrize(
    ("rows", "counts"),
    [  # worked by hand from the format: column by column, first run clear, fourth run on as a difference
        ([[0, 0], [0, 0]], "4"),
        ([[1, 1], [1, 1]], "04"),
        ([[1, 0], [0, 0]], "013"),
        ([[0, 1], [1, 0]], "121"),
    ],
)
def test_rle_equals_hand_worked_counts(rows, counts):
    assert rle_encode(np.array(rows, dtype=bool)) == counts


def test_rle_agrees_with_a_plain_reading_of_the_format():
    rng = np.random.default_rng(0)
    for density in (0.001, 0.1, 0.5):
        mask = rng.random((97, 123)) < density
        assert rle_encode(mask) == reference_counts(mask)


def reference_counts(mask):
    """The format one character at a time."""
    runs, value, length = [], False, 0
    for pixel in mask.ravel(order="F"):
        if pixel != value:
            runs.append(length)
            value, length = pixel, 0
        length += 1
    runs.append(length)
    text = ""
    for index, run in enumerate(runs):
        number = run - runs[index - 2] if index > 2 else run
        while True:
            group = number & 31
            number >>= 5
            more = number != -1 if group & 16 else number != 0
            text += chr(group + 48 + 32 * more)
            if not more:
                break
    return text


def test_rle_of_a_large_mask_uses_long_numbers():
    mask = np.zeros((2000, 3000), dtype=bool)
    mask[1999, 2999] = True
    counts = rle_encode(mask)
    assert rle_area(counts) == 1
    np.testing.assert_array_equal(rle_decode(counts, 2000, 3000), mask)


def test_plain_counts_are_read():
    np.testing.assert_array_equal(rle_decode([1, 2, 1], 2, 2), [[False, True], [True, False]])


@pytest.mark.parametrize(
    "counts", ["P", "~", "é", b"\x00", "9", "1", [5], [-1, 5], [2**70], ["x"], "oooooooooo1", [1.5, None]]
)
def test_bad_counts_are_a_value_error(counts):
    with pytest.raises(ValueError, match=r"counts|runs|run lengths"):
        rle_decode(counts, 2, 2)


@given(st.binary(max_size=40) | st.text(max_size=40))
def test_noise_never_raises_anything_but_value_error(counts):
    try:
        mask = rle_decode(counts, 3, 4)
    except ValueError:
        return
    assert mask.shape == (3, 4)


def test_absurd_sizes_are_refused():
    with pytest.raises(ValueError, match="out of range"):
        rle_decode([10**12], 10**6, 10**6)


@given(masks)
@settings(max_examples=200, deadline=None)
def test_outlines_fill_to_the_mask_with_its_holes_closed(mask):
    expected = np.zeros_like(mask)  # a hole is closed when its component of pixels sharing sides surrounds it
    if mask.size:
        labels, count = label(mask)
        for index in range(1, count + 1):
            expected |= binary_fill_holes(labels == index, structure=np.ones((3, 3)))
    np.testing.assert_array_equal(polygons_to_mask(mask_to_polygons(mask), *mask.shape), expected)


def test_simplified_outline_of_a_disc_is_short_and_close():
    y, x = np.mgrid[:200, :200]
    disc = (x - 100) ** 2 + (y - 100) ** 2 < 80**2
    (polygon,) = mask_to_polygons(disc, tolerance=1.0)
    assert len(polygon) < 60
    assert mask_iou(polygons_to_mask([polygon], 200, 200)[None], disc[None])[0, 0] > 0.97


def test_polygons_outside_the_image_are_cut_off():
    mask = polygons_to_mask([[-5, -5, 2, -5, 2, 30, -5, 30]], 4, 4)
    np.testing.assert_array_equal(mask.sum(axis=0), [4, 4, 0, 0])


def test_bad_polygons_are_a_value_error():
    for polygon in ([0, 0, 1, 1], [0, 0, 1, 1, 2], [0, 0, 1, float("nan"), 3, 3]):
        with pytest.raises(ValueError, match="polygon"):
            polygons_to_mask([polygon], 4, 4)


def test_box_is_tight():
    mask = np.zeros((5, 7), dtype=bool)
    assert mask_to_box(mask) is None
    mask[1:3, 2:6] = True
    assert mask_to_box(mask) == (2, 1, 6, 3)


def test_iou_of_known_overlaps():
    a = np.array([[[1, 1, 0]], [[0, 0, 0]]], dtype=bool)
    b = np.array([[[0, 1, 1]], [[0, 0, 0]], [[1, 1, 0]]], dtype=bool)
    np.testing.assert_allclose(mask_iou(a, b), [[1 / 3, 0, 1], [0, 0, 0]])
    assert mask_iou(a[:0], b).shape == (0, 3)


def test_one_outline_walks_around_all_parts_and_into_all_holes():
    y, x = np.mgrid[:60, :80]
    distance = np.hypot(y - 30, x - 30)
    ring = (distance < 24) & (distance > 14)
    island, speck = distance < 6, (abs(y - 10) < 4) & (abs(x - 70) < 5)
    mask = ring | island | speck
    np.testing.assert_array_equal(polygons_to_mask([mask_to_outline(mask)], 60, 80), mask)
    smooth = polygons_to_mask([mask_to_outline(mask, tolerance=0.75)], 60, 80)
    assert mask_iou(smooth[None], mask[None])[0, 0] > 0.95
    noise = np.random.default_rng(0).random((12, 15)) < 0.5
    np.testing.assert_array_equal(polygons_to_mask([mask_to_outline(noise)], 12, 15), noise)
    assert mask_to_outline(np.zeros((4, 4), bool)).shape == (0, 2)
