"""Boxes: layouts, areas and overlaps, on any numbers of boxes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from masklet.ops.boxes import box_area, box_iou, cxcywh_to_xyxy, generalized_box_iou, xyxy_to_cxcywh


@st.composite
def box_sets(draw: st.DrawFn) -> Tensor:
    """Proper xyxy boxes, also none."""
    count = draw(st.integers(0, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    low = torch.rand(count, 2, generator=generator)
    return torch.cat([low, low + torch.rand(count, 2, generator=generator)], dim=-1)


@given(box_sets())
@settings(max_examples=50, deadline=None)
def test_a_layout_and_back_is_the_same_box(boxes: Tensor) -> None:
    assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)


@given(box_sets())
@settings(max_examples=50, deadline=None)
def test_the_area_is_width_times_height(boxes: Tensor) -> None:
    assert_close(box_area(boxes), xyxy_to_cxcywh(boxes)[:, 2] * xyxy_to_cxcywh(boxes)[:, 3])


@pytest.mark.parametrize("overlap", [box_iou, generalized_box_iou])
@given(a=box_sets(), b=box_sets())
@settings(max_examples=50, deadline=None)
def test_overlaps_are_symmetric(overlap, a: Tensor, b: Tensor) -> None:
    assert_close(overlap(a[:, None], b[None]), overlap(b[:, None], a[None]).T)


@given(box_sets())
@settings(max_examples=50, deadline=None)
def test_a_box_overlaps_itself_fully(boxes: Tensor) -> None:
    assert_close(box_iou(boxes, boxes), torch.ones(len(boxes)))


@given(box_sets(), box_sets())
@settings(max_examples=50, deadline=None)
def test_the_generalized_overlap_is_never_above_the_plain_one(a: Tensor, b: Tensor) -> None:
    plain, generalized = box_iou(a[:, None], b[None]), generalized_box_iou(a[:, None], b[None])
    assert (generalized <= plain + 1e-6).all()
    assert (generalized >= -1 - 1e-6).all()


def test_the_overlap_of_a_worked_pair() -> None:
    a, b = torch.tensor([0.0, 0.0, 2.0, 2.0]), torch.tensor([1.0, 1.0, 3.0, 3.0])
    assert_close(box_iou(a, b), torch.tensor(1 / 7))
    assert_close(generalized_box_iou(a, b), torch.tensor(1 / 7 - 2 / 9))


def test_a_box_without_extent_overlaps_nothing() -> None:
    point = torch.tensor([0.5, 0.5, 0.5, 0.5])
    assert_close(box_iou(point, point), torch.tensor(0.0))
