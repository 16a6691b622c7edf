"""Box layouts go there and back; overlaps are symmetric, bounded, and right on cases worked by hand."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from masklet.ops.boxes import box_area, box_iou, cxcywh_to_xyxy, generalized_box_iou, xyxy_to_cxcywh


def random_boxes(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator, dtype=torch.float64)
    return torch.cat([low, low + torch.rand(count, 2, generator=generator, dtype=torch.float64)], dim=-1)


seeds = st.integers(0, 2**31 - 1)


@given(st.integers(0, 5), seeds)
def test_layouts_are_each_others_inverse(count: int, seed: int) -> None:
    boxes = random_boxes(count, seed)
    torch.testing.assert_close(cxcywh_to_xyxy(xyxy_to_cxcywh(boxes)), boxes)
    torch.testing.assert_close(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes)


@given(st.integers(0, 4), st.integers(0, 4), seeds)
def test_overlaps_are_symmetric_and_bounded(a: int, b: int, seed: int) -> None:
    first, second = random_boxes(a, seed), random_boxes(b, seed + 1)
    for overlap, lowest in ((box_iou, 0.0), (generalized_box_iou, -1.0)):
        table = overlap(first[:, None], second[None])
        assert table.shape == (a, b)
        torch.testing.assert_close(table, overlap(second[:, None], first[None]).T)
        assert ((table >= lowest) & (table <= 1)).all()


@given(seeds)
def test_a_box_overlaps_itself_wholly(seed: int) -> None:
    boxes = random_boxes(3, seed)
    torch.testing.assert_close(box_iou(boxes, boxes), torch.ones(3, dtype=torch.float64))
    torch.testing.assert_close(generalized_box_iou(boxes, boxes), torch.ones(3, dtype=torch.float64))


@given(seeds, st.floats(0.1, 10), st.floats(-5, 5))
def test_overlaps_do_not_change_with_scale_and_place(seed: int, scale: float, shift: float) -> None:
    first, second = random_boxes(3, seed), random_boxes(3, seed + 1)
    for overlap in (box_iou, generalized_box_iou):
        torch.testing.assert_close(overlap(first * scale + shift, second * scale + shift), overlap(first, second))


@pytest.mark.parametrize(
    ("a", "b", "iou", "giou"),
    [
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7, 1 / 7 - 2 / 9),
        ((0, 0, 1, 1), (2, 0, 3, 1), 0.0, -1 / 3),
        ((0, 0, 1, 1), (1, 0, 2, 1), 0.0, 0.0),
        ((0, 0, 4, 4), (1, 1, 2, 2), 1 / 16, 1 / 16),
        ((1, 1, 1, 1), (0, 0, 2, 2), 0.0, 0.0),
        ((1, 1, 1, 1), (1, 1, 1, 1), 0.0, 0.0),
        ((3, 3, 1, 1), (0, 0, 4, 4), 0.0, 0.0),
    ],
    ids=["corner", "apart", "touching", "inside", "point", "two points", "inverted"],
)
def test_cases_worked_by_hand(a: tuple, b: tuple, iou: float, giou: float) -> None:
    first, second = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    torch.testing.assert_close(box_iou(first, second).item(), iou)
    torch.testing.assert_close(generalized_box_iou(first, second).item(), giou)


def test_degenerate_boxes_have_finite_gradients() -> None:
    boxes = torch.zeros(2, 4, requires_grad=True)
    (box_iou(boxes, boxes) + generalized_box_iou(boxes, boxes) + box_area(boxes)).sum().backward()
    assert boxes.grad is not None
    assert boxes.grad.isfinite().all()
