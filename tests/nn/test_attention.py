"""Attention: the way written out for training equals PyTorch's kernel, in values and in gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from masklet.nn.attention import Attention, KeyValues, SelfAttention, attend, key_mask, take_rows

BATCH, HEADS, QUERIES, KEYS, DIM = 2, 3, 5, 7, 4


def make_inputs(mask_kind: str) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator).requires_grad_()

    q = randn(BATCH, HEADS, QUERIES, DIM)
    k, v = randn(BATCH, HEADS, KEYS, DIM), randn(BATCH, HEADS, KEYS, DIM)
    if mask_kind == "none":
        return q, k, v, None
    if mask_kind == "bias":
        return q, k, v, randn(1, HEADS, QUERIES, KEYS)
    return q, k, v, torch.rand(BATCH, 1, 1, KEYS, generator=generator) < 0.7


def fused(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def written_out(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """`attend` chooses this way itself where gradients are wanted of short sequences on a CPU."""
    return attend(q, KeyValues(keys=k, values=v), mask)


@pytest.mark.parametrize("mask_kind", ["none", "bias", "valid"])
def test_the_way_for_training_equals_the_kernel(mask_kind: str) -> None:
    inputs = make_inputs(mask_kind)
    mixed = written_out(*inputs)
    assert "ScaledDotProduct" not in type(mixed.grad_fn).__name__
    with torch.no_grad():
        assert_close(mixed, fused(*inputs))


@pytest.mark.parametrize("mask_kind", ["none", "bias", "valid"])
def test_both_ways_have_the_same_gradients(mask_kind: str) -> None:
    inputs = make_inputs(mask_kind)
    learned = [tensor for tensor in inputs if tensor is not None and tensor.requires_grad]
    weight = torch.randn(BATCH, HEADS, QUERIES, DIM, generator=torch.Generator().manual_seed(1))
    ours = torch.autograd.grad((written_out(*inputs) * weight).sum(), learned)
    theirs = torch.autograd.grad((fused(*inputs) * weight).sum(), learned)
    assert_close(ours, theirs)


@pytest.mark.parametrize("mask_kind", ["none", "bias", "valid"])
def test_without_gradients_the_kernel_is_used(mask_kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def count(*arguments, **options) -> Tensor:
        calls.append(options)
        return arguments[0]

    monkeypatch.setattr(F, "scaled_dot_product_attention", count)
    with torch.no_grad():
        written_out(*make_inputs(mask_kind))
    assert len(calls) == 1


def test_hidden_keys_do_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    attention = Attention(8, 2)
    queries, keys = torch.randn(2, 3, 8, generator=generator), torch.randn(2, 4, 8, generator=generator)
    valid = torch.tensor([[True, True, False, False], [True, False, True, True]])
    garbage = torch.where(valid[..., None], keys, 1e3)
    with torch.no_grad():
        expected = attention(queries, attention.project(keys, keys), key_mask(valid))
        assert_close(attention(queries, attention.project(garbage, garbage), key_mask(valid)), expected)


def test_causal_attention_sees_nothing_that_comes_later() -> None:
    attention = SelfAttention(8, 2)
    x = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert_close(attention(x, causal=True)[:, :3], attention(x[:, :3], causal=True))


def test_dropout_acts_in_training_alone() -> None:
    attention = Attention(8, 2, dropout=0.5)
    x = torch.randn(1, 6, 8, generator=torch.Generator().manual_seed(0))
    memory = attention.project(x, x)
    torch.manual_seed(0)
    assert not attention(x, memory).equal(attention(x, memory))
    attention.eval()
    assert_close(attention(x, memory), attention(x, memory))


def test_a_single_image_is_broadcast_and_not_copied() -> None:
    tensor = torch.zeros(1, 3, 4)
    assert take_rows(tensor, torch.tensor([0, 0])).data_ptr() == tensor.data_ptr()


def test_a_width_that_heads_do_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="10 is not a multiple of num_heads 4"):
        Attention(10, 4)
