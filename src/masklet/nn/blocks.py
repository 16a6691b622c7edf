"""Small layers that every part of the model uses."""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Generic, TypeVar, overload

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class Stack(nn.ModuleList, Generic[M]):
    """A `ModuleList` typed by its modules; the names of its parameters are the same."""

    if TYPE_CHECKING:

        def __init__(self, modules: Iterable[M]) -> None: ...
        def __iter__(self) -> Iterator[M]: ...

        # The slices taken here are walked through, never kept.
        @overload
        def __getitem__(self, idx: int) -> M: ...
        @overload
        def __getitem__(self, idx: slice) -> "Stack[M]": ...
        def __getitem__(self, idx: int | slice) -> "M | Stack[M]": ...  # type: ignore[override]


class FeedForward(nn.Module):
    """Two linear layers with an activation between them, applied to each token."""

    def __init__(self, dim: int, hidden: int, activation: Callable[[Tensor], Tensor], *, dropout: float = 0.0) -> None:
        super().__init__()
        self.up = nn.Linear(dim, hidden)
        self.down = nn.Linear(hidden, dim)
        self.activation = activation
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
        """Widens, activates, narrows."""
        return self.down(self.dropout(self.activation(self.up(x))))


class MLP(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, *dims: int) -> None:
        super().__init__()
        self.layers = Stack(nn.Linear(a, b) for a, b in pairwise(dims))

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch out"]:
        """The last layer has no activation."""
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x)


class PreciseMLP(MLP):
    """An `MLP` that stays in float32 when the rest of the model is in half precision.

    For heads that produce coordinates and scores: half precision would cost pixels there, and their share of the
    arithmetic is nothing.
    """

    def forward(self, x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch out"]:
        """Takes any type, gives float32 (float64 in a float64 model)."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.layers[0].weight.dtype))


class LayerNorm2d(nn.Module):
    """Layer norm over the channels of a map.

    The epsilon is SAM's 1e-6, not PyTorch's 1e-5.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Float[Tensor, "batch dim height width"]) -> Float[Tensor, "batch dim height width"]:
        """Each position normalised on its own."""
        normed = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-6)
        return normed.permute(0, 3, 1, 2)


class DropPath(nn.Module):
    """Leaves a residual branch out for whole samples in training, with probability `rate` (stochastic depth)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, branch: Float[Tensor, "batch *rest"]) -> Float[Tensor, "batch *rest"]:
        """The kept samples are scaled up so that the expectation stays."""
        if not self.training or self.rate == 0.0:
            return branch
        shape = (branch.shape[0],) + (1,) * (branch.ndim - 1)
        keep = torch.empty(shape, device=branch.device, dtype=branch.dtype).bernoulli_(1 - self.rate)
        return branch * keep / (1 - self.rate)
