"""Adapters: they begin as nothing, learn beside the base, and merge into it."""

import pytest
import torch
from torch import nn

from masklet.nn.lora import Adapter, LoraConfig, LoraLinear, add_lora, is_adapter, merge


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Linear(6, 5), nn.Linear(5, 4, bias=False)
        self.norm = nn.LayerNorm(5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.norm(self.first(x)))


def adapted(rank: int = 2, layers: tuple[str, ...] = ("first", "second")) -> Small:
    model = Small()
    add_lora(model, LoraConfig(rank=rank, alpha=3.0, layers=layers), lambda name: True)  # noqa: ARG005
    return model


def adapter_of(model: nn.Module, seed: int | None = None) -> Adapter:
    tensors = {name: value.detach().clone() for name, value in model.named_parameters() if is_adapter(name)}
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        tensors = {name: torch.randn(value.shape, generator=generator) for name, value in tensors.items()}
    return Adapter(tensors=tensors, scale=1.5)


def test_an_adapted_model_begins_as_its_base_bit_for_bit() -> None:
    x = torch.randn(7, 6)
    assert torch.equal(adapted()(x), Small()(x))


def test_names_of_the_base_stay_and_its_weights_are_shared() -> None:
    model, base = Small(), Small()
    weight = model.first.weight
    add_lora(model, LoraConfig(rank=2, layers=("first",)), lambda name: True)  # noqa: ARG005
    assert model.first.weight is weight
    assert isinstance(model.first, LoraLinear)
    assert type(model.second) is nn.Linear
    assert model.state_dict().keys() - base.state_dict().keys() == {"first.lora_down", "first.lora_up"}


def test_a_merged_state_answers_as_the_adapted_model() -> None:
    model = adapted()
    adapter = adapter_of(model, seed=1)
    model.load_state_dict({**model.state_dict(), **adapter.tensors})
    base = Small()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    merged = merge(base.state_dict(), [(adapter, 1.0)])
    for name, value in base.state_dict().items():  # there is nothing to undo
        assert torch.equal(value, before[name])
    assert merged["norm.weight"] is not before["norm.weight"]
    base.load_state_dict(merged)
    x = torch.randn(7, 6)
    torch.testing.assert_close(base(x), model(x))
    assert not torch.allclose(base(x), Small()(x), atol=0.1)


def test_adapters_add_up_by_their_shares() -> None:
    state = Small().state_dict()
    a, b = adapter_of(adapted(), seed=1), adapter_of(adapted(rank=3), seed=2)
    merged = merge(state, [(a, 0.25), (b, -2.0)])
    for layer in ("first", "second"):
        product = {
            name: 1.5 * each.tensors[f"{layer}.lora_up"] @ each.tensors[f"{layer}.lora_down"]
            for name, each in (("a", a), ("b", b))
        }
        expected = state[f"{layer}.weight"] + 0.25 * product["a"] - 2.0 * product["b"]
        torch.testing.assert_close(merged[f"{layer}.weight"], expected)
    assert torch.equal(merge(state, [(a, 0.0)])["first.weight"], state["first.weight"])


def test_weights_learnt_whole_are_mixed_with_the_bases() -> None:
    state = Small().state_dict()
    adapter = Adapter(tensors={"norm.weight": torch.full((5,), 3.0)}, scale=1.0)
    torch.testing.assert_close(merge(state, [(adapter, 0.5)])["norm.weight"], torch.full((5,), 2.0))


def test_halves_are_corrected_in_float32() -> None:
    state = {name: value.half() for name, value in Small().state_dict().items()}
    merged = merge(state, [(adapter_of(adapted(), seed=1), 1e-6)])
    assert merged["first.weight"].dtype == torch.float32
    assert not torch.equal(merged["first.weight"], state["first.weight"].float())
    assert merged["first.bias"] is state["first.bias"]


def test_only_adapters_get_gradients() -> None:
    model = adapted()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_adapter(name))
    model(torch.randn(7, 6)).sum().backward()
    with_gradient = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert with_gradient == {f"{layer}.{part}" for layer in ("first", "second") for part in ("lora_down", "lora_up")}


def test_patterns_that_name_nothing_are_refused() -> None:
    for layers in (("first", "third"), ("norm",)):
        with pytest.raises(ValueError, match=layers[-1]):
            add_lora(Small(), LoraConfig(layers=layers), lambda name: True)  # noqa: ARG005
    with pytest.raises(ValueError, match="first"):
        add_lora(Small(), LoraConfig(layers=("first",)), lambda name: name != "first")
    with pytest.raises(ValueError, match="rank 0"):
        LoraConfig(rank=0)


@pytest.mark.parametrize(
    "changes",
    [
        {"first.lora_up": None},
        {"first.lora_down": None},
        {"first.lora_down": torch.zeros(2, 9)},
        {"first.lora_up": torch.zeros(5, 3)},
        {"third.lora_down": torch.zeros(2, 6), "third.lora_up": torch.zeros(5, 2)},
        {"third.weight": torch.zeros(5)},
        {"norm.weight": torch.zeros(6)},
        {"norm.weight": torch.zeros(1)},
    ],
)
def test_adapters_that_do_not_fit_are_refused(changes) -> None:
    tensors = {**adapter_of(adapted(), seed=1).tensors, **changes}
    adapter = Adapter(tensors={name: value for name, value in tensors.items() if value is not None}, scale=1.0)
    with pytest.raises(ValueError, match=next(iter(changes)).split(".")[0]):
        merge(Small().state_dict(), [(adapter, 1.0)])
