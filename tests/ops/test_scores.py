"""Scores stay probabilities: joined with presence, moved without changing their order."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from masklet.ops.scores import inverse_sigmoid, joint_scores, recentre


def test_presence_silences_every_query_of_its_prompt() -> None:
    scores = joint_scores(torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([20.0, -20.0]))
    torch.testing.assert_close(scores, torch.tensor([[0.99988, 0.5], [0.0, 0.0]]), atol=1e-4, rtol=0)


@given(st.floats(0.05, 0.95), st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_recentring_keeps_order_ends_and_inverts(even: float, values: list[float]) -> None:
    scores = torch.tensor(sorted(values), dtype=torch.float64)
    moved = recentre(scores, even)
    assert ((moved >= 0) & (moved <= 1)).all()
    assert (moved.diff() >= 0).all()
    torch.testing.assert_close(recentre(torch.tensor([0.0, even, 1.0]), even), torch.tensor([0.0, 0.5, 1.0]))
    torch.testing.assert_close(recentre(moved, 1 - even), scores)


def test_one_half_is_left_alone_to_the_bit() -> None:
    scores = torch.rand(100)
    assert recentre(scores, 0.5) is scores


@pytest.mark.parametrize("value", [-1.0, 0.0, 1e-4, 0.3, 1.0, 2.0])
def test_the_inverse_sigmoid_is_held_at_both_ends(value: float) -> None:
    result = inverse_sigmoid(torch.tensor(value))
    assert result.abs() <= 6.9079
    if 1e-3 < value < 1 - 1e-3:
        torch.testing.assert_close(result.sigmoid(), torch.tensor(value))
