"""Means of what updates report."""

import pytest
import torch

from masklet.train.run.means import Means


def test_a_mean_is_over_the_updates_that_reported_the_value() -> None:
    means = Means()
    for update in ({"loss": 2.0, "clicks": 3.0}, {"loss": 4.0}, {"loss": 6.0, "clicks": 5.0}):
        for _ in range(2):  # micro-batches, each of which reports its share
            means.add({name: torch.tensor(value / 2) for name, value in update.items()})
        means.end_update()
    assert means.take() == pytest.approx({"loss": 4.0, "clicks": 4.0})
    assert means.take() == {}
