"""Simulated corrections: on errors, with the right sign, and in fractions of the image."""

import torch

from masklet.models.click import LOGIT_LIMIT
from masklet.train.tasks.simulated_clicks import corrected, correction_clicks
from masklet.types import ClickPrompt


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def _masks(count: int, rows: slice, columns: slice) -> torch.Tensor:
    masks = torch.zeros(count, 20, 40, dtype=torch.bool)
    masks[:, rows, columns] = True
    return masks


def test_clicks_fall_on_errors_with_their_sign() -> None:
    truth = _masks(400, slice(5, 15), slice(5, 15))
    predicted = _masks(400, slice(5, 15), slice(10, 20))
    points, labels = correction_clicks(predicted, truth, _generator())
    columns, rows = (points * torch.tensor([40, 20])).int().unbind(1)
    assert ((rows >= 5) & (rows < 15)).all()
    missed, invented, right = (columns < 10), (columns >= 15), (columns >= 10) & (columns < 15)
    assert torch.equal(labels == 1, columns < 15)
    assert missed.sum() > 100
    assert invented.sum() > 100
    assert 1 <= right.sum() <= 60  # the tenth that points at the truth instead


def test_without_an_error_the_click_confirms() -> None:
    truth = _masks(50, slice(5, 15), slice(5, 15))
    points, labels = correction_clicks(truth, truth, _generator())
    columns, rows = (points * torch.tensor([40, 20])).int().unbind(1)
    assert truth[torch.arange(50), rows, columns].all()
    assert (labels == 1).all()


def test_an_absent_object_is_denied() -> None:
    nothing = torch.zeros(50, 20, 40, dtype=torch.bool)
    _, labels = correction_clicks(nothing, nothing, _generator())
    assert (labels == 0).all()


def test_the_answer_is_handed_back_without_its_gradient() -> None:
    truth = _masks(3, slice(5, 15), slice(5, 15))
    prompt = ClickPrompt(points_xy=torch.rand(3, 2, 2), point_labels=torch.tensor([[2, 3]]).expand(3, -1))
    answer = torch.full((3, 20, 40), -100.0, requires_grad=True)
    after = corrected(prompt, answer, truth, _generator())
    assert after.points_xy.shape == (3, 3, 2)
    assert torch.equal(after.points_xy[:, :2], prompt.points_xy)
    assert after.point_labels[:, :2].tolist() == [[2, 3]] * 3
    assert after.point_labels[:, 2].tolist() == [1, 1, 1]
    assert after.mask_logits is not None
    assert not after.mask_logits.requires_grad
    assert after.mask_logits.min() == -LOGIT_LIMIT
