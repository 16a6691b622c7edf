"""Muon for matrices, AdamW for all else: one optimizer of the groups that `optim.parameter_groups` makes."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

COEFFICIENTS = (3.4445, -4.775, 2.0315)  # of the quintic whose rounds bring singular values near 1 fastest
ROUNDS = 5
MOMENTUM = 0.95
UPDATE_RMS = 0.2  # of an entry, at a rate of 1: about that of AdamW, so one rate serves both


class Muon(torch.optim.AdamW):
    """Groups with `orthogonal` set move by their momentum with all its singular values made about equal.

    Source: Jordan et al., Muon (2024); the length of a step is that of Liu et al., Muon is Scalable for LLM Training
    (2025). Convolutions count as matrices of one row for each output channel.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Moves the parameters that have gradients."""
        assert closure is None, "gradients are computed before the step"
        every = self.param_groups
        try:
            self.param_groups = [group for group in every if not group["orthogonal"]]
            super().step()
        finally:
            self.param_groups = every
        for group in every:
            for parameter in group["params"] if group["orthogonal"] else ():
                if parameter.grad is not None:
                    self._move(parameter, group["lr"], group["weight_decay"])

    def _move(self, parameter: Tensor, rate: float, decay: float) -> None:
        gradient, momentum = parameter.grad, self.state[parameter]["exp_avg"]
        assert gradient is not None
        momentum.mul_(MOMENTUM).add_(gradient)
        matrix = gradient.add(momentum, alpha=MOMENTUM).flatten(1)  # Nesterov's look ahead
        length = UPDATE_RMS * max(matrix.shape) ** 0.5
        parameter.mul_(1 - rate * decay)
        parameter.add_(orthogonal(matrix).view_as(parameter), alpha=-rate * length)


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix whose singular values are all 1, roughly (0.7 to 1.2), by Newton-Schulz rounds in bfloat16."""
    a, b, c = COEFFICIENTS
    tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if tall else matrix).bfloat16()
    x = x / (x.norm() + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return (x.T if tall else x).to(matrix.dtype)
