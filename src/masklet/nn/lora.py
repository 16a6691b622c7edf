"""Low-rank adapters: linear layers of a trained model keep their weights and learn a small correction.

An adapter is a table of tensors under the names that they have in the adapted model. Merging makes a new table of
weights and leaves the old one unchanged.

Source: Hu et al., LoRA: Low-Rank Adaptation of Large Language Models.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

DOWN, UP = ".lora_down", ".lora_up"  # endings of the names of an adapter's tensors


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Rank, strength (the correction is scaled by `alpha / rank`), and patterns of names of the adapted layers.

    By default those are the attention projections of both encoders, the fusion encoder and the decoder.
    """

    rank: int = 16
    alpha: float = 32.0
    layers: tuple[str, ...] = (
        "vision.trunk.blocks.*.attention.*",
        "text.blocks.*.attention.*",
        "fusion.layers.*_attention.*",
        "decoder.layers.*_attention.*",
    )

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"rank {self.rank} of the adapters is less than 1")

    @property
    def scale(self) -> float:
        """What the product of both matrices is multiplied by."""
        return self.alpha / self.rank


class LoraLinear(nn.Linear):
    """A linear layer, whose parameters keep their names, plus a product of two narrow matrices, at first zero."""

    def __init__(self, base: nn.Linear, config: LoraConfig) -> None:
        super().__init__(base.in_features, base.out_features, bias=base.bias is not None, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.scale = config.scale
        self.lora_down = nn.Parameter(base.weight.new_empty(config.rank, base.in_features))
        self.lora_up = nn.Parameter(base.weight.new_zeros(base.out_features, config.rank))
        nn.init.kaiming_uniform_(self.lora_down, a=math.sqrt(5))

    def forward(self, input: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch out"]:
        """The base layer's output plus the correction."""
        return super().forward(input) + self.scale * F.linear(F.linear(input, self.lora_down), self.lora_up)


def add_lora(model: nn.Module, config: LoraConfig, allowed: Callable[[str], bool]) -> None:
    """Adapts, in place, the linear layers that the config names and whose name is allowed.

    Raises: ValueError when a pattern of the config names no such layer.
    """
    linear = {name: each for name, each in model.named_modules() if isinstance(each, nn.Linear) and allowed(name)}
    for pattern in config.layers:
        if not any(fnmatchcase(name, pattern) for name in linear):
            raise ValueError(f"no linear layer that can be adapted is named {pattern!r}")
    for name, layer in linear.items():
        if any(fnmatchcase(name, pattern) for pattern in config.layers):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, LoraLinear(layer, config))


def is_adapter(name: str) -> bool:
    """Whether a parameter of that name is one of an adapter's."""
    return name.endswith((DOWN, UP))


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """What was learnt beside a base: pairs of matrices, and perhaps weights of other layers that were learnt whole."""

    tensors: Mapping[str, Tensor]
    scale: float

    def changes(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What to add to each weight, in float32.

        Raises: ValueError when the adapter does not fit: half of a pair, an unknown name, another shape.
        """
        found = {}
        for name, tensor in self.tensors.items():
            layer = name.removesuffix(DOWN).removesuffix(UP)
            target = name if layer == name else f"{layer}.weight"
            if target not in state:
                raise ValueError(f"{name} of the adapter fits no weight of the model")
            if target in found:  # by the other half of a pair
                continue
            base = state[target].float()
            change = tensor.float() - base if layer == name and tensor.shape == base.shape else self._product(layer)
            if change.shape != base.shape:
                raise ValueError(f"{name} of the adapter does not fit a weight of shape {tuple(base.shape)}")
            found[target] = change
        return found

    def _product(self, layer: str) -> Tensor:
        down, up = self.tensors.get(layer + DOWN), self.tensors.get(layer + UP)
        if down is None or up is None or down.ndim != 2 or up.ndim != 2 or up.shape[1] != down.shape[0]:
            raise ValueError(f"the adapter has no pair of matrices for {layer}")
        return self.scale * (up.float() @ down.float())


@torch.no_grad()
def merge(state: Mapping[str, Tensor], adapters: Sequence[tuple[Adapter, float]]) -> dict[str, Tensor]:
    """The weights with the given share of what each adapter changes; those changed are float32, all others the same.

    Raises: ValueError when an adapter does not fit.
    """
    merged = dict(state)
    for adapter, share in adapters:
        for name, change in adapter.changes(state).items():
            merged[name] = merged[name].float() + share * change
    return merged
