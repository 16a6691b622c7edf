"""Masks at full size from small logits, against the plain way."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from masklet.ops import enlarge
from masklet.ops.enlarge import resize_mask_logits


@pytest.mark.parametrize("rows_at_once", [1, 7, 1000])
@pytest.mark.parametrize("shape", [(0, 9, 7), (5, 9, 7), (2, 1, 1), (1, 40, 31)])
@pytest.mark.parametrize("shift", [-5.0, -1.5, 0.0, 5.0], ids=["empty", "sparse", "half", "full"])
def test_enlarged_masks_are_probability_above_half(shape, shift, rows_at_once, monkeypatch):
    monkeypatch.setattr("masklet.ops.enlarge.CHUNK_PIXELS", 40 * rows_at_once)
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0)) + shift
    expected = torch.zeros(shape[0], 31, 40, dtype=torch.bool)
    if shape[0]:
        expected = F.interpolate(logits[None], size=(31, 40), mode="bilinear", align_corners=False)[0].sigmoid() > 0.5
    assert_close(resize_mask_logits(logits, 31, 40), expected)


def test_only_the_surroundings_of_a_mask_are_enlarged(monkeypatch):
    enlarged = []
    interpolate = enlarge._interpolate
    monkeypatch.setattr(enlarge, "_interpolate", lambda *args: enlarged.append(args[2:]) or interpolate(*args))
    logits = torch.full((1, 10, 10), -1.0)
    logits[0, 4, 6] = 1.0
    resize_mask_logits(logits, 100, 200)
    assert enlarged == [(110, 150), (35, 55)]
